#include <cmath>

#include <ATen/ATen.h>

#include <weft/text/text_encoder.hpp>

namespace weft::text {

TextEncoderImpl::TextEncoderImpl(const TextEncoderOptions& o) : options(o) {
  TORCH_CHECK_VALUE(o.vocab_size > 0 && o.max_tokens > 0 && o.type_vocab >= 0,
                    "TextEncoder: vocab_size and max_tokens must be positive, got ", o.vocab_size,
                    " and ", o.max_tokens);
  const auto D = o.hidden_size;
  const auto table = [&](const char* name, int64_t rows) {
    return register_module(name, Table(rows, D, o.init_std));
  };
  token_embed = table("token_embed", o.vocab_size);
  positions = table("positions", o.max_tokens);
  if (o.type_vocab > 0) type_embed = table("type_embed", o.type_vocab);
  if (o.embed_norm) embed_norm = register_module("embed_norm", nn::Norm({.size = D, .eps = o.eps}));
  auto block = nn::block_options(o);
  block.attention.causal = o.causal;
  block.post_norm = o.post_norm;
  options.intermediate_size = block.mlp.intermediate_size;
  if (o.pooling == nn::Pooling::encoder)
    options.pooling = o.causal && !o.pooler ? nn::Pooling::last : nn::Pooling::cls;
  TORCH_CHECK_VALUE(options.pooling != nn::Pooling::map && options.pooling != nn::Pooling::cls_mean,
                    "TextEncoder: pooling must be cls, mean, last or eot");
  TORCH_CHECK_VALUE(options.pooling != nn::Pooling::eot || o.causal,
                    "TextEncoder: the pooling eot leaves out what follows the token, which only a "
                    "causal tower may do");
  // The mask ends at the end-of-text token, which is the last real one then.
  const auto pooling = options.pooling == nn::Pooling::eot ? nn::Pooling::last : options.pooling;
  make_blocks({.block = block, .num_layers = o.num_layers}, {.final_norm = !o.post_norm,
                                                             .pooling = pooling,
                                                             .pooler = o.pooler,
                                                             .projection_size = o.projection_size});
  if (o.init == nn::Initialization::clip) init_clip();
}

// open_clip's TextTransformer.init_parameters: OpenAI's, which makes the branches of deep towers
// smaller.
void TextEncoderImpl::init_clip() {
  const auto D = static_cast<double>(options.hidden_size);
  const auto branch = 1 / std::sqrt(D * 2 * static_cast<double>(options.num_layers));
  nn::init_normal(token_embed->weight, 0.02);
  nn::init_normal(positions->weight, 0.01);
  for (auto& block : blocks->blocks) {
    auto& attention = *block->attention;
    for (auto* layer : {&attention.q, &attention.k, &attention.v})
      nn::init_normal((*layer)->weight, 1 / std::sqrt(D));
    nn::init_normal(attention.out->weight, branch);
    nn::init_normal(block->mlp->fc1->weight, 1 / std::sqrt(2 * D));
    nn::init_normal(block->mlp->fc2->weight, branch);
    for (auto* layer : {&block->mlp->fc1, &block->mlp->fc2})
      nn::init_uniform((*layer)->bias,
                       1 / std::sqrt(static_cast<double>((*layer)->options.in_features)));
  }
}

EncoderInfo TextEncoderImpl::info() const {
  auto out = nn::encoder_info(options);
  out.max_tokens = options.max_tokens;
  out.vocab_size = options.vocab_size;
  if (options.projection_size > 0) out.pooled_size = options.projection_size;
  return out;
}

torch::Tensor TextEncoderImpl::embed(const torch::Tensor& ids, const torch::Tensor& types) {
  TORCH_CHECK_VALUE(ids.dim() == 2 && ids.scalar_type() == at::kLong,
                    "TextEncoder: ids must be [B, N] int64, got ", ids.sizes(), " ",
                    ids.scalar_type());
  TORCH_CHECK_VALUE(ids.size(1) <= options.max_tokens, "TextEncoder: ", ids.size(1),
                    " tokens are more than the ", options.max_tokens, " positions");
  auto x = at::embedding(token_embed->weight, ids);
  if (type_embed) {
    TORCH_CHECK_VALUE(!types.defined() || types.sizes() == ids.sizes(),
                      "TextEncoder: types must have the shape of ids, got ",
                      types.defined() ? types.sizes() : ids.sizes(), " and ", ids.sizes());
    x = x + (types.defined() ? at::embedding(type_embed->weight, types) : type_embed->weight[0]);
  }
  x = x + positions->weight.narrow(0, 0, ids.size(1));
  if (embed_norm) x = embed_norm(x);
  return is_training() && options.dropout > 0 ? at::dropout(x, options.dropout, true) : x;
}

torch::Tensor TextEncoderImpl::mask_to_eot(const torch::Tensor& ids,
                                           const torch::Tensor& mask) const {
  const auto found = options.eot_token < 0 ? ids == ids.amax(1, true) : ids == options.eot_token;
  // Asking a GPU would wait for it.
  TORCH_CHECK_VALUE(!ids.device().is_cpu() || found.any(1).all().item<bool>(),
                    "TextEncoder: a text lacks the end-of-text token ", options.eot_token);
  const auto position = found.to(at::kByte).argmax(1, true);  // [B, 1], the first
  const auto real = at::arange(ids.size(1), ids.options()).unsqueeze(0) <= position;
  return mask.defined() ? real.logical_and(mask) : real;
}

EncoderOutput TextEncoderImpl::encode_embedded(const torch::Tensor& x, const torch::Tensor& mask,
                                               const EncodeOptions& encode_options) {
  return encode_blocks(x, {.mask = mask}, encode_options);
}

EncoderOutput TextEncoderImpl::encode(const EncoderInput& input,
                                      const EncodeOptions& encode_options) {
  TORCH_CHECK_VALUE(input.data.defined(), "TextEncoder: input.data (ids) is missing");
  const auto& ids = input.data;
  if (options.pooling != nn::Pooling::eot)
    return encode_embedded(embed(ids), input.mask, encode_options);
  const auto mask = mask_to_eot(ids, input.mask);
  TORCH_CHECK_VALUE(!mask.device().is_cpu() || mask.any(1).all().item<bool>(),
                    "TextEncoder: the mask must leave every text a real token");
  // The tower is causal: columns behind every text's end reach nothing. Asking a GPU would wait.
  const auto N = ids.size(1);
  const auto used = ids.device().is_cpu() && ids.numel() > 0
                        ? mask.any(0).nonzero().max().item<int64_t>() + 1
                        : N;
  if (used == N) return encode_embedded(embed(ids), mask, encode_options);
  auto out =
      encode_embedded(embed(ids.narrow(1, 0, used)), mask.narrow(1, 0, used), encode_options);
  const auto widen = [&](const torch::Tensor& x) {
    return at::constant_pad_nd(x, {0, 0, 0, N - used});
  };
  if (out.tokens.defined()) out.tokens = widen(out.tokens);
  for (auto& hidden : out.hidden) hidden = widen(hidden);
  out.mask = mask;
  return out;
}

}  // namespace weft::text
