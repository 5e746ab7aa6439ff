#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/core/json.hpp>
#include <weft/eval/classification.hpp>
#include <weft/eval/features.hpp>
#include <weft/report/html.hpp>
#include <weft/report/run_log.hpp>

namespace weft::eval {

/// What a model retrieves for the first images of a split. image [N, E] and text [M, E] are unit
/// rows of `pairs`; pixels [K, 3, S, S] uint8 are the first K images, which become the thumbnails.
WEFT_API std::vector<report::RetrievalExample> retrieval_examples(const at::Tensor& image,
                                                                  const at::Tensor& text,
                                                                  const PairFeatures& pairs,
                                                                  const at::Tensor& pixels,
                                                                  int64_t top = 5);

/// How the shared space looks: the cosines of the first `limit` images with their first captions, a
/// heat map; and images and texts along the two directions in which both together vary most, with
/// the distance of their means. `rows` are embed()'s of `pairs`.
WEFT_API void add_space_figures(report::HtmlReport& page, const PairRows& rows,
                                const PairFeatures& pairs, int64_t limit = 32);

/// A table of shares and, up to 100 classes, the confusion matrix with rows as shares. `names` may
/// be empty.
WEFT_API void add_classification(report::HtmlReport& page, const ClassificationResult& result,
                                 const std::vector<std::string>& names);

/// Curves over the steps of a run: loss, learning rate, gradient norm and rate, and where the task
/// reports them "accuracy", the scale and the temperature 1 / scale, and "modality_gap".
WEFT_API void add_curves(report::HtmlReport& page, const std::vector<report::StepMetrics>& metrics);

/// report.html of a run: those curves from its metrics.jsonl, its result and its configuration.
WEFT_API void write_training_report(const std::filesystem::path& run, const std::string& title,
                                    const Json& result, const Json& config);

/// Each image beside attention_maps() of it: what its vector rests on. pixels [K, 3, S, S] uint8.
/// Nothing is drawn of an encoder without patches.
WEFT_API void add_attention(report::HtmlReport& page, Encoder& encoder, const at::Tensor& pixels,
                            nn::Pooling pooling = nn::Pooling::encoder);

/// A split as a model sees it. Members that are not there are left out of the report.
struct SplitView {
  PairFeatures pairs = {};
  PairRows rows = {};      ///< embed()'s of pairs
  at::Tensor pixels = {};  ///< [K, 3, S, S] uint8, the first K images
};

/// report.html of a contrastive run: results, curves from the folder's metrics.jsonl, the shared
/// space, where the image tower looks, retrieved captions beside their images, the configuration.
/// `result` is the program's last line.
WEFT_API std::filesystem::path write_clip_report(const std::filesystem::path& run,
                                                 models::DualEncoderImpl& model, const Json& result,
                                                 const Json& config, const SplitView& split = {});

}  // namespace weft::eval
