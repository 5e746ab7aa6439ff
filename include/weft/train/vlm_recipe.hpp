#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/core/export.hpp>
#include <weft/core/options.hpp>
#include <weft/train/optimizer.hpp>

namespace weft::train {

/// What of a vision-language model is trained, and how fast.
struct VlmRecipe {
  std::string tune = "connector";  ///< parts, with commas between
  std::optional<double> connector_lr = {}, vision_lr = {};
  int64_t lora_rank = 0;
  std::optional<double> lora_alpha = {};  ///< needs a rank, as lora_targets do
  double lora_dropout = 0.05;
  std::vector<std::string> lora_targets = {};

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("tune", o.tune, "parts that are trained, with commas between: vision,connector,language");
    v("connector_lr", o.connector_lr, "learning rate of the connector");
    v("vision_lr", o.vision_lr, "learning rate of the image encoder");
    v("lora_rank", o.lora_rank,
      "train adapters of this rank on the language model instead of itself; 0 = none");
    v("lora_alpha", o.lora_alpha, "their weight, times 1 / rank; by default twice the rank");
    v("lora_dropout", o.lora_dropout, "on what adapters read");
    v("lora_targets", o.lora_targets,
      "layers that get one: names or regular expressions; by default all of the language model's");
  }
};

/// Whether `tune` names the part.
WEFT_API bool tunes(const VlmRecipe& recipe, const std::string& part);

/// Makes trainable what the recipe says and nothing else: train_parts(), and with a rank adapters
/// on the language model, or on what the targets name. A layer with an adapter learns by it alone;
/// so `tune` with "language" adds embeddings and norms to adapters. Throws c10::ValueError for
/// another part.
WEFT_API void apply_recipe(const VlmRecipe& recipe, const checkpoint::VlmFolder& folder);

/// The rule of the recipe's own rates, where the others learn at `lr`.
WEFT_API GroupRule recipe_rates(const VlmRecipe& recipe, double lr);

/// Writes the adapters as PEFT reads them and makes them part of the weights. Those of a layout
/// that Hugging Face has not got are those of its language model.
WEFT_API void merge_adapters(const checkpoint::VlmFolder& folder, const std::filesystem::path& path,
                             const std::string& base_model = "");

}  // namespace weft::train
