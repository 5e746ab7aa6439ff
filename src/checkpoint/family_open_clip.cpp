// open_clip's layout: open_clip_config.json and open_clip_model.safetensors. Its towers are those
// of CLIP, or timm's vision transformers and SigLIP's text tower, whose families read a
// configuration translated from model_cfg.
#include <cmath>

#include "checkpoint/config_reader.hpp"
#include "checkpoint/family_list.hpp"
#include "checkpoint/open_clip_transform.hpp"
#include "checkpoint/timm_vit.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

using models::ContrastiveLoss;
using models::Projection;

constexpr const char* kName = "open_clip";

Json model_cfg(const Json& config) {
  const auto out = config.get("model_cfg");
  if (!out.is_object())
    fail("open_clip_config.json: 'model_cfg' must be an object, found a {}", out.type_name());
  return out;
}

// The fields that change the mathematics in a way that weft lacks, and their harmless values.
void refuse_custom_blocks(const ConfigReader& read) {
  for (const auto* key : {"qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner",
                          "scale_attn", "scale_fc", "final_ln_after_pool"})
    read.require(key, false);
  read.require("block_type", "default");
}

std::string activation(const Json& model, const Json& tower) {
  if (model.get("quick_gelu", false).as_bool()) return "quick_gelu";
  const auto kind = tower.get("act_kwargs", Json::object()).get("approximate", "none").as_string();
  return kind == "tanh" ? "gelu_pytorch_tanh" : "gelu";
}

double eps(const Json& tower) {
  return tower.get("norm_kwargs", Json::object()).get("eps", 1e-5).as_double();
}

Json shared(const Json& model, const Json& tower, const ConfigReader& read, int64_t width) {
  read.require("ls_init_value", Json());
  return Json::object({{"hidden_size", width},
                       {"num_hidden_layers", read.integer("layers", 12)},
                       {"intermediate_size", static_cast<int64_t>(static_cast<double>(width) *
                                                                  read.number("mlp_ratio", 4.0))},
                       {"hidden_act", activation(model, tower)},
                       {"layer_norm_eps", eps(tower)}});
}

Json vision_cfg(const Json& config) { return model_cfg(config).get("vision_cfg", Json::object()); }
Json text_cfg(const Json& config) { return model_cfg(config).get("text_cfg", Json::object()); }

bool is_timm(const Json& config) { return !vision_cfg(config).get("timm_model_name").is_null(); }
/// SigLIP's tower: every token sees every other, and the last one is the text's.
bool is_bidirectional(const Json& config) {
  return text_cfg(config).get("no_causal_mask", false).as_bool();
}

/// What carries the vector of timm's trunk into the space: "" is the trunk's own classifier.
std::string timm_projection(const Json& config) {
  const auto kind = ConfigReader(vision_cfg(config), kName).text("timm_proj", "linear");
  if (kind != "" && kind != "linear" && kind != "none")
    fail("open_clip_config.json: 'timm_proj' is '{}', and only linear, none and '' are supported",
         kind);
  return kind;
}

TowerConfig timm_image(const Json& config) {
  const auto tower = vision_cfg(config);
  const ConfigReader read(tower, kName);
  const auto name = read.text("timm_model_name", ""), pool = read.text("timm_pool", "avg");
  // The norm's place is settled when timm builds the trunk: with this pooling, or, where a head of
  // open_clip's follows, with the architecture's own.
  auto vit = timm_architecture(name);
  auto args = Json::object();
  if (!pool.empty()) {
    args.set("global_pool", pool);
    if (timm_projection(config) == "linear" && vit.fc_norm.is_null())
      args.set("fc_norm", vit.global_pool == "avg");
  }
  return {"timm_vit", Json::object({{"architecture", name}, {"model_args", args}})};
}

TowerConfig image(const Json& config) {
  if (is_timm(config)) return timm_image(config);
  const auto model = model_cfg(config);
  const auto tower = vision_cfg(config);
  const ConfigReader read(tower, kName);
  if (tower.get("layers").is_array())
    fail(
        "open_clip_config.json: the image tower is a ResNet ('layers' is a list); only vision "
        "transformers are supported");
  refuse_custom_blocks(read);
  read.require("attentional_pool", false);
  read.require("no_ln_pre", false);
  read.require("pos_embed_type", "learnable");
  read.require("pool_type", "tok");
  const auto width = read.integer("width", 768), head = read.integer("head_width", 64);
  if (head <= 0 || width % head != 0)
    fail("open_clip_config.json: 'width' ({}) must be a multiple of 'head_width' ({})", width,
         head);
  auto out = shared(model, tower, read, width);
  out.set("num_attention_heads", width / head)
      .set("image_size", read.side("image_size", 224))
      .set("patch_size", read.side("patch_size", 16))
      .set("interpolate_antialias", true);
  return {"clip_vision_model", out};
}

/// Whether the text's projection is a linear layer with a bias, which is SigLIP's head.
bool has_text_head(const Json& config) {
  const auto tower = text_cfg(config);
  return is_bidirectional(config) && tower.get("proj_bias", false).as_bool() &&
         tower.get("proj_type", "linear").as_string() == "linear";
}

TowerConfig text(const Json& config) {
  const auto model = model_cfg(config);
  const auto tower = text_cfg(config);
  const ConfigReader read(tower, kName);
  if (!tower.get("hf_model_name").is_null())
    fail(
        "open_clip_config.json: the text tower is Hugging Face's {}, which this layout does not "
        "read; only open_clip's own text transformer is supported",
        tower.get("hf_model_name").dump());
  refuse_custom_blocks(read);
  read.require("embed_cls", false);
  auto out = shared(model, tower, read, read.integer("width", 512));
  out.set("num_attention_heads", read.integer("heads", 8))
      .set("vocab_size", read.integer("vocab_size", 49408))
      .set("max_position_embeddings", read.integer("context_length", 77));
  if (is_bidirectional(config)) {
    read.require("pool_type", "last");
    const auto embed_dim = ConfigReader(model, kName).integer("embed_dim", 512);
    out.set("projection_size", has_text_head(config) ? embed_dim : 0);
    return {"siglip_text_model", out};
  }
  read.require("pool_type", "argmax");
  read.require("proj_type", "linear");
  read.require("proj_bias", false);
  out.set("eos_token_id", 2);  // the largest id ends the text, as open_clip's argmax has it
  return {"clip_text_model", out};
}

models::DualEncoderOptions options(const Json& config) {
  const auto model = model_cfg(config);
  const bool sigmoid = !model.get("init_logit_bias").is_null();
  models::DualEncoderOptions out{
      .embed_dim = ConfigReader(model, kName).integer("embed_dim", 512),
      .image_projection = Projection::linear,
      .text_projection = Projection::linear,
      .loss = sigmoid ? ContrastiveLoss::sigmoid : ContrastiveLoss::infonce};
  if (sigmoid) out.init_logit_bias = model.at("init_logit_bias").as_double();
  if (!model.get("init_logit_scale").is_null())
    out.init_logit_scale = model.at("init_logit_scale").as_double();
  if (is_timm(config)) {
    const auto kind = timm_projection(config);
    const bool bias = kind.empty() || vision_cfg(config).get("timm_proj_bias", false).as_bool();
    out.image_projection = kind == "none" ? Projection::none
                           : bias         ? Projection::linear_bias
                                          : Projection::linear;
  }
  if (has_text_head(config) || text_cfg(config).get("proj_type", "linear").as_string() == "none")
    out.text_projection = Projection::none;
  return out;
}

void block_rules(KeyMap& map, const std::string& theirs, const std::string& ours) {
  const auto layer = theirs + "transformer.resblocks.{i}.", block = ours + "blocks.{i}.";
  const auto attention = block + "attention.";
  for (const std::string p : {"weight", "bias"})
    map.split(layer + "attn.in_proj_" + p,
              {attention + "q." + p, attention + "k." + p, attention + "v." + p});
  map.rename(layer + "attn.out_proj.{p}", attention + "out.{p}")
      .rename(layer + "ln_1.{p}", block + "norm1.{p}")
      .rename(layer + "ln_2.{p}", block + "norm2.{p}")
      .rename(layer + "mlp.c_fc.{p}", block + "mlp.fc1.{p}")
      .rename(layer + "mlp.c_proj.{p}", block + "mlp.fc2.{p}");
}

void image_rules(KeyMap& map, const Json& config) {
  if (is_timm(config)) {
    const std::string trunk = "visual.trunk.";
    if (timm_projection(config).empty())
      map.rename(trunk + "head.{p}", "image_projection.{p}");
    else
      map.rename("visual.head.proj.{p}", "image_projection.{p}");
    const auto tower = timm_image(config);
    map.nest(families().at(tower.family).key_map(tower.config), trunk, "image.");
    return;
  }
  block_rules(map, "visual.", "image.");
  map.permute(
         "visual.class_embedding", "image.class_token",
         [](const at::Tensor& x) {
           return x.view({1, 1, -1});
         },
         [](const at::Tensor& x) { return x.view({-1}); })
      .permute(
          "visual.positional_embedding", "image.positions",
          [](const at::Tensor& x) { return x.unsqueeze(0); },
          [](const at::Tensor& x) { return x.squeeze(0); })
      .rename("visual.conv1.weight", "image.patch_embed.weight")
      .rename("visual.ln_pre.{p}", "image.pre_norm.{p}")
      .rename("visual.ln_post.{p}", "image.norm.{p}")
      .transpose("visual.proj", "image_projection.weight");
}

KeyMap open_clip_map(const Json& config) {
  // CustomTextCLIP keeps the text tower under a name of its own.
  const std::string t = model_cfg(config).get("custom_text", false).as_bool() ? "text." : "";
  KeyMap map;
  image_rules(map, config);
  block_rules(map, t, "text.");
  map.rename(t + "token_embedding.weight", "text.token_embed.weight")
      .rename(t + "positional_embedding", "text.positions.weight")
      .rename(t + "ln_final.{p}", "text.norm.{p}");
  if (has_text_head(config))
    map.rename(t + "text_projection.{p}", "text.head.{p}");
  else
    map.transpose(t + "text_projection", "text_projection.weight");
  map.rename("logit_scale", "logit_scale")
      .rename("logit_bias", "logit_bias")
      .drop(t + "attn_mask", "a buffer: the causal mask");
  return map;
}

Json config_of(const models::DualEncoderImpl& model, const TowerConfig& image,
               const TowerConfig& text) {
  if (image.family != "clip_vision_model" || text.family != "clip_text_model")
    fail(
        "the layout open_clip holds towers of the families clip_vision_model and clip_text_model, "
        "found {} and {}",
        image.family, text.family);
  const auto& o = model.options;
  if (o.image_pool != nn::Pooling::encoder || o.text_pool != nn::Pooling::encoder)
    refuse_option(kName, "another pooling than the towers' own");
  if (o.image_projection != Projection::linear || o.text_projection != Projection::linear)
    refuse_option(kName, "projections other than linear");
  const ConfigReader v(image.config, image.family), t(text.config, text.family);
  const auto act = v.text("hidden_act", "quick_gelu");
  if (act != t.text("hidden_act", "quick_gelu")) refuse_option(kName, "two activations");
  const auto tower = [&](const ConfigReader& read, int64_t width, int64_t intermediate) {
    auto out = Json::object({{"layers", read.integer("num_hidden_layers", 12)}, {"width", width}});
    if (intermediate != 4 * width) out.set("mlp_ratio", ratio_of(intermediate, width));
    if (const auto e = read.number("layer_norm_eps", 1e-5); e != 1e-5)
      out.set("norm_kwargs", Json::object({{"eps", e}}));
    if (act == "gelu_pytorch_tanh") out.set("act_kwargs", Json::object({{"approximate", "tanh"}}));
    return out;
  };
  const auto width = v.integer("hidden_size", 768), text_width = t.integer("hidden_size", 512);
  auto vision_cfg = tower(v, width, v.integer("intermediate_size", 3072));
  vision_cfg.set("image_size", v.side("image_size", 224))
      .set("patch_size", v.side("patch_size", 32))
      .set("head_width", width / v.integer("num_attention_heads", 12));
  auto text_cfg = tower(t, text_width, t.integer("intermediate_size", 2048));
  const auto eot = t.integer("eos_token_id", 49407);
  if (eot != 2 && eot != t.integer("vocab_size", 49408) - 1)
    refuse_option(kName, "eot_token, as it takes the largest id for the end of the text");
  text_cfg.set("heads", t.integer("num_attention_heads", 8))
      .set("vocab_size", t.integer("vocab_size", 49408))
      .set("context_length", t.integer("max_position_embeddings", 77));
  auto model_cfg = Json::object(
      {{"embed_dim", o.embed_dim}, {"vision_cfg", vision_cfg}, {"text_cfg", text_cfg}});
  if (act == "quick_gelu") model_cfg.set("quick_gelu", true);
  if (act != "quick_gelu" && act != "gelu" && act != "gelu_pytorch_tanh")
    refuse_option(kName, "the activation " + act);
  if (o.loss == ContrastiveLoss::sigmoid) model_cfg.set("init_logit_bias", o.init_logit_bias);
  return Json::object({{"model_cfg", model_cfg}});
}

}  // namespace

DualFamily open_clip_family() {
  return {.architecture = "",
          .image = image,
          .text = text,
          .image_prefix = "visual.",
          .text_prefix = "",
          .options = options,
          .key_map = open_clip_map,
          .read_transform = read_open_clip_transform,
          .write_transform = write_open_clip_transform,
          .config_file = "open_clip_config.json",
          .weights_file = "open_clip_model.safetensors",
          .config = config_of};
}

}  // namespace weft::checkpoint
