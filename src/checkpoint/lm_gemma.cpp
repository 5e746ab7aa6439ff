// Gemma 1, 2 and 3: norms that multiply by 1 + weight, scaled embeddings; sandwich norms, windows
// and soft caps since the second; q and k norms and two rotations in the third.
#include <cmath>

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include "checkpoint/family_list.hpp"
#include "checkpoint/lm_config.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

constexpr const char* kNames[] = {"gemma", "gemma2", "gemma3_text"};
constexpr const char* kArchitectures[] = {"GemmaForCausalLM", "Gemma2ForCausalLM",
                                          "Gemma3ForCausalLM"};

int64_t window_period(const Json& config, int version) {
  if (version == 2) return 2;
  return ConfigReader(config, kNames[version - 1]).integer("sliding_window_pattern", 6);
}

std::shared_ptr<LanguageModel> make(const Json& config, int version) {
  const std::string family = kNames[version - 1];
  const ConfigReader read(config, family);
  read.require("use_bidirectional_attention",
               config.get("use_bidirectional_attention").is_null() ? Json() : Json(false));
  const auto hidden = read.integer("hidden_size", version == 1 ? 3072 : 2304);
  const auto head_dim = read.integer("head_dim", 256);
  const bool bias = read.boolean("attention_bias", false);
  const auto eps = read.number("rms_norm_eps", 1e-6);
  const auto init_std = read.number("initializer_range", 0.02);
  const auto heads = read.integer("num_attention_heads", version == 1 ? 16 : 8);
  text::DecoderLmOptions o{
      .family = family,
      .vocab_size = read.integer("vocab_size", version == 3 ? 262208 : 256000),
      .num_layers = read.integer("num_hidden_layers", version == 1 ? 28 : 26),
      .block = {.attention = {.hidden_size = hidden,
                              .num_heads = heads,
                              .num_kv_heads =
                                  read.integer("num_key_value_heads", version == 1 ? 16 : 4),
                              .head_dim = head_dim,
                              .q_bias = bias,
                              .k_bias = bias,
                              .v_bias = bias,
                              .out_bias = bias,
                              .qk_norm = version == 3,
                              .qk_norm_kind = nn::NormKind::rms_norm,
                              .eps = eps,
                              .dropout = read.number("attention_dropout", 0.0),
                              .init_std = init_std},
                .mlp = {.hidden_size = hidden,
                        .intermediate_size =
                            read.integer("intermediate_size", version == 1 ? 24576 : 9216),
                        // Gemma's first files name the exact GELU beside the one that is meant.
                        .activation = read.activation(
                            "hidden_activation", version == 1
                                                     ? read.text("hidden_act", "gelu_pytorch_tanh")
                                                     : "gelu_pytorch_tanh"),
                        .gated = true,
                        .bias = false,
                        .init_std = init_std},
                .norm = nn::NormKind::rms_norm,
                .eps = eps,
                .sandwich = version > 1},
      .max_tokens = read.integer("max_position_embeddings", version == 3 ? 131072 : 8192),
      .rotary = read_rotary(config, family, head_dim, version == 3 ? 1e6 : 1e4, "full_attention"),
      .embed_scale = std::sqrt(static_cast<double>(hidden)),
      .tie_embeddings = read.boolean("tie_word_embeddings", true),
      .init_std = init_std};
  if (version == 1) return std::make_shared<text::DecoderLmImpl>(o);
  auto& attention = o.block.attention;
  attention.scale = 1 / std::sqrt(read.number("query_pre_attn_scalar", 256));
  const auto cap = [&](const char* key, double fallback) {
    return config.contains(key) && config.at(key).is_null() ? 0.0 : read.number(key, fallback);
  };
  // Hugging Face's third version reads attn_logit_softcapping and does not apply it.
  if (version == 2) attention.soft_cap = cap("attn_logit_softcapping", 50);
  o.logit_soft_cap = cap("final_logit_softcapping", version == 2 ? 30 : 0);
  o.window = integer_or_none(config, read, "sliding_window", 4096);
  if (o.window > 0) {
    const auto period = window_period(config, version);
    o.window_layers = read_window_layers(config, family, o.num_layers,
                                         [&](int64_t layer) { return (layer + 1) % period != 0; });
  }
  if (version == 3 && !o.window_layers.empty()) {
    const auto nested = config.get("rope_parameters").is_object() &&
                        config.at("rope_parameters").get("sliding_attention").is_object();
    o.window_rotary = nested ? read_rotary(config, family, head_dim, 1e4, "sliding_attention")
                             : nn::RotaryOptions{.dim = head_dim,
                                                 .theta = read.number("rope_local_base_freq", 1e4)};
  }
  return std::make_shared<text::DecoderLmImpl>(o);
}

// Theirs is ours less 1.
void add_norm(KeyMap& map, const std::string& theirs, const std::string& ours) {
  map.permute(
      theirs, ours,
      [](const at::Tensor& t) {
        return t.to(c10::promoteTypes(t.scalar_type(), at::kFloat)).add(1);
      },
      [](const at::Tensor& t) { return t.sub(1); });
}

KeyMap key_map(const Json& config, int version) {
  auto map =
      llama_names(ConfigReader(config, kNames[version - 1]).boolean("tie_word_embeddings", true));
  const std::string layer = "model.layers.{i}.", block = "blocks.{i}.";
  add_norm(map, "model.norm.weight", "norm.weight");
  add_norm(map, layer + "input_layernorm.weight", block + "norm1.weight");
  const std::string second = version == 1 ? "norm2" : "branch_norm1";
  add_norm(map, layer + "post_attention_layernorm.weight", block + second + ".weight");
  if (version > 1) {
    add_norm(map, layer + "pre_feedforward_layernorm.weight", block + "norm2.weight");
    add_norm(map, layer + "post_feedforward_layernorm.weight", block + "branch_norm2.weight");
  }
  if (version == 3) {
    add_norm(map, layer + "self_attn.q_norm.weight", block + "attention.q_norm.weight");
    add_norm(map, layer + "self_attn.k_norm.weight", block + "attention.k_norm.weight");
  }
  return map;
}

void check_expressible(const text::DecoderLmOptions& o, int version) {
  const auto& block = o.block;
  const auto& attention = block.attention;
  const auto need = [&](bool holds, std::string_view option) {
    if (!holds) refuse_option(kNames[version - 1], option);
  };
  need(block.norm == nn::NormKind::rms_norm, "layer_norm");
  need(!block.post_norm && block.sandwich == (version > 1), "this placement of norms");
  need(block.mlp.gated && !block.mlp.bias, "an mlp without gate or with a bias");
  need(o.rotary.dim == attention.head_dim && !o.learned_positions, "other positions");
  need(o.final_norm, "final_norm = false");
  need(o.embed_size == attention.hidden_size, "embed_size");
  need(o.embed_scale == std::sqrt(static_cast<double>(attention.hidden_size)), "embed_scale");
  need(attention.qk_norm == (version == 3) && !attention.qk_norm_whole, "qk_norm");
  need(attention.q_bias == attention.k_bias && attention.q_bias == attention.v_bias &&
           attention.q_bias == attention.out_bias,
       "biases that differ within attention");
  need(version == 2 || attention.soft_cap == 0, "a soft cap of attention");
  need(version > 1 || (attention.scale == 0 && o.logit_soft_cap == 0 && o.window_layers.empty()),
       "scale, logit_soft_cap or windows");
  need(block.dropout == 0 && o.dropout == 0, "dropout");
}

Json config(const LanguageModel& model, int version) {
  const auto& o = as_decoder(model, kNames[version - 1]).options;
  check_expressible(o, version);
  const auto& attention = o.block.attention;
  const auto rotary = rotary_json(o.rotary, attention.head_dim);
  const auto activation = activation_name(o.block.mlp.activation);
  auto out = Json::object({{"vocab_size", o.vocab_size},
                           {"hidden_size", attention.hidden_size},
                           {"num_hidden_layers", o.num_layers},
                           {"num_attention_heads", attention.num_heads},
                           {"num_key_value_heads", attention.num_kv_heads},
                           {"head_dim", attention.head_dim},
                           {"intermediate_size", o.block.mlp.intermediate_size},
                           {"hidden_activation", activation},
                           {"max_position_embeddings", o.max_tokens},
                           {"rms_norm_eps", o.block.eps},
                           {"attention_bias", attention.q_bias},
                           {"attention_dropout", attention.dropout},
                           {"tie_word_embeddings", o.tie_embeddings},
                           {"initializer_range", o.init_std}});
  if (version == 1) return out.set("hidden_act", activation).set("rope_parameters", rotary);
  const auto scale = attention.scale != 0 ? 1 / (attention.scale * attention.scale)
                                          : static_cast<double>(attention.head_dim);
  out.set("query_pre_attn_scalar", static_cast<int64_t>(std::llround(scale)))
      .set("sliding_window", o.window > 0 ? Json(o.window) : Json())
      .set("layer_types", layer_types_json(o))
      .set("final_logit_softcapping", o.logit_soft_cap != 0 ? Json(o.logit_soft_cap) : Json())
      .set("attn_logit_softcapping", attention.soft_cap != 0 ? Json(attention.soft_cap) : Json());
  if (version == 2) return out.set("rope_parameters", rotary);
  const auto& local = o.window_rotary.dim > 0 ? o.window_rotary : o.rotary;
  return out.set("rope_parameters",
                 Json::object({{"full_attention", rotary},
                               {"sliding_attention", rotary_json(local, attention.head_dim)}}));
}

}  // namespace

LmFamily gemma_family(int version) {
  return {kArchitectures[version - 1],
          [version](const Json& config) { return make(config, version); },
          [version](const Json& config) { return key_map(config, version); },
          [version](const LanguageModel& model) { return config(model, version); }};
}

}  // namespace weft::checkpoint
