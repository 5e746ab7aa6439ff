#include "text/decode_step.hpp"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>

#include <weft/nn/attention_record.hpp>

#include "text/decode_kernels.hpp"

namespace weft::text {
namespace {

constexpr int64_t kMaxRows = 8;  // beyond it the matrices' own products pay

std::optional<kernels::Gate> gate_of(nn::Activation activation) {
  switch (activation) {
    case nn::Activation::silu:
      return kernels::Gate::silu;
    case nn::Activation::gelu:
      return kernels::Gate::gelu;
    case nn::Activation::gelu_tanh:
      return kernels::Gate::gelu_tanh;
    case nn::Activation::relu:
      return kernels::Gate::relu;
    default:
      return std::nullopt;
  }
}

bool is_bf16(const at::Tensor& t) { return t.scalar_type() == at::kBFloat16; }

bool is_plain(const at::Tensor& t) {
  return (t.scalar_type() == at::kFloat || is_bf16(t)) && t.is_contiguous();
}

kernels::Matrix matrix(const at::Tensor& weight, const at::Tensor& bias) {
  TORCH_CHECK(is_plain(weight) && (!bias.defined() ||
                                   (is_plain(bias) && bias.scalar_type() == weight.scalar_type())),
              "DecoderLm: a layer's weights are neither fp32 nor bf16, or not contiguous");
  return {.weight = weight.const_data_ptr(),
          .bias = bias.defined() ? bias.const_data_ptr() : nullptr,
          .rows = weight.size(0),
          .columns = weight.size(1),
          .bf16 = is_bf16(weight)};
}
kernels::Matrix matrix(const nn::Linear& layer) { return matrix(layer->weight, layer->bias); }

// In pieces of a hundred kilobytes at least, which outweigh the call.
template <class F>
void in_parallel(int64_t rows, int64_t columns, F&& f) {
  at::parallel_for(0, rows, std::max<int64_t>(1, 50'000 / std::max<int64_t>(columns, 1)),
                   [&](int64_t first, int64_t last) { f(first, last); });
}

void multiply(const kernels::Matrix& m, const float* x, int64_t batch, bool add, float* out) {
  in_parallel(m.rows, m.columns, [&](int64_t first, int64_t last) {
    kernels::multiply(m, x, batch, first, last, add, out);
  });
}

at::Tensor fp32_of(const at::Tensor& t) { return t.to(at::kFloat).contiguous(); }

/// The buffers of one step.
struct Buffers {
  at::Tensor normed, queries, keys, values, attended, inner, scores;
};

class Step {
 public:
  Step(const DecoderLmOptions& options, int64_t batch, int64_t tokens)
      : o_(options.block), batch_(batch) {
    const auto& a = o_.attention;
    const auto room = [&](int64_t width) { return at::empty({batch, width}, at::kFloat); };
    b_.normed = room(a.hidden_size);
    b_.queries = room(a.num_heads * a.head_dim);
    b_.keys = room(a.num_kv_heads * a.head_dim);
    b_.values = room(a.num_kv_heads * a.head_dim);
    b_.attended = room(a.num_heads * a.head_dim);
    b_.inner = room(o_.mlp.intermediate_size);
    b_.scores = room(a.num_heads * tokens);
  }

  void norm(const nn::Norm& layer, const float* x) {
    const auto D = o_.attention.hidden_size;
    for (int64_t b = 0; b < batch_; ++b)
      kernels::rms_norm(x + b * D, layer->weight.const_data_ptr(), is_bf16(layer->weight), D,
                        static_cast<float>(o_.eps), b_.normed.mutable_data_ptr<float>() + b * D);
  }

  void run(nn::TransformerBlock& block, const DecodeSight& sight, const at::Tensor& mask,
           nn::KeyValues& cache, float* x) {
    norm(block->norm1, x);
    auto& attention = *block->attention;
    const auto* normed = b_.normed.const_data_ptr<float>();
    auto* queries = b_.queries.mutable_data_ptr<float>();
    auto* keys = b_.keys.mutable_data_ptr<float>();
    multiply(matrix(attention.q), normed, batch_, false, queries);
    multiply(matrix(attention.k), normed, batch_, false, keys);
    multiply(matrix(attention.v), normed, batch_, false, b_.values.mutable_data_ptr<float>());
    turn(sight.rotation, queries, keys);
    attend(sight, mask, cache, is_bf16(attention.k->weight) ? at::kBFloat16 : at::kFloat);
    multiply(matrix(attention.out), b_.attended.const_data_ptr<float>(), batch_, true, x);

    norm(block->norm2, x);
    auto* inner = b_.inner.mutable_data_ptr<float>();
    const auto gate = matrix(block->mlp->gate), up = matrix(block->mlp->fc1);
    in_parallel(gate.rows, 2 * gate.columns, [&](int64_t first, int64_t last) {
      kernels::multiply_gated(gate, up, *gate_of(o_.mlp.activation), normed, batch_, first, last,
                              inner);
    });
    multiply(matrix(block->mlp->fc2), inner, batch_, true, x);
  }

  const at::Tensor& normed() const { return b_.normed; }

 private:
  void turn(const nn::Rotation& rotation, float* queries, float* keys) {
    const auto& a = o_.attention;
    const auto R = rotation.cos.size(2);
    const auto* cos = rotation.cos.const_data_ptr<float>();
    const auto* sin = rotation.sin.const_data_ptr<float>();
    for (int64_t b = 0; b < batch_; ++b) {
      const auto at = rotation.cos.size(0) == 1 ? 0 : b * R;
      kernels::rotate(queries + b * a.num_heads * a.head_dim, a.num_heads, a.head_dim, cos + at,
                      sin + at, R);
      kernels::rotate(keys + b * a.num_kv_heads * a.head_dim, a.num_kv_heads, a.head_dim, cos + at,
                      sin + at, R);
    }
  }

  void attend(const DecodeSight& sight, const at::Tensor& mask, nn::KeyValues& cache,
              at::ScalarType type) {
    const auto& a = o_.attention;
    const auto shaped = [&](const at::Tensor& t) {
      return t.view({batch_, a.num_kv_heads, 1, a.head_dim}).to(type);
    };
    const auto [keys, values] = cache.append(shaped(b_.keys), shaped(b_.values));
    const auto S = keys.size(2);
    const kernels::Attention work{
        .queries = b_.queries.const_data_ptr<float>(),
        .keys = keys.const_data_ptr(),
        .values = values.const_data_ptr(),
        .mask = mask.defined() ? mask.const_data_ptr<bool>() : nullptr,
        .out = b_.attended.mutable_data_ptr<float>(),
        .scores = b_.scores.mutable_data_ptr<float>(),
        .heads = a.num_heads,
        .kv_heads = a.num_kv_heads,
        .head_dim = a.head_dim,
        .tokens = S,
        .batch_stride = keys.stride(0),
        .head_stride = keys.stride(1),
        .first_token = sight.window > 0 ? std::max<int64_t>(0, S - sight.window) : 0,
        .scale = static_cast<float>(a.scale != 0 ? a.scale
                                                 : 1 / std::sqrt(static_cast<double>(a.head_dim))),
        .bf16 = type == at::kBFloat16};
    in_parallel(batch_ * a.num_kv_heads, S * a.head_dim * a.num_heads / a.num_kv_heads,
                [&](int64_t first, int64_t last) { kernels::attend(work, first, last); });
  }

  const nn::TransformerBlockOptions& o_;
  int64_t batch_;
  Buffers b_;
};

// Its products are with the weights alone.
bool has_adapter(const DecoderLmImpl& model) {
  const auto adapted = [](const nn::Linear& layer) { return layer->lora().has_value(); };
  return std::any_of(model.blocks->blocks.begin(), model.blocks->blocks.end(),
                     [&](const nn::TransformerBlock& block) {
                       const auto& attention = block->attention;
                       const auto& mlp = block->mlp;
                       return adapted(attention->q) || adapted(attention->k) ||
                              adapted(attention->v) || adapted(attention->out) ||
                              adapted(mlp->gate) || adapted(mlp->fc1) || adapted(mlp->fc2);
                     });
}

// The layers are alike, so one tells.
bool plain_weights(const DecoderLmImpl& model) {
  for (const auto& p : model.blocks->blocks.front()->parameters())
    if (!is_plain(p)) return false;
  return is_plain(model.norm->weight) && is_plain(model.head().weight);
}

}  // namespace

bool decode_step_applies(const DecoderLmImpl& model, const LmInput& input, const at::Tensor& x) {
  const auto& o = model.options;
  const auto& block = o.block;
  const auto& attention = block.attention;
  return input.cache != nullptr && x.size(1) == 1 && x.size(0) <= kMaxRows && x.device().is_cpu() &&
         !model.is_training() && !at::GradMode::is_enabled() &&
         !at::autocast::is_autocast_enabled(at::kCPU) && input.hidden_layers.empty() &&
         nn::AttentionRecord::current() == nullptr && o.num_layers > 0 && o.final_norm &&
         o.embed_size == attention.hidden_size && o.rotary.dim > 0 &&
         block.norm == nn::NormKind::rms_norm && !block.post_norm && !block.sandwich &&
         block.layer_scale == 0 && block.mlp.gated && gate_of(block.mlp.activation) &&
         !attention.qk_norm && attention.soft_cap == 0 && !has_adapter(model) &&
         plain_weights(model);
}

at::Tensor decode_step(DecoderLmImpl& model, const at::Tensor& x, const at::Tensor& mask,
                       const std::vector<DecodeSight>& sights, nn::KeyValueCache& cache) {
  const auto B = x.size(0);
  auto rows = fp32_of(x).clone();
  Step step(model.options, B, cache.length() + 1);
  const auto seen = mask.defined() ? mask.contiguous() : mask;
  for (size_t i = 0; i < sights.size(); ++i)
    step.run(model.blocks->blocks[i], sights[i], seen, cache.layers[i],
             rows.mutable_data_ptr<float>());
  step.norm(model.norm, rows.const_data_ptr<float>());
  return step.normed().view(x.sizes());
}

at::Tensor decode_logits(const at::Tensor& hidden, const LmHead& head) {
  const auto to_logits = matrix(head.weight, head.bias);
  auto out = at::empty({hidden.size(0), 1, head.weight.size(0)}, at::kFloat);
  multiply(to_logits, hidden.const_data_ptr<float>(), hidden.size(0), false,
           out.mutable_data_ptr<float>());
  return head.soft_cap == 0 ? out : (out / head.soft_cap).tanh() * head.soft_cap;
}

}  // namespace weft::text
