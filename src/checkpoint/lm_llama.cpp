// Llama and the families that differ from it in a few options: Mistral, Qwen 2 and 3, Phi-3.
#include "checkpoint/family_list.hpp"
#include "checkpoint/lm_config.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

struct LlamaKind {
  const char* family;
  const char* architecture;
  bool qkv_bias = false;   // q, k and v always have one (Qwen 2)
  bool free_bias = false;  // the field attention_bias
  bool mlp_bias = false;   // the field mlp_bias
  bool qk_norm = false;    // Qwen 3
  bool fused = false;      // qkv_proj and gate_up_proj (Phi-3)
  int64_t max_tokens = 2048;
  double eps = 1e-6;
};

constexpr LlamaKind kLlama{
    .family = "llama", .architecture = "LlamaForCausalLM", .free_bias = true, .mlp_bias = true};
constexpr LlamaKind kMistral{
    .family = "mistral", .architecture = "MistralForCausalLM", .max_tokens = 131072};
constexpr LlamaKind kQwen2{
    .family = "qwen2", .architecture = "Qwen2ForCausalLM", .qkv_bias = true, .max_tokens = 32768};
constexpr LlamaKind kQwen3{.family = "qwen3",
                           .architecture = "Qwen3ForCausalLM",
                           .free_bias = true,
                           .qk_norm = true,
                           .max_tokens = 32768};
constexpr LlamaKind kPhi3{.family = "phi3",
                          .architecture = "Phi3ForCausalLM",
                          .fused = true,
                          .max_tokens = 4096,
                          .eps = 1e-5};

bool is(const LlamaKind& kind, std::string_view family) { return kind.family == family; }

// Which layers see a window only, and how wide it is.
void read_windows(const Json& config, const LlamaKind& kind, text::DecoderLmOptions& o) {
  const ConfigReader read(config, kind.family);
  if (is(kind, "llama")) return;
  if (is(kind, "qwen2") || is(kind, "qwen3")) {
    if (!read.boolean("use_sliding_window", false)) return;
    o.window = integer_or_none(config, read, "sliding_window", 4096);
    const auto first = read.integer("max_window_layers", 28);
    if (o.window > 0)
      o.window_layers = read_window_layers(config, kind.family, o.num_layers,
                                           [&](int64_t layer) { return layer >= first; });
    return;
  }
  o.window = integer_or_none(config, read, "sliding_window", is(kind, "mistral") ? 4096 : 0);
  if (o.window > 0)
    for (int64_t i = 0; i < o.num_layers; ++i) o.window_layers.push_back(i);
}

std::shared_ptr<LanguageModel> make(const Json& config, const LlamaKind& kind) {
  const ConfigReader read(config, kind.family);
  read.require("pretraining_tp", 1);
  const auto hidden = read.integer("hidden_size", is(kind, "phi3") ? 3072 : 4096);
  const auto heads = read.integer("num_attention_heads", 32);
  const auto head_dim =
      read.integer("head_dim", is(kind, "qwen3") ? 128 : hidden / std::max<int64_t>(heads, 1));
  const bool bias = kind.free_bias && read.boolean("attention_bias", false);
  const bool mlp_bias = kind.mlp_bias && read.boolean("mlp_bias", false);
  const auto eps = read.number("rms_norm_eps", kind.eps);
  const auto init_std = read.number("initializer_range", 0.02);
  text::DecoderLmOptions o{
      .family = kind.family,
      .vocab_size = read.integer("vocab_size", is(kind, "phi3") ? 32064 : 32000),
      .num_layers = read.integer("num_hidden_layers", 32),
      .block = {.attention = {.hidden_size = hidden,
                              .num_heads = heads,
                              .num_kv_heads = read.integer("num_key_value_heads",
                                                           is(kind, "mistral") ? 8 : heads),
                              .head_dim = head_dim,
                              .q_bias = kind.qkv_bias || bias,
                              .k_bias = kind.qkv_bias || bias,
                              .v_bias = kind.qkv_bias || bias,
                              .out_bias = bias,
                              .qk_norm = kind.qk_norm,
                              .qk_norm_kind = nn::NormKind::rms_norm,
                              .eps = eps,
                              .dropout = read.number("attention_dropout", 0.0),
                              .init_std = init_std},
                .mlp = {.hidden_size = hidden,
                        .intermediate_size =
                            read.integer("intermediate_size", is(kind, "phi3") ? 8192 : 11008),
                        .activation = read.activation("hidden_act", "silu"),
                        .gated = true,
                        .bias = mlp_bias,
                        .init_std = init_std},
                .norm = nn::NormKind::rms_norm,
                .eps = eps,
                .dropout = read.number("resid_pdrop", 0.0)},
      .max_tokens = read.integer("max_position_embeddings", kind.max_tokens),
      .rotary = read_rotary(config, kind.family, head_dim),
      .tie_embeddings = read.boolean("tie_word_embeddings", false),
      .dropout = read.number("embd_pdrop", 0.0),
      .init_std = init_std};
  read_windows(config, kind, o);
  return std::make_shared<text::DecoderLmImpl>(o);
}

KeyMap key_map(const Json& config, const LlamaKind& kind) {
  auto map = llama_names(ConfigReader(config, kind.family).boolean("tie_word_embeddings", false),
                         kind.fused);
  const std::string layer = "model.layers.{i}.", block = "blocks.{i}.";
  map.rename("model.norm.weight", "norm.weight")
      .rename(layer + "input_layernorm.weight", block + "norm1.weight")
      .rename(layer + "post_attention_layernorm.weight", block + "norm2.weight");
  if (kind.qk_norm)
    map.rename(layer + "self_attn.q_norm.weight", block + "attention.q_norm.weight")
        .rename(layer + "self_attn.k_norm.weight", block + "attention.k_norm.weight");
  return map;
}

void check_expressible(const text::DecoderLmOptions& o, const LlamaKind& kind) {
  const auto& block = o.block;
  const auto& attention = block.attention;
  const auto need = [&](bool holds, std::string_view option) {
    if (!holds) refuse_option(kind.family, option);
  };
  need(block.norm == nn::NormKind::rms_norm, "layer_norm");
  need(!block.post_norm && !block.sandwich, "post_norm or sandwich");
  need(block.mlp.gated, "an mlp without gate");
  need(o.rotary.dim > 0 && !o.learned_positions, "learned positions");
  need(o.final_norm, "final_norm = false");
  need(attention.scale == 0 && attention.soft_cap == 0 && o.logit_soft_cap == 0, "soft caps");
  need(o.embed_size == attention.hidden_size && o.embed_scale == 1, "embed_size or embed_scale");
  need(attention.qk_norm == kind.qk_norm && !attention.qk_norm_whole, "qk_norm");
  need(attention.q_bias == attention.k_bias && attention.q_bias == attention.v_bias,
       "biases that differ among q, k and v");
  need(kind.free_bias ? attention.out_bias == attention.q_bias
                      : attention.q_bias == kind.qkv_bias && !attention.out_bias,
       "these biases of attention");
  need(kind.mlp_bias || !block.mlp.bias, "a bias of the mlp");
  need(o.window_rotary.dim == 0, "window_rotary");
  need(
      is(kind, "llama") ? o.window_layers.empty()
      : is(kind, "qwen2") || is(kind, "qwen3")
          ? true
          : o.window_layers.empty() || static_cast<int64_t>(o.window_layers.size()) == o.num_layers,
      "a window in these layers");
}

Json config(const LanguageModel& model, const LlamaKind& kind) {
  const auto& o = as_decoder(model, kind.family).options;
  check_expressible(o, kind);
  const auto& attention = o.block.attention;
  auto out = Json::object({{"vocab_size", o.vocab_size},
                           {"hidden_size", attention.hidden_size},
                           {"num_hidden_layers", o.num_layers},
                           {"num_attention_heads", attention.num_heads},
                           {"num_key_value_heads", attention.num_kv_heads},
                           {"head_dim", attention.head_dim},
                           {"intermediate_size", o.block.mlp.intermediate_size},
                           {"hidden_act", activation_name(o.block.mlp.activation)},
                           {"max_position_embeddings", o.max_tokens},
                           {"rms_norm_eps", o.block.eps},
                           {"rope_parameters", rotary_json(o.rotary, attention.head_dim)},
                           {"attention_dropout", attention.dropout},
                           {"tie_word_embeddings", o.tie_embeddings},
                           {"initializer_range", o.init_std}});
  if (kind.free_bias) out.set("attention_bias", attention.q_bias);
  if (kind.mlp_bias) out.set("mlp_bias", o.block.mlp.bias);
  if (is(kind, "phi3")) {
    out.set("resid_pdrop", o.block.dropout).set("embd_pdrop", o.dropout);
    out.set("original_max_position_embeddings",
            o.rotary.original_max_tokens > 0 ? o.rotary.original_max_tokens : o.max_tokens);
  }
  if (!is(kind, "llama"))
    out.set("sliding_window", o.window_layers.empty() ? Json() : Json(o.window));
  if (is(kind, "qwen2") || is(kind, "qwen3"))
    out.set("use_sliding_window", !o.window_layers.empty()).set("layer_types", layer_types_json(o));
  return out;
}

LmFamily family(const LlamaKind& kind) {
  return {kind.architecture, [kind](const Json& config) { return make(config, kind); },
          [kind](const Json& config) { return key_map(config, kind); },
          [kind](const LanguageModel& model) { return config(model, kind); }};
}

}  // namespace

LmFamily llama_family() { return family(kLlama); }
LmFamily mistral_family() { return family(kMistral); }
LmFamily qwen2_family() { return family(kQwen2); }
LmFamily qwen3_family() { return family(kQwen3); }
LmFamily phi3_family() { return family(kPhi3); }

}  // namespace weft::checkpoint
