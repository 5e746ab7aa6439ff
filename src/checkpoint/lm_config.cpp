#include "checkpoint/lm_config.hpp"

#include <cmath>

#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

nn::RotaryScaling scaling_of(const std::string& type, const std::string& family) {
  if (type == "default") return nn::RotaryScaling::none;
  if (type == "su") return nn::RotaryScaling::longrope;  // its name in the first Phi-3 files
  const std::vector<std::string> known = {"default", "linear", "dynamic",
                                          "yarn",    "llama3", "longrope"};
  for (size_t i = 1; i < known.size(); ++i)
    if (known[i] == type) return static_cast<nn::RotaryScaling>(i);
  throw Error(
      detail::unknown_name("config.json of the family " + family + ": rope_type", type, known));
}

// yarn's factor on cosines and sines where DeepSeek's two members set it.
double yarn_attention_factor(const ConfigReader& read, double factor) {
  const auto given = read.number("mscale", 0), all = read.number("mscale_all_dim", 0);
  if (given == 0 || all == 0 || factor <= 1) return 0;
  return (0.1 * given * std::log(factor) + 1) / (0.1 * all * std::log(factor) + 1);
}

}  // namespace

nn::RotaryOptions read_rotary(const Json& config, const std::string& family, int64_t head_dim,
                              double default_theta, const std::string& layer_type) {
  auto params = config.get("rope_parameters", config.get("rope_scaling"));
  if (!layer_type.empty() && params.is_object() && params.get(layer_type).is_object())
    params = params.at(layer_type);
  if (!params.is_object()) params = Json::object();
  const ConfigReader outer(config, family), read(params, family);
  nn::RotaryOptions o;
  const auto part =
      read.number("partial_rotary_factor", outer.number("partial_rotary_factor", 1.0));
  o.dim = static_cast<int64_t>(static_cast<double>(head_dim) * part);
  o.theta = read.number("rope_theta", outer.number("rope_theta", default_theta));
  o.scaling = scaling_of(read.text("rope_type", read.text("type", "default")), family);
  if (o.scaling == nn::RotaryScaling::none) return o;
  o.max_tokens = outer.integer("max_position_embeddings", 2048);
  o.original_max_tokens =
      outer.integer("original_max_position_embeddings",
                    read.integer("original_max_position_embeddings", o.max_tokens));
  const auto stretch =
      static_cast<double>(o.max_tokens) / static_cast<double>(o.original_max_tokens);
  o.factor = read.number("factor", stretch);
  o.attention_factor = read.number("attention_factor", 0);
  if (o.scaling == nn::RotaryScaling::yarn) {
    if (o.attention_factor == 0) o.attention_factor = yarn_attention_factor(read, o.factor);
    o.beta_fast = read.number("beta_fast", 32);
    o.beta_slow = read.number("beta_slow", 1);
    o.truncate = read.boolean("truncate", true);
  }
  o.low_freq_factor = read.number("low_freq_factor", 1);
  o.high_freq_factor = read.number("high_freq_factor", 4);
  if (o.scaling == nn::RotaryScaling::longrope) {
    o.short_factor = params.at("short_factor").as_doubles();
    o.long_factor = params.at("long_factor").as_doubles();
  }
  return o;
}

Json rotary_json(const nn::RotaryOptions& o, int64_t head_dim) {
  auto out = Json::object(
      {{"rope_type", o.scaling == nn::RotaryScaling::none ? Json("default") : to_json(o.scaling)},
       {"rope_theta", o.theta}});
  if (o.dim != head_dim)
    out.set("partial_rotary_factor", static_cast<double>(o.dim) / static_cast<double>(head_dim));
  if (o.scaling == nn::RotaryScaling::none) return out;
  out.set("factor", o.factor);
  if (o.attention_factor != 0) out.set("attention_factor", o.attention_factor);
  if (o.scaling == nn::RotaryScaling::yarn || o.scaling == nn::RotaryScaling::llama3 ||
      o.scaling == nn::RotaryScaling::longrope)
    out.set("original_max_position_embeddings", o.original_max_tokens);
  if (o.scaling == nn::RotaryScaling::yarn)
    out.set("beta_fast", o.beta_fast).set("beta_slow", o.beta_slow).set("truncate", o.truncate);
  if (o.scaling == nn::RotaryScaling::llama3)
    out.set("low_freq_factor", o.low_freq_factor).set("high_freq_factor", o.high_freq_factor);
  if (o.scaling == nn::RotaryScaling::longrope)
    out.set("short_factor", to_json(o.short_factor)).set("long_factor", to_json(o.long_factor));
  return out;
}

std::vector<std::string> read_layer_types(const Json& config, const std::string& family,
                                          int64_t num_layers) {
  const auto types = config.get("layer_types");
  if (types.is_null()) return {};
  const auto names = types.as_strings();
  if (static_cast<int64_t>(names.size()) != num_layers)
    fail("config.json of the family {}: layer_types has {} entries for {} layers", family,
         names.size(), num_layers);
  for (const auto& name : names)
    if (name != "full_attention" && name != "sliding_attention")
      fail(
          "config.json of the family {}: layer_types: '{}' is not supported, only full_attention "
          "and sliding_attention are",
          family, name);
  return names;
}

Json layer_types_json(const text::DecoderLmOptions& o) {
  std::vector<std::string> types(static_cast<size_t>(o.num_layers), "full_attention");
  for (const auto layer : o.window_layers)
    types.at(static_cast<size_t>(layer)) = "sliding_attention";
  return types;
}

int64_t integer_or_none(const Json& config, const ConfigReader& read, std::string_view key,
                        int64_t fallback) {
  return config.contains(key) && config.at(key).is_null() ? 0 : read.integer(key, fallback);
}

void without_head_aliases(KeyMap& map, const std::string& prefix,
                          const std::vector<std::string>& names) {
  for (const auto& name : names) map.alias(name, prefix + name);
}

KeyMap llama_names(bool tied, bool fused) {
  KeyMap map;
  const std::string layer = "model.layers.{i}.", block = "blocks.{i}.";
  without_head_aliases(map, "model.", {"embed_tokens.weight", "norm.weight", "layers.{x...}"});
  map.rename("model.embed_tokens.weight", "token_embed.weight")
      .rename("lm_head.weight", "lm_head.weight")
      .rename(layer + "self_attn.o_proj.{p}", block + "attention.out.{p}")
      .rename(layer + "mlp.down_proj.{p}", block + "mlp.fc2.{p}")
      .drop(layer + "self_attn.rotary_emb.inv_freq", "a buffer: frequencies are computed");
  if (fused) {
    map.split(layer + "self_attn.qkv_proj.{p}",
              {block + "attention.q.{p}", block + "attention.k.{p}", block + "attention.v.{p}"})
        .split(layer + "mlp.gate_up_proj.{p}", {block + "mlp.gate.{p}", block + "mlp.fc1.{p}"});
  } else {
    map.rename(layer + "self_attn.q_proj.{p}", block + "attention.q.{p}")
        .rename(layer + "self_attn.k_proj.{p}", block + "attention.k.{p}")
        .rename(layer + "self_attn.v_proj.{p}", block + "attention.v.{p}")
        .rename(layer + "mlp.gate_proj.{p}", block + "mlp.gate.{p}")
        .rename(layer + "mlp.up_proj.{p}", block + "mlp.fc1.{p}");
  }
  if (tied) map.tie("lm_head.weight", "model.embed_tokens.weight");
  return map;
}

const text::DecoderLmImpl& as_decoder(const LanguageModel& model, std::string_view family) {
  const auto* decoder = dynamic_cast<const text::DecoderLmImpl*>(&model);
  if (decoder == nullptr)
    fail("the family {} holds decoder language models, found another model", family);
  return *decoder;
}

}  // namespace weft::checkpoint
