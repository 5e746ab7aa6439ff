#include <weft/text/text_encoder.hpp>

#include "checkpoint/config_reader.hpp"
#include "checkpoint/family_list.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

std::shared_ptr<Encoder> make(const Json& config, const Family::Has& has) {
  const ConfigReader read(config, "bert");
  read.require("is_decoder", false);
  read.require("add_cross_attention", false);
  read.require("position_embedding_type", "absolute");
  const text::TextEncoderOptions options{
      .family = "bert",
      .vocab_size = read.integer("vocab_size", 30522),
      .hidden_size = read.integer("hidden_size", 768),
      .num_layers = read.integer("num_hidden_layers", 12),
      .num_heads = read.integer("num_attention_heads", 12),
      .intermediate_size = read.integer("intermediate_size", 3072),
      .max_tokens = read.integer("max_position_embeddings", 512),
      .type_vocab = read.integer("type_vocab_size", 2),
      .activation = read.activation("hidden_act", "gelu"),
      .eps = read.number("layer_norm_eps", 1e-12),
      .post_norm = true,
      .embed_norm = true,
      .causal = false,
      .pooler = has("pooler.dense.weight"),
      .dropout = read.number("hidden_dropout_prob", 0.1),
      .attention_dropout = read.number("attention_probs_dropout_prob", 0.1),
      .init_std = read.number("initializer_range", 0.02)};
  return std::make_shared<text::TextEncoderImpl>(options);
}

KeyMap key_map(const Json&) {
  KeyMap map;
  const std::string layer = "encoder.layer.{i}.", block = "blocks.{i}.";
  map.prefix("bert.")
      .alias("{x...}.LayerNorm.gamma", "{x...}.LayerNorm.weight")
      .alias("{x...}.LayerNorm.beta", "{x...}.LayerNorm.bias")
      .rename("embeddings.word_embeddings.weight", "token_embed.weight")
      .rename("embeddings.position_embeddings.weight", "positions.weight")
      .rename("embeddings.token_type_embeddings.weight", "type_embed.weight")
      .rename("embeddings.LayerNorm.{p}", "embed_norm.{p}")
      .rename(layer + "attention.self.query.{p}", block + "attention.q.{p}")
      .rename(layer + "attention.self.key.{p}", block + "attention.k.{p}")
      .rename(layer + "attention.self.value.{p}", block + "attention.v.{p}")
      .rename(layer + "attention.output.dense.{p}", block + "attention.out.{p}")
      .rename(layer + "attention.output.LayerNorm.{p}", block + "norm1.{p}")
      .rename(layer + "intermediate.dense.{p}", block + "mlp.fc1.{p}")
      .rename(layer + "output.dense.{p}", block + "mlp.fc2.{p}")
      .rename(layer + "output.LayerNorm.{p}", block + "norm2.{p}")
      .rename("pooler.dense.{p}", "pooler.{p}")
      .drop("embeddings.position_ids", "a buffer: positions are counted")
      .drop("embeddings.token_type_ids", "a buffer: token types are 0");
  return map;
}

Json config(const Encoder& encoder) {
  const auto* text = dynamic_cast<const text::TextEncoderImpl*>(&encoder);
  if (text == nullptr) fail("the family bert holds text encoders, found another encoder");
  const auto& o = text->options;
  if (!o.post_norm) refuse_option("bert", "post_norm = false");
  if (!o.embed_norm) refuse_option("bert", "embed_norm = false");
  if (o.causal) refuse_option("bert", "causal = true");
  if (o.pooling != nn::Pooling::cls) refuse_option("bert", "another pooling than cls");
  if (o.projection_size != 0) refuse_option("bert", "projection_size");
  if (o.type_vocab == 0) refuse_option("bert", "type_vocab = 0");
  return Json::object({{"vocab_size", o.vocab_size},
                       {"hidden_size", o.hidden_size},
                       {"num_hidden_layers", o.num_layers},
                       {"num_attention_heads", o.num_heads},
                       {"intermediate_size", o.intermediate_size},
                       {"hidden_act", activation_name(o.activation)},
                       {"hidden_dropout_prob", o.dropout},
                       {"attention_probs_dropout_prob", o.attention_dropout},
                       {"max_position_embeddings", o.max_tokens},
                       {"type_vocab_size", o.type_vocab},
                       {"initializer_range", o.init_std},
                       {"layer_norm_eps", o.eps},
                       {"pad_token_id", 0}});
}

}  // namespace

Family bert_family() { return {Role::text, "BertModel", make, key_map, config}; }

}  // namespace weft::checkpoint
