// PaliGemma 1 and 2 (Beyer et al., 2024; Steiner et al., 2024): SigLIP's tokens through its final
// norm, one linear layer, and Gemma, which reads images and question in both directions. Positions
// are counted from 1 there; Gemma's rotation sees differences of positions only.
#include <algorithm>

#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/checkpoint/preprocessor.hpp>
#include <weft/fusion/projector.hpp>

#include "checkpoint/config_reader.hpp"
#include "checkpoint/family_list.hpp"
#include "checkpoint/llava_layout.hpp"
#include "checkpoint/vlm_parts.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

constexpr const char* kPaligemmaName = "paligemma";

Json paligemma_vision_default() {
  return Json::object({{"model_type", "siglip_vision_model"},
                       {"hidden_size", 1152},
                       {"intermediate_size", 4096},
                       {"patch_size", 14},
                       {"image_size", 224},
                       {"num_hidden_layers", 27},
                       {"num_attention_heads", 16},
                       {"vision_use_head", false}});
}

Json paligemma_text_default() {
  return Json::object({{"model_type", "gemma"},
                       {"hidden_size", 2048},
                       {"num_hidden_layers", 18},
                       {"intermediate_size", 16384},
                       {"num_attention_heads", 8},
                       {"num_key_value_heads", 1},
                       {"vocab_size", 257152}});
}

TowerConfig paligemma_vision(const Json& config) {
  return part_config(config, "vision_config", paligemma_vision_default(), "siglip_vision_model");
}

TowerConfig paligemma_language(const Json& config) {
  auto out = part_config(config, "text_config", paligemma_text_default(), "gemma");
  if (out.family == "gpt2" || out.family == "opt")
    fail(
        "config.json of the family {}: text_config is of the type {}, whose learned positions "
        "would have to start at 1, which is not supported",
        kPaligemmaName, out.family);
  // Hugging Face writes that the whole is not causal; which tokens see each other both ways is the
  // input's to say here.
  out.config.erase("use_bidirectional_attention");
  // The head is the whole model's there.
  out.config.set("tie_word_embeddings", config.get("tie_word_embeddings", true));
  const auto end = config.get("eos_token_id");
  if (!end.is_null() && out.config.get("eos_token_id").is_null())
    out.config.set("eos_token_id", end);
  return out;
}

std::shared_ptr<Connector> paligemma_connector(const Json& config, int64_t input_size,
                                               int64_t hidden_size) {
  const auto width = ConfigReader(config, kPaligemmaName).integer("projection_dim", 2048);
  if (width != hidden_size)
    fail(
        "config.json of the family {}: projection_dim must be the language model's hidden_size {}, "
        "found {}",
        kPaligemmaName, hidden_size, width);
  return std::make_shared<fusion::ProjectorImpl>(
      fusion::ProjectorOptions{.input_size = input_size, .hidden_size = hidden_size, .depth = 1});
}

models::VlmOptions paligemma_options(const Json& config) {
  const ConfigReader read(config, kPaligemmaName);
  return {.image_token = read.integer("image_token_index", read.integer("image_token_id", 256000)),
          .vision_layers = {},
          .keep_prefix = true,
          .prefix_attention = true};
}

KeyMap paligemma_map(const Json& config) {
  auto map = llava_towers(paligemma_vision(config), paligemma_language(config));
  map.rename("multi_modal_projector.linear.{p}", "connector.layers_0.{p}");
  return map;
}

Json paligemma_config(const models::VlmImpl& model, const TowerConfig& vision,
                      const TowerConfig& language) {
  const auto refuse = [](bool holds, std::string_view option) {
    if (holds) refuse_option(kPaligemmaName, option);
  };
  const auto* projector = dynamic_cast<const fusion::ProjectorImpl*>(model.connector.get());
  refuse(projector == nullptr, "another connector than a projector");
  const auto& p = projector->options;
  refuse(p.depth != 1 || !p.bias || p.shuffle != 1 || p.pool != 1 || p.norm,
         "another projector than a linear layer with a bias");
  refuse(!model.options.vision_layers.empty(), "layers of the encoder (vision_layers)");
  refuse(!model.options.keep_prefix && model.vision->info().prefix > 0, "keep_prefix = false");
  const auto info = model.language->info();
  return Json::object(
      {{"model_type", kPaligemmaName},
       {"vision_config", typed_config(vision).set("projection_dim", info.hidden_size)},
       {"text_config", typed_config(language)},
       {"image_token_index", model.options.image_token},
       {"projection_dim", info.hidden_size},
       {"hidden_size", info.hidden_size},
       {"vocab_size", info.vocab_size},
       {"tie_word_embeddings", language.config.get("tie_word_embeddings", true)}});
}

/// SigLIP's image processor, with what PaliGemma's asks of it.
Json paligemma_preprocessor(const models::VlmImpl& model) {
  const auto info = model.vision->info();
  const auto known = default_preprocessor(*model.vision);
  auto view = known.is_null() ? vision::ImageTransformOptions{.size = info.image_size}
                              : image_transform(known);
  view.resize = 0;
  view.resize_mode = vision::ResizeMode::squash;
  const auto side = info.image_size / std::max<int64_t>(info.patch_size, 1);
  return preprocessor_config(view)
      .set("image_processor_type", "SiglipImageProcessor")
      .set("processor_class", "PaliGemmaProcessor")
      .set("image_seq_length", side * side + info.prefix);
}

}  // namespace

VlmFamily paligemma_family() {
  auto out = llava_like({.family = kPaligemmaName,
                         .architecture = "PaliGemmaForConditionalGeneration",
                         .vision = paligemma_vision_default(),
                         .text = "gemma",
                         .image_token = 256000,
                         .feature_layer = -1,
                         .strategy = "full",
                         .projector = "connector."});
  out.vision = paligemma_vision;
  out.language = paligemma_language;
  out.connector = paligemma_connector;
  out.options = paligemma_options;
  out.key_map = paligemma_map;
  out.config = paligemma_config;
  out.preprocessor = paligemma_preprocessor;
  out.conversation = kPaligemmaName;
  return out;
}

}  // namespace weft::checkpoint
