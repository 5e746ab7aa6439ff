#include <cmath>

#include <weft/vision/vision_transformer.hpp>

#include "checkpoint/config_reader.hpp"
#include "checkpoint/family_list.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

// What the configurations of ViT and DINOv2 share.
vision::VisionTransformerOptions read_options(const ConfigReader& read, const std::string& family,
                                              int64_t patch_size, double eps) {
  vision::VisionTransformerOptions options{
      .family = family,
      .image_size = read.side("image_size", 224),
      .patch_size = read.side("patch_size", patch_size),
      .num_channels = read.integer("num_channels", 3),
      .hidden_size = read.integer("hidden_size", 768),
      .num_layers = read.integer("num_hidden_layers", 12),
      .num_heads = read.integer("num_attention_heads", 12),
      .activation = read.activation("hidden_act", "gelu"),
      .qkv_bias = read.boolean("qkv_bias", true),
      .eps = read.number("layer_norm_eps", eps),
      .embed_dropout = read.number("hidden_dropout_prob", 0.0),
      .attention_dropout = read.number("attention_probs_dropout_prob", 0.0),
      .init_std = read.number("initializer_range", 0.02)};
  if (options.num_heads > 0) read.require("head_dim", options.hidden_size / options.num_heads);
  return options;
}

void shared_rules(KeyMap& map) {
  const std::string layer = "encoder.layer.{i}.attention.", block = "blocks.{i}.attention.";
  map.rename("embeddings.cls_token", "class_token")
      .rename("embeddings.position_embeddings", "positions")
      .rename("embeddings.patch_embeddings.projection.{p}", "patch_embed.{p}")
      .rename(layer + "attention.query.{p}", block + "q.{p}")
      .rename(layer + "attention.key.{p}", block + "k.{p}")
      .rename(layer + "attention.value.{p}", block + "v.{p}")
      .rename(layer + "output.dense.{p}", block + "out.{p}")
      .rename("layernorm.{p}", "norm.{p}");
}

const vision::VisionTransformerOptions& options_of(const Encoder& encoder, const char* family) {
  const auto* transformer = dynamic_cast<const vision::VisionTransformerImpl*>(&encoder);
  if (transformer == nullptr)
    fail("the family {} holds vision transformers, found another encoder", family);
  const auto& o = transformer->options;
  if (!o.patch_bias) refuse_option(family, "patch_bias = false");
  if (!o.class_token) refuse_option(family, "class_token = false");
  if (!o.position_class) refuse_option(family, "position_class = false");
  if (o.position_kind != vision::PositionKind::learned)
    refuse_option(family, "position_kind = sincos");
  if (o.pre_norm) refuse_option(family, "pre_norm = true");
  if (o.qk_norm) refuse_option(family, "qk_norm = true");
  if (o.norm != nn::NormKind::layer_norm) refuse_option(family, "norm = rms_norm");
  if (o.norm_pooled) refuse_option(family, "norm_pooled = true");
  if (o.pooling != nn::Pooling::cls) refuse_option(family, "another pooling than cls");
  if (!o.final_norm) refuse_option(family, "final_norm = false");
  if (o.resample.mode != nn::Interpolation::bicubic)
    refuse_option(family, "other positions than bicubic ones");
  return o;
}

Json shared_config(const vision::VisionTransformerOptions& o) {
  return Json::object({{"hidden_size", o.hidden_size},
                       {"num_hidden_layers", o.num_layers},
                       {"num_attention_heads", o.num_heads},
                       {"hidden_act", activation_name(o.activation)},
                       {"hidden_dropout_prob", o.embed_dropout},
                       {"attention_probs_dropout_prob", o.attention_dropout},
                       {"initializer_range", o.init_std},
                       {"layer_norm_eps", o.eps},
                       {"image_size", o.image_size},
                       {"patch_size", o.patch_size},
                       {"num_channels", o.num_channels},
                       {"qkv_bias", o.qkv_bias}});
}

// Dinov2MLP's and Dinov2SwiGLUFFN's width; the latter is 2/3 of it, rounded up to a multiple of 8.
int64_t dinov2_width(int64_t hidden_size, double ratio, bool gated) {
  const auto width = static_cast<int64_t>(static_cast<double>(hidden_size) * ratio);
  return gated ? (static_cast<int64_t>(static_cast<double>(width) * 2 / 3) + 7) / 8 * 8 : width;
}

Json dinov2_config(const Encoder& encoder, bool with_registers) {
  const auto* family = with_registers ? "dinov2_with_registers" : "dinov2";
  const auto& o = options_of(encoder, family);
  if (o.layer_scale == 0) refuse_option(family, "layer_scale = 0");
  if (o.dropout != 0) refuse_option(family, "dropout on the branches");
  if (o.pooler) refuse_option(family, "pooler = true");
  if (o.gated && o.activation != nn::Activation::silu)
    refuse_option(family, "a gated mlp with another activation than silu");
  if (!with_registers && o.num_registers != 0) refuse_option(family, "num_registers > 0");
  if (with_registers && !o.mask_token) refuse_option(family, "mask_token = false");
  if (o.resample.antialias != with_registers)
    refuse_option(family,
                  with_registers ? "resample.antialias = false" : "resample.antialias = true");
  int64_t ratio = 1;
  while (dinov2_width(o.hidden_size, static_cast<double>(ratio), o.gated) < o.intermediate_size)
    ++ratio;
  if (dinov2_width(o.hidden_size, static_cast<double>(ratio), o.gated) != o.intermediate_size)
    refuse_option(family, fmt::format("intermediate_size = {}, as no whole mlp_ratio gives it",
                                      o.intermediate_size));
  auto out = shared_config(o);
  out.set("mlp_ratio", ratio)
      .set("layerscale_value", o.layer_scale)
      .set("drop_path_rate", o.drop_path)
      .set("use_swiglu_ffn", o.gated);
  if (with_registers)
    out.set("num_register_tokens", o.num_registers);
  else
    out.set("use_mask_token", o.mask_token);
  return out;
}

std::shared_ptr<Encoder> make_dinov2(const Json& config, bool with_registers) {
  const std::string family = with_registers ? "dinov2_with_registers" : "dinov2";
  const ConfigReader read(config, family);
  auto options = read_options(read, family, with_registers ? 16 : 14, 1e-6);
  options.gated = read.boolean("use_swiglu_ffn", false);
  if (options.gated) options.activation = nn::Activation::silu;
  options.intermediate_size =
      dinov2_width(options.hidden_size, read.number("mlp_ratio", 4), options.gated);
  options.layer_scale = read.number("layerscale_value", 1.0);
  // 0 would mean "none" to the options; the weights come from the checkpoint all the same.
  if (options.layer_scale == 0) options.layer_scale = 1e-300;
  options.drop_path = read.number("drop_path_rate", 0.0);
  options.num_registers = with_registers ? read.integer("num_register_tokens", 4) : 0;
  options.mask_token = with_registers || read.boolean("use_mask_token", true);
  options.resample.antialias = with_registers;
  return std::make_shared<vision::VisionTransformerImpl>(options);
}

KeyMap dinov2_key_map(const Json& config, bool with_registers) {
  KeyMap map;
  shared_rules(map);
  const std::string layer = "encoder.layer.{i}.", block = "blocks.{i}.";
  map.prefix(with_registers ? "dinov2_with_registers." : "dinov2.")
      .rename("embeddings.register_tokens", "register_tokens")
      .rename("embeddings.mask_token", "mask_token")
      .rename(layer + "norm1.{p}", block + "norm1.{p}")
      .rename(layer + "norm2.{p}", block + "norm2.{p}")
      .rename(layer + "layer_scale1.lambda1", block + "scale1")
      .rename(layer + "layer_scale2.lambda1", block + "scale2");
  if (config.get("use_swiglu_ffn", false).as_bool()) {
    map.split(layer + "mlp.weights_in.{p}", {block + "mlp.gate.{p}", block + "mlp.fc1.{p}"})
        .rename(layer + "mlp.weights_out.{p}", block + "mlp.fc2.{p}");
  } else {
    map.rename(layer + "mlp.fc1.{p}", block + "mlp.fc1.{p}")
        .rename(layer + "mlp.fc2.{p}", block + "mlp.fc2.{p}");
  }
  return map;
}

std::shared_ptr<Encoder> make_vit(const Json& config, const Family::Has& has) {
  const ConfigReader read(config, "vit");
  auto options = read_options(read, "vit", 16, 1e-12);
  options.intermediate_size = read.integer("intermediate_size", 3072);
  options.dropout = options.embed_dropout;
  options.pooler = has("pooler.dense.weight");
  if (options.pooler) {
    read.require("pooler_act", "tanh");
    read.require("pooler_output_size", options.hidden_size);
  }
  return std::make_shared<vision::VisionTransformerImpl>(options);
}

KeyMap vit_key_map(const Json&) {
  KeyMap map;
  shared_rules(map);
  const std::string layer = "encoder.layer.{i}.", block = "blocks.{i}.";
  map.prefix("vit.")
      .rename(layer + "layernorm_before.{p}", block + "norm1.{p}")
      .rename(layer + "layernorm_after.{p}", block + "norm2.{p}")
      .rename(layer + "intermediate.dense.{p}", block + "mlp.fc1.{p}")
      .rename(layer + "output.dense.{p}", block + "mlp.fc2.{p}")
      .rename("pooler.dense.{p}", "pooler.{p}")
      .drop("embeddings.mask_token", "stands for masked patches in pretraining only");
  return map;
}

Json vit_config(const Encoder& encoder) {
  const auto& o = options_of(encoder, "vit");
  if (o.gated) refuse_option("vit", "gated = true");
  if (o.layer_scale != 0) refuse_option("vit", "layer_scale");
  if (o.num_registers != 0) refuse_option("vit", "num_registers > 0");
  if (o.mask_token) refuse_option("vit", "mask_token = true");
  if (o.drop_path != 0) refuse_option("vit", "drop_path");
  if (o.dropout != o.embed_dropout) refuse_option("vit", "dropout apart from embed_dropout");
  if (o.resample.antialias) refuse_option("vit", "resample.antialias = true");
  auto out = shared_config(o);
  out.set("intermediate_size", o.intermediate_size);
  return out;
}

}  // namespace

Family dinov2_family(bool with_registers) {
  return {
      Role::image, with_registers ? "Dinov2WithRegistersModel" : "Dinov2Model",
      [=](const Json& config, const Family::Has&) { return make_dinov2(config, with_registers); },
      [=](const Json& config) { return dinov2_key_map(config, with_registers); },
      [=](const Encoder& encoder) { return dinov2_config(encoder, with_registers); }};
}

Family vit_family() { return {Role::image, "ViTModel", make_vit, vit_key_map, vit_config}; }

}  // namespace weft::checkpoint
