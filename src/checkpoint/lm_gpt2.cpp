// GPT-2 and OPT: learned positions, biases everywhere, LayerNorm.
#include "checkpoint/family_list.hpp"
#include "checkpoint/lm_config.hpp"

namespace weft::checkpoint {
namespace {

// The options that both share.
text::DecoderLmOptions classic(const std::string& family, int64_t hidden, int64_t heads,
                               int64_t inner, double eps, double init_std) {
  return {
      .family = family,
      .vocab_size = 0,
      .num_layers = 0,
      .block = {.attention = {.hidden_size = hidden, .num_heads = heads, .init_std = init_std},
                .mlp = {.hidden_size = hidden, .intermediate_size = inner, .init_std = init_std},
                .norm = nn::NormKind::layer_norm,
                .eps = eps},
      .learned_positions = true,
      .init_std = init_std};
}

std::shared_ptr<LanguageModel> make_gpt2(const Json& config) {
  const ConfigReader read(config, "gpt2");
  read.require("scale_attn_weights", true);
  read.require("scale_attn_by_inverse_layer_idx", false);
  read.require("add_cross_attention", false);
  const auto hidden = read.integer("n_embd", 768);
  auto o = classic("gpt2", hidden, read.integer("n_head", 12), read.integer("n_inner", 4 * hidden),
                   read.number("layer_norm_epsilon", 1e-5), read.number("initializer_range", 0.02));
  o.vocab_size = read.integer("vocab_size", 50257);
  o.num_layers = read.integer("n_layer", 12);
  o.max_tokens = read.integer("n_positions", 1024);
  o.block.mlp.activation = read.activation("activation_function", "gelu_new");
  o.block.attention.dropout = read.number("attn_pdrop", 0.1);
  o.block.dropout = read.number("resid_pdrop", 0.1);
  o.dropout = read.number("embd_pdrop", 0.1);
  o.tie_embeddings = read.boolean("tie_word_embeddings", true);
  return std::make_shared<text::DecoderLmImpl>(o);
}

KeyMap gpt2_map(const Json& config) {
  KeyMap map;
  const std::string layer = "transformer.h.{i}.", block = "blocks.{i}.";
  without_head_aliases(map, "transformer.", {"wte.weight", "wpe.weight", "ln_f.{p}", "h.{x...}"});
  map.rename("transformer.wte.weight", "token_embed.weight")
      .rename("transformer.wpe.weight", "positions.weight")
      .rename("transformer.ln_f.{p}", "norm.{p}")
      .rename("lm_head.weight", "lm_head.weight")
      .rename(layer + "ln_1.{p}", block + "norm1.{p}")
      .rename(layer + "ln_2.{p}", block + "norm2.{p}")
      .split_transposed(
          layer + "attn.c_attn.{p}",
          {block + "attention.q.{p}", block + "attention.k.{p}", block + "attention.v.{p}"})
      .split_transposed(layer + "attn.c_proj.{p}", {block + "attention.out.{p}"})
      .split_transposed(layer + "mlp.c_fc.{p}", {block + "mlp.fc1.{p}"})
      .split_transposed(layer + "mlp.c_proj.{p}", {block + "mlp.fc2.{p}"})
      .drop(layer + "attn.bias", "a buffer: the causal mask")
      .drop(layer + "attn.masked_bias", "a buffer of the causal mask");
  if (ConfigReader(config, "gpt2").boolean("tie_word_embeddings", true))
    map.tie("lm_head.weight", "transformer.wte.weight");
  return map;
}

// What neither layout can express.
void check_classic(const text::DecoderLmOptions& o, const char* family) {
  const auto need = [&](bool holds, std::string_view option) {
    if (!holds) refuse_option(family, option);
  };
  const auto& block = o.block;
  const auto& attention = block.attention;
  need(block.norm == nn::NormKind::layer_norm && !block.sandwich, "rms_norm or sandwich");
  need(!block.mlp.gated, "a gated mlp");
  need(o.learned_positions && o.rotary.dim == 0, "rotary positions");
  need(o.window_layers.empty(), "window_layers");
  need(!attention.qk_norm && attention.scale == 0 && attention.soft_cap == 0 &&
           o.logit_soft_cap == 0 && o.embed_scale == 1,
       "qk_norm, scale, soft caps or embed_scale");
  need(attention.num_kv_heads == attention.num_heads, "num_kv_heads");
  need(attention.head_dim * attention.num_heads == attention.hidden_size, "head_dim");
  need(attention.q_bias == attention.k_bias && attention.q_bias == attention.v_bias &&
           attention.q_bias == attention.out_bias && attention.q_bias == block.mlp.bias,
       "biases that differ");
}

Json gpt2_config(const LanguageModel& model) {
  const auto& o = as_decoder(model, "gpt2").options;
  check_classic(o, "gpt2");
  const auto& attention = o.block.attention;
  if (o.block.post_norm || !o.final_norm || !attention.q_bias || o.position_offset != 0 ||
      o.embed_size != attention.hidden_size)
    refuse_option("gpt2",
                  "post_norm, final_norm = false, no biases, position_offset or embed_size");
  return Json::object({{"vocab_size", o.vocab_size},
                       {"n_positions", o.max_tokens},
                       {"n_embd", attention.hidden_size},
                       {"n_layer", o.num_layers},
                       {"n_head", attention.num_heads},
                       {"n_inner", o.block.mlp.intermediate_size},
                       {"activation_function", activation_name(o.block.mlp.activation)},
                       {"resid_pdrop", o.block.dropout},
                       {"embd_pdrop", o.dropout},
                       {"attn_pdrop", attention.dropout},
                       {"layer_norm_epsilon", o.block.eps},
                       {"initializer_range", o.init_std},
                       {"tie_word_embeddings", o.tie_embeddings}});
}

std::shared_ptr<LanguageModel> make_opt(const Json& config) {
  const ConfigReader read(config, "opt");
  read.require("layer_norm_elementwise_affine", true);
  read.require("_remove_final_layer_norm", false);
  const auto hidden = read.integer("hidden_size", 768);
  auto o = classic("opt", hidden, read.integer("num_attention_heads", 12),
                   read.integer("ffn_dim", 3072), 1e-5, read.number("init_std", 0.02));
  o.vocab_size = read.integer("vocab_size", 50272);
  o.num_layers = read.integer("num_hidden_layers", 12);
  o.max_tokens = read.integer("max_position_embeddings", 2048);
  o.position_offset = 2;
  o.embed_size = read.integer("word_embed_proj_dim", hidden);
  o.block.mlp.activation = read.activation("activation_function", "relu");
  o.block.post_norm = !read.boolean("do_layer_norm_before", true);
  o.final_norm = !o.block.post_norm;
  const bool bias = read.boolean("enable_bias", true);
  auto& attention = o.block.attention;
  attention.q_bias = attention.k_bias = attention.v_bias = attention.out_bias = bias;
  o.block.mlp.bias = bias;
  attention.dropout = read.number("attention_dropout", 0.0);
  o.block.dropout = read.number("dropout", 0.1);
  o.tie_embeddings = read.boolean("tie_word_embeddings", true);
  return std::make_shared<text::DecoderLmImpl>(o);
}

KeyMap opt_map(const Json& config) {
  KeyMap map;
  const std::string decoder = "model.decoder.", layer = decoder + "layers.{i}.",
                    block = "blocks.{i}.";
  // The file of a model without its head, and the first files of OPT.
  map.alias("decoder.{x...}", "model.decoder.{x...}")
      .rename(decoder + "embed_tokens.weight", "token_embed.weight")
      .rename(decoder + "embed_positions.weight", "positions.weight")
      .rename(decoder + "final_layer_norm.{p}", "norm.{p}")
      .rename(decoder + "project_in.weight", "project_in.weight")
      .rename(decoder + "project_out.weight", "project_out.weight")
      .rename("lm_head.weight", "lm_head.weight")
      .rename(layer + "self_attn.q_proj.{p}", block + "attention.q.{p}")
      .rename(layer + "self_attn.k_proj.{p}", block + "attention.k.{p}")
      .rename(layer + "self_attn.v_proj.{p}", block + "attention.v.{p}")
      .rename(layer + "self_attn.out_proj.{p}", block + "attention.out.{p}")
      .rename(layer + "self_attn_layer_norm.{p}", block + "norm1.{p}")
      .rename(layer + "final_layer_norm.{p}", block + "norm2.{p}")
      .rename(layer + "fc1.{p}", block + "mlp.fc1.{p}")
      .rename(layer + "fc2.{p}", block + "mlp.fc2.{p}");
  if (ConfigReader(config, "opt").boolean("tie_word_embeddings", true))
    map.tie("lm_head.weight", decoder + "embed_tokens.weight");
  return map;
}

Json opt_config(const LanguageModel& model) {
  const auto& o = as_decoder(model, "opt").options;
  check_classic(o, "opt");
  if (o.block.eps != 1e-5 || o.position_offset != 2 || o.final_norm == o.block.post_norm ||
      o.dropout != 0)
    refuse_option("opt",
                  "another eps than 1e-5, another position_offset than 2, another final_norm than "
                  "that of its norms' placement, or dropout of the embeddings");
  const auto& attention = o.block.attention;
  return Json::object({{"vocab_size", o.vocab_size},
                       {"hidden_size", attention.hidden_size},
                       {"num_hidden_layers", o.num_layers},
                       {"ffn_dim", o.block.mlp.intermediate_size},
                       {"max_position_embeddings", o.max_tokens},
                       {"do_layer_norm_before", !o.block.post_norm},
                       {"word_embed_proj_dim", o.embed_size},
                       {"dropout", o.block.dropout},
                       {"attention_dropout", attention.dropout},
                       {"num_attention_heads", attention.num_heads},
                       {"activation_function", activation_name(o.block.mlp.activation)},
                       {"enable_bias", attention.q_bias},
                       {"init_std", o.init_std},
                       {"tie_word_embeddings", o.tie_embeddings}});
}

}  // namespace

LmFamily gpt2_family() { return {"GPT2LMHeadModel", make_gpt2, gpt2_map, gpt2_config}; }
LmFamily opt_family() { return {"OPTForCausalLM", make_opt, opt_map, opt_config}; }

}  // namespace weft::checkpoint
