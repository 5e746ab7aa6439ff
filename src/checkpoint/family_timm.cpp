// timm's VisionTransformer: config.json names an architecture and what differs from it.
#include <ATen/core/Tensor.h>

#include <weft/checkpoint/preprocessor.hpp>
#include <weft/vision/vision_transformer.hpp>

#include "checkpoint/config_reader.hpp"
#include "checkpoint/family_list.hpp"
#include "checkpoint/timm_vit.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

constexpr const char* kTimm = "timm_vit";

TimmVit vit_of(const Json& config) {
  auto out = timm_architecture(ConfigReader(config, kTimm).text("architecture", ""));
  override_timm(out, config.get("model_args", Json::object()));
  return out;
}

/// What the weights were trained with: an object of its own, or in older files flat beside the
/// rest.
Json pretrained_cfg(const Json& config) { return config.get("pretrained_cfg", config); }

std::shared_ptr<Encoder> make_timm(const Json& config, const Family::Has&) {
  auto options = timm_options(vit_of(config));
  const auto statistics = pretrained_cfg(config);
  if (!statistics.get("mean").is_null()) options.pixel_mean = statistics.at("mean").as_doubles();
  if (!statistics.get("std").is_null()) options.pixel_std = statistics.at("std").as_doubles();
  return std::make_shared<vision::VisionTransformerImpl>(options);
}

KeyMap timm_key_map(const Json& config) {
  const auto vit = vit_of(config);
  const std::string block = "blocks.{i}.", pool = "attention_pool.attention.";
  KeyMap map;
  map.rename("patch_embed.proj.{p}", "patch_embed.{p}")
      .rename("pos_embed", "positions")
      .rename("cls_token", "class_token")
      .rename("reg_token", "register_tokens")
      .rename("norm_pre.{p}", "pre_norm.{p}")
      .split(block + "attn.qkv.{p}",
             {block + "attention.q.{p}", block + "attention.k.{p}", block + "attention.v.{p}"})
      .rename(block + "attn.q_norm.{p}", block + "attention.q_norm.{p}")
      .rename(block + "attn.k_norm.{p}", block + "attention.k_norm.{p}")
      .rename(block + "attn.proj.{p}", block + "attention.out.{p}")
      .rename(block + "norm1.{p}", block + "norm1.{p}")
      .rename(block + "norm2.{p}", block + "norm2.{p}")
      .rename(block + "ls1.gamma", block + "scale1")
      .rename(block + "ls2.gamma", block + "scale2");
  if (vit.gated)
    map.split(block + "mlp.fc1.{p}", {block + "mlp.gate.{p}", block + "mlp.fc1.{p}"});
  else
    map.rename(block + "mlp.fc1.{p}", block + "mlp.fc1.{p}");
  map.rename(block + "mlp.fc2.{p}", block + "mlp.fc2.{p}")
      .rename(timm_options(vit).norm_pooled ? "fc_norm.{p}" : "norm.{p}", "norm.{p}")
      .rename("attn_pool.latent", "attention_pool.query")
      .rename("attn_pool.q.{p}", pool + "q.{p}")
      .split("attn_pool.kv.{p}", {pool + "k.{p}", pool + "v.{p}"})
      .rename("attn_pool.proj.{p}", pool + "out.{p}")
      .rename("attn_pool.norm.{p}", "attention_pool.norm.{p}")
      .rename("attn_pool.mlp.{l}.{p}", "attention_pool.mlp.{l}.{p}")
      .drop("head.{p}", "the classifier");
  return map;
}

Json timm_config(const Encoder& encoder) {
  const auto* transformer = dynamic_cast<const vision::VisionTransformerImpl*>(&encoder);
  if (transformer == nullptr)
    fail("the family {} holds vision transformers, found another encoder", kTimm);
  const auto& o = transformer->options;
  const auto need = [&](bool holds, std::string_view option) {
    if (!holds) refuse_option(kTimm, option);
  };
  need(!o.gated, "gated = true");
  need(!o.mask_token, "mask_token = true");
  need(o.norm == nn::NormKind::layer_norm && o.qk_norm_kind == nn::NormKind::layer_norm &&
           !o.qk_norm_whole && o.qk_norm_eps == 0,
       "norms of another kind");
  need(!o.pooler, "pooler = true");
  need(o.position_kind == vision::PositionKind::learned, "position_kind = sincos");
  need(o.resample.mode == nn::Interpolation::bicubic && o.resample.antialias,
       "positions that are not resampled with antialias");
  need(o.patch_bias != o.pre_norm, "patch_bias beside pre_norm");
  need(o.eps == (o.pre_norm ? 1e-5 : 1e-6), "eps, as it takes 1e-5 with pre_norm and else 1e-6");
  need(o.position_class != (o.num_registers > 0), "position_class beside registers");
  need(!o.norm_pooled || o.pooling == nn::Pooling::mean, "norm_pooled without mean pooling");
  const char* act = nullptr;
  switch (o.activation) {
    case nn::Activation::gelu:
      act = "gelu";
      break;
    case nn::Activation::gelu_tanh:
      act = "gelu_tanh";
      break;
    case nn::Activation::quick_gelu:
      act = "quick_gelu";
      break;
    case nn::Activation::relu:
      act = "relu";
      break;
    case nn::Activation::silu:
      act = "silu";
      break;
    case nn::Activation::tanh:
      act = "tanh";
      break;
  }
  const auto* pool = o.pooling == nn::Pooling::cls    ? "token"
                     : o.pooling == nn::Pooling::mean ? "avg"
                                                      : "map";
  auto args = Json::object({{"img_size", o.image_size},
                            {"patch_size", o.patch_size},
                            {"in_chans", o.num_channels},
                            {"embed_dim", o.hidden_size},
                            {"depth", o.num_layers},
                            {"num_heads", o.num_heads},
                            {"mlp_ratio", ratio_of(o.intermediate_size, o.hidden_size)},
                            {"qkv_bias", o.qkv_bias},
                            {"qk_norm", o.qk_norm},
                            {"class_token", o.class_token},
                            {"no_embed_class", !o.position_class},
                            {"reg_tokens", o.num_registers},
                            {"pre_norm", o.pre_norm},
                            {"final_norm", o.final_norm},
                            {"global_pool", pool},
                            {"fc_norm", o.norm_pooled},
                            {"act_layer", act}});
  if (o.layer_scale != 0) args.set("init_values", o.layer_scale);
  return Json::object(
      {{"architecture", o.pre_norm ? "vit_base_patch16_clip_224" : "vit_base_patch16_224"},
       {"num_classes", 0},
       {"num_features", o.hidden_size},
       {"global_pool", pool},
       {"model_args", args},
       {"pretrained_cfg",
        Json::object({{"num_classes", 0},
                      {"classifier", "head"},
                      {"first_conv", "patch_embed.proj"},
                      {"input_size", std::vector{o.num_channels, o.image_size, o.image_size}},
                      {"crop_pct", 1.0},
                      {"mean", o.pixel_mean},
                      {"std", o.pixel_std}})}});
}

// As timm's create_transform for evaluation: the shorter side at pixels / crop_pct, cut to a whole
// number, and the centre; or a squash.
Json timm_preprocessor(const Json& config) {
  const auto cfg = pretrained_cfg(config);
  const ConfigReader read(cfg, kTimm);
  vision::ImageTransformOptions out{.size = vit_of(config).img_size};
  if (!cfg.get("mean").is_null()) out.mean = cfg.at("mean").as_doubles();
  if (!cfg.get("std").is_null()) out.std = cfg.at("std").as_doubles();
  out.resize = static_cast<int64_t>(static_cast<double>(out.size) / read.number("crop_pct", 0.875));
  const auto interpolation = read.text("interpolation", "bicubic");
  if (interpolation != "bicubic" && interpolation != "bilinear")
    fail("timm: interpolation '{}' is not supported; bicubic and bilinear are", interpolation);
  out.filter = interpolation == "bicubic" ? io::Filter::bicubic : io::Filter::bilinear;
  const auto mode = read.text("crop_mode", "center");
  if (mode != "center" && mode != "squash")
    fail("timm: crop_mode '{}' is not supported; center and squash are", mode);
  if (mode == "squash") out.resize_mode = vision::ResizeMode::squash;
  out.crop_rounding = vision::CropRounding::half_to_even;
  return preprocessor_config(out);
}

}  // namespace

Family timm_vit_family() {
  return {.role = Role::image,
          .architecture = "",
          .make = make_timm,
          .key_map = timm_key_map,
          .config = timm_config,
          .preprocessor = timm_preprocessor};
}

}  // namespace weft::checkpoint
