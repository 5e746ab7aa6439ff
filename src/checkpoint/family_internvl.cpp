// InternVL 2.5 and 3 (Chen et al., 2024; Zhu et al., 2025) in Hugging Face's own layout.
#include <cmath>

#include <weft/checkpoint/tiling.hpp>
#include <weft/checkpoint/vlm_families.hpp>

#include "checkpoint/config_reader.hpp"
#include "checkpoint/family_list.hpp"
#include "checkpoint/llava_layout.hpp"
#include "checkpoint/vision_towers.hpp"
#include "checkpoint/vlm_parts.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

constexpr const char *kInternVit = "internvl_vision", *kInternVl = "internvl";
constexpr double kQkNormEps = 1e-6;         // whatever the configuration's
constexpr double kProjectorEps = 1e-5;      // torch's
constexpr double kInvisibleScale = 1e-300;  // of a LayerScale that starts at 0, which means "none"

std::shared_ptr<Encoder> make_internvit(const Json& config) {
  const ConfigReader read(config, kInternVit);
  read.require("use_absolute_position_embeddings", true);
  const bool mean = read.boolean("use_mean_pooling", true),
             rms = read.text("norm_type", "layer_norm") == "rms_norm";
  if (rms)
    read.require("use_mean_pooling", true);  // the norm after the blocks is never an rms_norm
  else
    read.require("norm_type", "layer_norm");
  const auto dropout = read.number("hidden_dropout_prob", 0.0);
  if (read.number("projection_dropout", 0.0) != dropout)
    fail(
        "config.json of the family {}: projection_dropout and hidden_dropout_prob differ, which is "
        "not supported",
        kInternVit);
  const auto scale = read.number("layer_scale_init_value", 0.1);
  return std::make_shared<vision::VisionTransformerImpl>(vision::VisionTransformerOptions{
      .family = kInternVit,
      .image_size = read.side("image_size", 448),
      .patch_size = read.side("patch_size", 14),
      .num_channels = read.integer("num_channels", 3),
      .hidden_size = read.integer("hidden_size", 1024),
      .num_layers = read.integer("num_hidden_layers", 24),
      .num_heads = read.integer("num_attention_heads", 16),
      .intermediate_size = read.integer("intermediate_size", 4096),
      .activation = read.activation("hidden_act", "gelu"),
      .qkv_bias = read.boolean("attention_bias", false),
      .qk_norm = read.boolean("use_qk_norm", false),
      .qk_norm_whole = true,
      .qk_norm_kind = nn::NormKind::rms_norm,
      .qk_norm_eps = kQkNormEps,
      .norm = rms ? nn::NormKind::rms_norm : nn::NormKind::layer_norm,
      .eps = read.number("layer_norm_eps", 1e-6),
      .layer_scale = scale == 0 ? kInvisibleScale : scale,
      .mask_token = read.boolean("use_mask_token", false),
      .final_norm = !mean,
      .pooling = mean ? nn::Pooling::mean : nn::Pooling::cls,
      .dropout = dropout,
      .embed_dropout = dropout,
      .attention_dropout = read.number("attention_dropout", 0.0),
      .init_std = read.number("initializer_range", 0.02)});
}

KeyMap internvit_map() {
  KeyMap map;
  const std::string layer = "encoder.layer.{i}.", block = "blocks.{i}.";
  const std::string theirs = layer + "attention.", ours = block + "attention.";
  map.prefix("internvl_vision.")
      .rename("embeddings.cls_token", "class_token")
      .rename("embeddings.position_embeddings", "positions")
      .rename("embeddings.patch_embeddings.projection.{p}", "patch_embed.{p}")
      .rename(theirs + "q_proj.{p}", ours + "q.{p}")
      .rename(theirs + "k_proj.{p}", ours + "k.{p}")
      .rename(theirs + "v_proj.{p}", ours + "v.{p}")
      .rename(theirs + "q_norm.{p}", ours + "q_norm.{p}")
      .rename(theirs + "k_norm.{p}", ours + "k_norm.{p}")
      .rename(theirs + "projection_layer.{p}", ours + "out.{p}")
      .rename(layer + "layernorm_before.{p}", block + "norm1.{p}")
      .rename(layer + "layernorm_after.{p}", block + "norm2.{p}")
      .rename(layer + "lambda_1", block + "scale1")
      .rename(layer + "lambda_2", block + "scale2")
      .rename(layer + "mlp.{l}.{p}", block + "mlp.{l}.{p}")
      .rename("layernorm.{p}", "norm.{p}");
  // Ours [1, D], theirs [1, 1, D].
  map.permute(
      "embeddings.mask_token", "mask_token", [](const at::Tensor& t) { return t.squeeze(0); },
      [](const at::Tensor& t) { return t.unsqueeze(0); });
  return map;
}

Json internvit_config(const Encoder& encoder) {
  const auto& o = transformer_options(encoder, kInternVit);
  const auto need = [&](bool holds, std::string_view option) {
    if (!holds) refuse_option(kInternVit, option);
  };
  need(!o.gated, "gated = true");
  need(!o.qk_norm || (o.qk_norm_whole && o.qk_norm_kind == nn::NormKind::rms_norm &&
                      (o.qk_norm_eps == 0 ? o.eps : o.qk_norm_eps) == kQkNormEps),
       "qk_norm other than an rms_norm of all heads with eps 1e-6");
  need(o.patch_bias, "patch_bias = false");
  need(o.layer_scale != 0, "layer_scale = 0");
  need(o.class_token && o.position_class, "patches without a class token or its position");
  need(o.num_registers == 0, "num_registers > 0");
  need(o.position_kind == vision::PositionKind::learned, "position_kind = sincos");
  need(o.resample.mode == nn::Interpolation::bicubic && !o.resample.antialias,
       "other positions than bicubic ones without antialias");
  need(!o.pre_norm && !o.norm_pooled && !o.pooler, "pre_norm, norm_pooled or a pooler");
  need(!o.final_norm || o.norm == nn::NormKind::layer_norm, "an rms_norm after the blocks");
  need(o.pooling == (o.final_norm ? nn::Pooling::cls : nn::Pooling::mean),
       "another pooling than the mean of patches without final_norm, or cls with it");
  need(o.dropout == o.embed_dropout && o.drop_path == 0, "drop_path or dropouts that differ");
  return Json::object({{"hidden_size", o.hidden_size},
                       {"num_hidden_layers", o.num_layers},
                       {"num_attention_heads", o.num_heads},
                       {"attention_bias", o.qkv_bias},
                       {"use_qk_norm", o.qk_norm},
                       {"intermediate_size", o.intermediate_size},
                       {"hidden_act", activation_name(o.activation)},
                       {"hidden_dropout_prob", o.dropout},
                       {"attention_dropout", o.attention_dropout},
                       {"projection_dropout", o.dropout},
                       {"initializer_range", o.init_std},
                       {"norm_type", o.norm == nn::NormKind::rms_norm ? "rms_norm" : "layer_norm"},
                       {"layer_norm_eps", o.eps},
                       {"image_size", std::vector{o.image_size, o.image_size}},
                       {"patch_size", std::vector{o.patch_size, o.patch_size}},
                       {"num_channels", o.num_channels},
                       {"use_mask_token", o.mask_token},
                       {"layer_scale_init_value", o.layer_scale},
                       {"use_mean_pooling", !o.final_norm}});
}

/// 2 of a downsample_ratio of 0.5.
int64_t shuffle_of(const Json& config) {
  const auto ratio = ConfigReader(config, kInternVl).number("downsample_ratio", 0.5);
  const auto out = ratio > 0 ? std::round(1 / ratio) : 0;
  if (out < 1 || out > 1024 || std::abs(ratio * out - 1) > 1e-6)
    fail("config.json of the family {}: downsample_ratio must be 1 / a whole number, found {}",
         kInternVl, ratio);
  return static_cast<int64_t>(out);
}

models::VlmOptions internvl_options(const Json& config) {
  const ConfigReader read(config, kInternVl);
  read.require("vision_feature_select_strategy", "default");
  const auto layer = read.integer("vision_feature_layer", -1);
  return {.image_token = read.integer("image_token_id", 151667),
          .vision_layers = layer == -1 ? std::vector<int64_t>() : std::vector{layer}};
}

Json internvl_config(const models::VlmImpl& model, const TowerConfig& vision,
                     const TowerConfig& language) {
  const auto& p = projector_of(model, kInternVl).options;
  if (p.depth != 2 || !p.bias || p.pool != 1 || !p.norm || p.eps != kProjectorEps)
    refuse_option(kInternVl,
                  "a projector that is not a norm (eps 1e-5) and two linear layers with biases");
  if (vision.family != kInternVit)
    refuse_option(kInternVl, "an image encoder of the family " + vision.family);
  if (model.options.keep_prefix) refuse_option(kInternVl, "keep_prefix = true");
  const auto& layers = model.options.vision_layers;
  if (layers.size() > 1) refuse_option(kInternVl, "several vision_layers");
  // -1 is the tower's output, which passes the norm after the blocks where there is one.
  const auto info = model.vision->info();
  const auto layer = layers.empty()                 ? -1
                     : layers[0] == info.num_layers ? info.num_layers
                                                    : layers[0] - info.num_layers - 1;
  const auto side = info.image_size / info.patch_size / p.shuffle;
  return Json::object({{"model_type", kInternVl},
                       {"vision_config", typed_config(vision)},
                       {"text_config", typed_config(language)},
                       {"image_token_id", model.options.image_token},
                       {"image_seq_length", side * side},
                       {"downsample_ratio", 1.0 / static_cast<double>(p.shuffle)},
                       {"projector_hidden_act", activation_name(p.activation)},
                       {"vision_feature_layer", layer},
                       {"vision_feature_select_strategy", "default"},
                       {"tie_word_embeddings", language.config.get("tie_word_embeddings", false)}});
}

}  // namespace

Family internvl_vision_family() {
  return {Role::image, "InternVLVisionModel",
          [](const Json& config, const Family::Has&) { return make_internvit(config); },
          [](const Json&) { return internvit_map(); }, internvit_config};
}

VlmFamily internvl_family() {
  auto out = llava_like({.family = kInternVl,
                         .architecture = "InternVLForConditionalGeneration",
                         .vision = Json::object({{"model_type", kInternVit}}),
                         .text = "qwen2",
                         .image_token = 151667,
                         .feature_layer = -1,
                         .strategy = "default",
                         .projector = "connector."});
  out.vision = [](const Json& config) {
    return TowerConfig{kInternVit,
                       part_config(config, "vision_config", Json::object(), kInternVit).config};
  };
  out.language = [](const Json& config) {
    return tied_by_model(part_config(config, "text_config", Json::object(), "qwen2"), config, true);
  };
  out.connector = [](const Json& config, int64_t input_size,
                     int64_t hidden_size) -> std::shared_ptr<Connector> {
    return std::make_shared<fusion::ProjectorImpl>(fusion::ProjectorOptions{
        .input_size = input_size,
        .hidden_size = hidden_size,
        .activation = ConfigReader(config, kInternVl).activation("projector_hidden_act", "gelu"),
        .shuffle = shuffle_of(config),
        .norm = true,
        .eps = kProjectorEps});
  };
  out.options = internvl_options;
  out.key_map = [language = out.language](const Json& config) {
    const auto text = language(config);
    KeyMap map;
    map.nest(internvit_map(), "vision_tower.", "vision.")
        .nest(lm_families().at(text.family).key_map(text.config), "language_model.", "language.")
        .rename("multi_modal_projector.layer_norm.{p}", "connector.norm.{p}")
        .rename("multi_modal_projector.linear_1.{p}", "connector.layers_0.{p}")
        .rename("multi_modal_projector.linear_2.{p}", "connector.layers_1.{p}");
    return map;
  };
  out.settle = [](Json& config, const io::Safetensors& file) {
    untie_if_different(config, file, "language_model.lm_head.weight",
                       "language_model.model.embed_tokens.weight");
  };
  out.config = internvl_config;
  out.preprocessor = [](const models::VlmImpl& model) {
    return tiling_config({.view = whole_tile(*model.vision, model.vision->info().image_size),
                          .tiling = vision::Tiling::crop},
                         "GotOcr2ImageProcessor");
  };
  out.processor = "InternVLProcessor";
  return out;
}

}  // namespace weft::checkpoint
