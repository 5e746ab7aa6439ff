#include <ATen/ATen.h>

#include <weft/nn/checkpointing.hpp>
#include <weft/text/decoder_lm.hpp>

#include "text/decode_step.hpp"
#include "text/decoder_mask.hpp"

namespace weft::text {

struct DecoderLmImpl::Sight {
  torch::Tensor full, window;  // masks as in Attention; undefined = plain causal
  nn::Rotation rotation, window_rotation;
};

DecoderLmImpl::DecoderLmImpl(const DecoderLmOptions& o) : options(o) {
  TORCH_CHECK_VALUE(o.vocab_size > 0 && o.num_layers >= 0,
                    "DecoderLm: vocab_size must be positive and num_layers not negative, got ",
                    o.vocab_size, " and ", o.num_layers);
  TORCH_CHECK_VALUE(o.window_layers.empty() || o.window > 0,
                    "DecoderLm: window_layers need a window, got ", o.window);
  const auto D = o.block.attention.hidden_size;
  const auto E = o.embed_size == 0 ? D : o.embed_size;
  options.embed_size = E;
  token_embed = register_module("token_embed", Table(o.vocab_size, E, o.init_std));
  if (o.learned_positions)
    positions =
        register_module("positions", Table(o.max_tokens + o.position_offset, D, o.init_std));
  const auto linear = [&](const char* name, int64_t in, int64_t out) {
    return register_module(name, nn::Linear(nn::LinearOptions{in, out, false, o.init_std}));
  };
  if (E != D) project_in = linear("project_in", E, D);
  options.block.attention.causal = true;
  blocks = register_module(
      "blocks", nn::TransformerStack(nn::TransformerStackOptions{options.block, o.num_layers}));
  if (o.num_layers > 0) options.block = blocks->blocks.front()->options;
  if (o.final_norm)
    norm = register_module("norm", nn::Norm({.size = D, .eps = o.block.eps, .kind = o.block.norm}));
  if (E != D) project_out = linear("project_out", D, E);
  if (!o.tie_embeddings) lm_head = linear("lm_head", E, o.vocab_size);
  if (o.rotary.dim > 0) rotary_ = nn::Rotary(o.rotary);
  if (o.window_rotary.dim > 0) window_rotary_ = nn::Rotary(o.window_rotary);
  windowed_.resize(static_cast<size_t>(o.num_layers), false);
  for (const auto layer : o.window_layers) {
    TORCH_CHECK_VALUE(layer >= 0 && layer < o.num_layers, "DecoderLm: window layer ", layer,
                      " is none of the ", o.num_layers, " layers");
    windowed_[static_cast<size_t>(layer)] = true;
  }
}

LmInfo DecoderLmImpl::info() const {
  return {.family = options.family,
          .hidden_size = options.block.attention.hidden_size,
          .num_layers = options.num_layers,
          .num_heads = options.block.attention.num_heads,
          .vocab_size = options.vocab_size,
          .max_tokens = options.learned_positions ? options.max_tokens : 0};
}

void DecoderLmImpl::add_hook(std::shared_ptr<LayerHook> hook) {
  hooks_.push_back(register_module("hooks_" + std::to_string(hooks_.size()), std::move(hook)));
}

LmHead DecoderLmImpl::head() const {
  return {.weight = lm_head ? lm_head->full_weight() : token_embed->weight,
          .soft_cap = options.logit_soft_cap};
}

torch::Tensor DecoderLmImpl::embed(const torch::Tensor& ids) {
  TORCH_CHECK_VALUE(ids.dim() == 2 && ids.scalar_type() == at::kLong,
                    "DecoderLm: ids must be [B, T] int64, got ", ids.sizes(), " ",
                    ids.scalar_type());
  auto x = at::embedding(token_embed->weight, ids);
  if (options.embed_scale != 1) x = x * at::scalar_tensor(options.embed_scale, x.options());
  return project_in ? project_in(x) : x;
}

torch::Tensor DecoderLmImpl::embed_input(const LmInput& input, const torch::Tensor& at_positions) {
  TORCH_CHECK_VALUE(input.ids.defined() != input.embeddings.defined(),
                    "DecoderLm: give ids or embeddings, ",
                    input.ids.defined() ? "not both" : "found neither");
  auto x = input.ids.defined() ? embed(input.ids) : input.embeddings;
  TORCH_CHECK_VALUE(x.dim() == 3 && x.size(2) == options.block.attention.hidden_size,
                    "DecoderLm: embeddings must be [B, T, ", options.block.attention.hidden_size,
                    "], got ", x.sizes());
  if (positions) x = x + at::embedding(positions->weight, at_positions + options.position_offset);
  return is_training() && options.dropout > 0 ? at::dropout(x, options.dropout, true) : x;
}

torch::Tensor DecoderLmImpl::run_layer(int64_t layer, const torch::Tensor& x, const Sight& sight,
                                       nn::KeyValueCache* cache) {
  auto& block = blocks->blocks[static_cast<size_t>(layer)];
  const bool window = windowed_[static_cast<size_t>(layer)];
  const auto& mask = window ? sight.window : sight.full;
  const auto& rotation =
      window && sight.window_rotation.defined() ? sight.window_rotation : sight.rotation;
  if (blocks->checkpoint_activations && is_training() && at::GradMode::is_enabled())
    return nn::checkpoint(
        [block, mask, rotation](const torch::Tensor& y) mutable {
          return block->forward(y, mask, rotation);
        },
        x, block->parameters());
  return block->forward(x, mask, rotation,
                        cache ? &cache->layers[static_cast<size_t>(layer)] : nullptr);
}

LmOutput DecoderLmImpl::decode(const LmInput& input, const torch::Tensor& x,
                               const torch::Tensor& at_positions) {
  const DecodeSight full{rotary_(at_positions)};
  DecodeSight window{full.rotation, options.window};
  if (window_rotary_.defined()) window.rotation = window_rotary_(at_positions);
  std::vector<DecodeSight> sights;
  for (const bool windowed : windowed_) sights.push_back(windowed ? window : full);
  LmOutput out;
  out.hidden = decode_step(*this, x, input.mask, sights, *input.cache);
  if (input.logits != Logits::none) out.logits = decode_logits(out.hidden, head());
  return out;
}

LmOutput DecoderLmImpl::forward(const LmInput& input) {
  const auto L = options.num_layers;
  if (input.cache != nullptr) {
    TORCH_CHECK_VALUE(
        input.cache->layers.empty() || static_cast<int64_t>(input.cache->layers.size()) == L,
        "DecoderLm: the cache is of ", input.cache->layers.size(), " layers, the model has ", L);
    input.cache->layers.resize(static_cast<size_t>(L));
    input.cache->hooks.resize(hooks_.size());
  }
  const auto& data = input.ids.defined() ? input.ids : input.embeddings;
  TORCH_CHECK_VALUE(data.defined() && data.dim() >= 2 && data.size(1) > 0,
                    "DecoderLm: ids [B, T] or embeddings [B, T, D] with a token at least are due");
  const auto B = data.size(0), T = data.size(1);
  const auto past = input.cache != nullptr ? input.cache->length() : 0;
  check_lm_input(input, B, T, past);
  TORCH_CHECK_VALUE(!positions || past + T <= options.max_tokens, "DecoderLm: ", past + T,
                    " tokens are more than the ", options.max_tokens, " positions");
  const auto at_positions =
      input.positions.defined() ? input.positions : lm_positions(input, T, past, data.device());
  std::vector<int64_t> layers;
  for (const auto layer : input.hidden_layers) {
    layers.push_back(layer < 0 ? layer + L + 1 : layer);
    TORCH_CHECK_VALUE(layers.back() >= 0 && layers.back() <= L, "DecoderLm: hidden layer ", layer,
                      " is none of the layers 0 to ", L);
  }

  auto x = embed_input(input, at_positions);
  if (hooks_.empty() && decode_step_applies(*this, input, x)) return decode(input, x, at_positions);
  Sight sight;
  sight.full = lm_mask(input, B, T, past, 0, x.device());
  if (!options.window_layers.empty())
    sight.window = lm_mask(input, B, T, past, options.window, x.device());
  if (rotary_.defined()) sight.rotation = rotary_(at_positions);
  if (window_rotary_.defined() && !options.window_layers.empty())
    sight.window_rotation = window_rotary_(at_positions);

  LmOutput out;
  out.layers.resize(layers.size());
  const auto keep = [&](int64_t layer) {
    for (size_t i = 0; i < layers.size(); ++i)
      if (layers[i] == layer) out.layers[i] = x;
  };
  for (int64_t layer = 0; layer < L; ++layer) {
    keep(layer);
    for (size_t h = 0; h < hooks_.size(); ++h)
      x = hooks_[h]->before(layer, x, input, input.cache ? &input.cache->hooks[h] : nullptr);
    x = run_layer(layer, x, sight, input.cache);
  }
  keep(L);
  if (norm) x = norm(x);
  out.hidden = project_out ? project_out(x) : x;
  if (input.logits == Logits::none) return out;
  const auto read = input.logits == Logits::last ? out.hidden.narrow(1, T - 1, 1) : out.hidden;
  const auto to_logits = head();
  out.logits = at::linear(read, to_logits.weight, to_logits.bias);
  if (to_logits.soft_cap != 0)
    out.logits = (out.logits / to_logits.soft_cap).tanh() * to_logits.soft_cap;
  return out;
}

}  // namespace weft::text
