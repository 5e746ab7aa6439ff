// The towers of CLIP and SigLIP in Hugging Face's layout, which differ in a few options only.
#include <ATen/core/Tensor.h>

#include <weft/text/text_encoder.hpp>
#include <weft/vision/vision_transformer.hpp>

#include "checkpoint/config_reader.hpp"
#include "checkpoint/family_list.hpp"
#include "checkpoint/vision_towers.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {

const vision::VisionTransformerOptions& transformer_options(const Encoder& encoder,
                                                            std::string_view family) {
  const auto* transformer = dynamic_cast<const vision::VisionTransformerImpl*>(&encoder);
  if (transformer == nullptr)
    fail("the family {} holds vision transformers, found another encoder", family);
  return transformer->options;
}

void add_leading(KeyMap& map, const std::string& theirs, const std::string& ours, int64_t count) {
  map.permute(
      theirs, ours,
      [count](const at::Tensor& t) {
        auto out = t;
        for (int64_t i = 0; i < count; ++i) out = out.unsqueeze(0);
        return out;
      },
      [count](const at::Tensor& t) {
        auto out = t;
        for (int64_t i = 0; i < count; ++i) out = out.squeeze(0);
        return out;
      });
}

namespace {

constexpr const char *kClipVision = "clip_vision_model", *kClipText = "clip_text_model",
                     *kSiglipVision = "siglip_vision_model", *kSiglipText = "siglip_text_model";

void block_rules(KeyMap& map) {
  const std::string layer = "encoder.layers.{i}.", block = "blocks.{i}.";
  map.rename(layer + "self_attn.q_proj.{p}", block + "attention.q.{p}")
      .rename(layer + "self_attn.k_proj.{p}", block + "attention.k.{p}")
      .rename(layer + "self_attn.v_proj.{p}", block + "attention.v.{p}")
      .rename(layer + "self_attn.out_proj.{p}", block + "attention.out.{p}")
      .rename(layer + "layer_norm1.{p}", block + "norm1.{p}")
      .rename(layer + "layer_norm2.{p}", block + "norm2.{p}")
      .rename(layer + "mlp.fc1.{p}", block + "mlp.fc1.{p}")
      .rename(layer + "mlp.fc2.{p}", block + "mlp.fc2.{p}")
      .drop("embeddings.position_ids", "a buffer: positions are counted");
}

KeyMap vision_map(bool siglip) {
  KeyMap map;
  map.prefix("vision_model.");
  block_rules(map);
  map.rename("embeddings.patch_embedding.{p}", "patch_embed.{p}")
      .rename("post_layernorm.{p}", "norm.{p}");
  add_leading(map, "embeddings.position_embedding.weight", "positions", 1);
  if (!siglip) {
    add_leading(map, "embeddings.class_embedding", "class_token", 2);
    map.rename("pre_layrnorm.{p}", "pre_norm.{p}");
    return map;
  }
  const std::string pool = "attention_pool.attention.";
  for (const std::string p : {"weight", "bias"})
    map.split("head.attention.in_proj_" + p, {pool + "q." + p, pool + "k." + p, pool + "v." + p});
  map.rename("head.probe", "attention_pool.query")
      .rename("head.attention.out_proj.{p}", pool + "out.{p}")
      .rename("head.layernorm.{p}", "attention_pool.norm.{p}")
      .rename("head.mlp.fc1.{p}", "attention_pool.mlp.fc1.{p}")
      .rename("head.mlp.fc2.{p}", "attention_pool.mlp.fc2.{p}");
  return map;
}

KeyMap text_map(bool siglip) {
  KeyMap map;
  map.prefix("text_model.");
  block_rules(map);
  map.rename("embeddings.token_embedding.weight", "token_embed.weight")
      .rename("embeddings.position_embedding.weight", "positions.weight")
      .rename("final_layer_norm.{p}", "norm.{p}");
  if (siglip) map.rename("head.{p}", "head.{p}");
  return map;
}

vision::VisionTransformerOptions vision_options(const Json& config, const std::string& family,
                                                bool siglip) {
  const ConfigReader read(config, family);
  vision::VisionTransformerOptions o{
      .family = family,
      .image_size = read.side("image_size", 224),
      .patch_size = read.side("patch_size", siglip ? 16 : 32),
      .num_channels = read.integer("num_channels", 3),
      .hidden_size = read.integer("hidden_size", 768),
      .num_layers = read.integer("num_hidden_layers", 12),
      .num_heads = read.integer("num_attention_heads", 12),
      .intermediate_size = read.integer("intermediate_size", 3072),
      .activation = read.activation("hidden_act", siglip ? "gelu_pytorch_tanh" : "quick_gelu"),
      .patch_bias = siglip,
      .eps = read.number("layer_norm_eps", siglip ? 1e-6 : 1e-5),
      .class_token = !siglip,
      .pre_norm = !siglip,
      .norm_pooled = !siglip,
      .pooling = siglip ? nn::Pooling::map : nn::Pooling::cls,
      .attention_dropout = read.number("attention_dropout", 0.0),
      .pixel_mean =
          siglip ? std::vector{0.5, 0.5, 0.5} : std::vector{0.48145466, 0.4578275, 0.40821073},
      .pixel_std =
          siglip ? std::vector{0.5, 0.5, 0.5} : std::vector{0.26862954, 0.26130258, 0.27577711},
      .init = siglip ? nn::Initialization::trunc_normal : nn::Initialization::clip};
  if (siglip && !read.boolean("vision_use_head", true)) o.pooling = nn::Pooling::mean;
  // Weft's own field, which transformers does not look at: open_clip antialiases.
  o.resample.antialias = read.boolean("interpolate_antialias", false);
  return o;
}

std::shared_ptr<Encoder> make_vision(const Json& config, bool siglip) {
  return std::make_shared<vision::VisionTransformerImpl>(
      vision_options(config, siglip ? kSiglipVision : kClipVision, siglip));
}

std::shared_ptr<Encoder> make_text(const Json& config, bool siglip) {
  const std::string family = siglip ? kSiglipText : kClipText;
  const ConfigReader read(config, family);
  const auto hidden = read.integer("hidden_size", siglip ? 768 : 512);
  text::TextEncoderOptions o{
      .family = family,
      .vocab_size = read.integer("vocab_size", siglip ? 32000 : 49408),
      .hidden_size = hidden,
      .num_layers = read.integer("num_hidden_layers", 12),
      .num_heads = read.integer("num_attention_heads", siglip ? 12 : 8),
      .intermediate_size = read.integer("intermediate_size", siglip ? 3072 : 2048),
      .max_tokens = read.integer("max_position_embeddings", siglip ? 64 : 77),
      .type_vocab = 0,
      .activation = read.activation("hidden_act", siglip ? "gelu_pytorch_tanh" : "quick_gelu"),
      .eps = read.number("layer_norm_eps", siglip ? 1e-6 : 1e-5),
      .post_norm = false,
      .embed_norm = false,
      .causal = !siglip,
      .attention_dropout = read.number("attention_dropout", 0.0),
      .init = siglip ? nn::Initialization::trunc_normal : nn::Initialization::clip};
  if (siglip) {
    o.pooling = nn::Pooling::last;
    o.projection_size = read.integer("projection_size", hidden);
  } else {
    o.pooling = nn::Pooling::eot;
    // Configurations written before the field meant anything hold 2: the largest id is the token.
    const auto token = read.integer("eos_token_id", 49407);
    o.eot_token = token == 2 ? -1 : token;
  }
  return std::make_shared<text::TextEncoderImpl>(o);
}

Json vit_tower_config(const vision::VisionTransformerOptions& o, const std::string& family,
                      bool siglip) {
  const auto need = [&](bool holds, std::string_view option) {
    if (!holds) refuse_option(family, option);
  };
  need(!o.gated, "gated = true");
  need(o.qkv_bias, "qkv_bias = false");
  need(!o.qk_norm, "qk_norm = true");
  need(o.norm == nn::NormKind::layer_norm, "norm = rms_norm");
  need(o.layer_scale == 0, "layer_scale");
  need(o.num_registers == 0, "num_registers > 0");
  need(o.position_class, "position_class = false");
  need(!o.mask_token, "mask_token = true");
  need(o.position_kind == vision::PositionKind::learned, "position_kind = sincos");
  need(o.final_norm, "final_norm = false");
  need(!o.pooler, "pooler = true");
  need(o.dropout == 0 && o.embed_dropout == 0 && o.drop_path == 0, "dropout or drop_path");
  need(o.patch_bias == siglip, siglip ? "patch_bias = false" : "patch_bias = true");
  need(o.class_token != siglip, siglip ? "class_token = true" : "class_token = false");
  need(o.pre_norm != siglip, siglip ? "pre_norm = true" : "pre_norm = false");
  need(o.norm_pooled != siglip, siglip ? "norm_pooled = true" : "norm_pooled = false");
  if (siglip)
    need(o.pooling != nn::Pooling::cls, "pooling = cls");
  else
    need(o.pooling == nn::Pooling::cls, "another pooling than cls");
  auto out = Json::object({{"hidden_size", o.hidden_size},
                           {"intermediate_size", o.intermediate_size},
                           {"num_hidden_layers", o.num_layers},
                           {"num_attention_heads", o.num_heads},
                           {"num_channels", o.num_channels},
                           {"image_size", o.image_size},
                           {"patch_size", o.patch_size},
                           {"hidden_act", activation_name(o.activation)},
                           {"layer_norm_eps", o.eps},
                           {"attention_dropout", o.attention_dropout}});
  if (o.resample.antialias) out.set("interpolate_antialias", true);
  if (siglip) out.set("vision_use_head", o.pooling == nn::Pooling::map);
  return out;
}

Json vision_config(const Encoder& encoder, bool siglip) {
  const std::string family = siglip ? kSiglipVision : kClipVision;
  const auto& o = transformer_options(encoder, family);
  if (o.resample.mode != nn::Interpolation::bicubic)
    refuse_option(family, "other positions than bicubic ones");
  return vit_tower_config(o, family, siglip);
}

Json text_config(const Encoder& encoder, bool siglip) {
  const char* family = siglip ? kSiglipText : kClipText;
  const auto* transformer = dynamic_cast<const text::TextEncoderImpl*>(&encoder);
  if (transformer == nullptr)
    fail("the family {} holds text encoders, found another encoder", family);
  const auto& o = transformer->options;
  const auto need = [&](bool holds, std::string_view option) {
    if (!holds) refuse_option(family, option);
  };
  need(!o.post_norm, "post_norm = true");
  need(!o.embed_norm, "embed_norm = true");
  need(o.type_vocab == 0, "type_vocab > 0");
  need(!o.pooler, "pooler = true");
  need(o.dropout == 0, "dropout");
  need(o.causal != siglip, siglip ? "causal = true" : "causal = false");
  if (siglip) {
    need(o.pooling == nn::Pooling::last, "another pooling than last");
    need(o.projection_size > 0, "projection_size = 0");
  } else {
    need(o.pooling == nn::Pooling::eot, "another pooling than eot");
    need(o.projection_size == 0, "projection_size");
  }
  auto out = Json::object({{"vocab_size", o.vocab_size},
                           {"hidden_size", o.hidden_size},
                           {"intermediate_size", o.intermediate_size},
                           {"num_hidden_layers", o.num_layers},
                           {"num_attention_heads", o.num_heads},
                           {"max_position_embeddings", o.max_tokens},
                           {"hidden_act", activation_name(o.activation)},
                           {"layer_norm_eps", o.eps},
                           {"attention_dropout", o.attention_dropout}});
  if (siglip)
    out.set("projection_size", o.projection_size);
  else
    out.set("eos_token_id", o.eot_token < 0 ? 2 : o.eot_token);
  return out;
}

Family vision_family(const char* architecture, bool siglip) {
  return {Role::image, architecture,
          [=](const Json& config, const Family::Has&) { return make_vision(config, siglip); },
          [=](const Json&) { return vision_map(siglip); },
          [=](const Encoder& encoder) { return vision_config(encoder, siglip); }};
}

Family text_family(const char* architecture, bool siglip) {
  return {Role::text, architecture,
          [=](const Json& config, const Family::Has&) { return make_text(config, siglip); },
          [=](const Json&) { return text_map(siglip); },
          [=](const Encoder& encoder) { return text_config(encoder, siglip); }};
}

}  // namespace

vision::VisionTransformerOptions siglip_options(const Json& config, const std::string& family) {
  return vision_options(config, family, true);
}
Json siglip_config(const vision::VisionTransformerOptions& options, const std::string& family) {
  return vit_tower_config(options, family, true);
}
KeyMap siglip_map() { return vision_map(true); }

Family clip_vision_family() { return vision_family("CLIPVisionModel", false); }
Family clip_text_family() { return text_family("CLIPTextModel", false); }
Family siglip_vision_family() { return vision_family("SiglipVisionModel", true); }
Family siglip_text_family() { return text_family("SiglipTextModel", true); }

}  // namespace weft::checkpoint
