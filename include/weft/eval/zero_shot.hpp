#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/eval/classification.hpp>
#include <weft/eval/features.hpp>
#include <weft/models/dual_encoder.hpp>
#include <weft/tokenizers/tokenizer.hpp>

namespace weft::eval {

/// The classes of a data set, in the order of their labels.
struct ZeroShotClasses {
  std::vector<std::string> names = {};                 ///< [C]
  std::vector<std::vector<std::string>> prompts = {};  ///< [C], the file's own; empty = it has none
};

/// Reads a JSON file: an array of names; {"classes": [names], "prompts": [...]}; {name: label} with
/// each label from 0 once (torchvision's class_to_idx); or {name: prompts}, labels in the order of
/// the file (CuPL, Pratt et al., 2023). A class's prompts are one text or an array of texts. Error
/// names the file and what is wrong.
WEFT_API ZeroShotClasses read_classes(const std::filesystem::path& path);

/// Prompt templates: a JSON array of strings, or a line each (empty ones aside). The class name
/// takes the place of every `{}` or `{c}`; Error for a template without one.
WEFT_API std::vector<std::string> read_templates(const std::filesystem::path& path);

/// What CLIP's authors take where no template is tuned (Radford et al., 2021, section 3.1.4).
inline const std::vector<std::string> kDefaultTemplates = {"a photo of a {}."};

/// [C][T]: every name in every template.
WEFT_API std::vector<std::vector<std::string>> fill_templates(
    const std::vector<std::string>& names, const std::vector<std::string>& templates);

/// Texts -> unit rows [B, E].
using TextRows = std::function<at::Tensor(const std::vector<std::string>&)>;

/// Unit rows [C, E], the transpose of what open_clip's build_zero_shot_classifier gives: each
/// prompt's unit row, their mean by class, unit length again. `prompts` [C] of any number of texts
/// a class, at least one. About 4,096 texts at a time go through `encode`.
WEFT_API at::Tensor zero_shot_classifier(const TextRows& encode,
                                         const std::vector<std::vector<std::string>>& prompts);
WEFT_API at::Tensor zero_shot_classifier(models::DualEncoderImpl& model,
                                         const tokenizers::Tokenizer& tokenizer,
                                         const std::vector<std::vector<std::string>>& prompts,
                                         const FeatureOptions& options);

/// Classifies image rows [N, E] by the highest inner product with the classifier's rows [C, E];
/// labels [N] int64. Runs in blocks on the rows' device.
WEFT_API ClassificationResult zero_shot(const at::Tensor& image, const at::Tensor& classifier,
                                        const at::Tensor& labels);

}  // namespace weft::eval
