#include "nn/packed_stack.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <weft/nn/autocast.hpp>

#include "nn/residual_norm.hpp"

namespace weft::nn {
namespace {

constexpr int64_t kRows = 1024;  // rows that run through the blocks together

void residual(const at::Tensor& x, const at::Tensor& y, const at::Tensor& h,
              const at::Tensor& weight, const at::Tensor& bias, double eps,
              kernels::NormPlace place) {
  const auto raw = [](const at::Tensor& t) { return t.defined() ? t.data_ptr() : nullptr; };
  const kernels::ResidualNorm work{
      .x = x.data_ptr<float>(),
      .y = raw(y),
      .h = raw(h),
      .weight = weight.defined() ? weight.const_data_ptr<float>() : nullptr,
      .bias = bias.defined() ? bias.const_data_ptr<float>() : nullptr,
      .width = x.size(1),
      .eps = static_cast<float>(eps),
      .bf16 = (y.defined() ? y : h).scalar_type() == at::kBFloat16,
      .place = place};
  at::parallel_for(0, x.size(0), 64,
                   [&](int64_t first, int64_t last) { kernels::residual_norm(work, first, last); });
}

std::vector<at::Tensor> sources(const TransformerBlockImpl& block) { return block.parameters(); }

// The biases of layers whose products are joined; zeros stand for those that are missing.
at::Tensor joined_bias(std::initializer_list<Linear> layers) {
  std::vector<at::Tensor> parts;
  bool any = false;
  for (const auto& layer : layers) {
    any |= layer->bias.defined();
    parts.push_back(layer->bias.defined() ? layer->bias
                                          : layer->weight.new_zeros({layer->weight.size(0)}));
  }
  return any ? at::cat(parts) : at::Tensor();
}

}  // namespace

bool PackedStack::supports(const TransformerBlockOptions& o) {
  return o.norm == NormKind::layer_norm && !o.sandwich && !o.attention.qk_norm &&
         o.attention.scale == 0 && o.attention.soft_cap == 0 &&
         o.attention.num_kv_heads == o.attention.num_heads;
}

void PackedStack::refresh(std::vector<TransformerBlock>& blocks, int64_t last) {
  const auto type = inference_type();
  blocks_.resize(blocks.size());
  for (int64_t i = 0; i < last; ++i) {
    auto& block = *blocks[i];
    auto& packed = blocks_[i];
    const auto parameters = sources(block);
    if (packed.type == type && packed.stamp.matches(parameters)) continue;
    const auto linear = [&](const at::Tensor& weight, const at::Tensor& bias) {
      return PackedLinear(weight, bias, type, kRows);
    };
    const auto scaled = [&](const Linear& layer, const at::Tensor& scale) {
      if (!scale.defined()) return linear(layer->full_weight(), layer->bias);
      return linear(layer->full_weight() * scale.unsqueeze(1),
                    layer->bias.defined() ? layer->bias * scale : layer->bias);
    };
    const auto& attention = *block.attention;
    packed.qkv = linear(at::cat({attention.q->full_weight(), attention.k->full_weight(),
                                 attention.v->full_weight()}),
                        joined_bias({attention.q, attention.k, attention.v}));
    packed.out = scaled(attention.out, block.scale1);
    packed.fc1 = scaled(block.mlp->fc1, {});
    packed.fc2 = scaled(block.mlp->fc2, block.scale2);
    if (block.mlp->gate) packed.gate = scaled(block.mlp->gate, {});
    const auto fp32 = [](const at::Tensor& t) { return t.detach().to(at::kFloat).contiguous(); };
    packed.norm1_weight = fp32(block.norm1->weight);
    packed.norm1_bias = fp32(block.norm1->bias);
    packed.norm2_weight = fp32(block.norm2->weight);
    packed.norm2_bias = fp32(block.norm2->bias);
    packed.type = type;
    packed.stamp.set(parameters);
  }
}

void PackedStack::run_rows(const TransformerBlockOptions& o, at::Tensor x,
                           const std::vector<Segment>& segments, int64_t first_row,
                           const std::vector<int64_t>& layers, int64_t last, Result& result) const {
  using kernels::NormPlace;
  const auto type = inference_type();
  const auto heads = o.attention.num_heads, head = o.attention.head_dim;
  const auto place = o.post_norm ? NormPlace::after : NormPlace::before;
  const auto attend = [&](const at::Tensor& qkv) {  // [m, 3 H d] -> [m, H d]
    std::vector<at::Tensor> parts;
    int64_t row = 0;
    for (const auto& [count, length] : segments) {
      const auto part = qkv.narrow(0, row, count * length).view({count, length, 3, heads, head});
      const auto of = [&](int64_t i) { return part.select(2, i).transpose(1, 2); };
      parts.push_back(at::scaled_dot_product_attention(of(0), of(1), of(2), std::nullopt, 0.0,
                                                       o.attention.causal)
                          .transpose(1, 2)
                          .reshape({count * length, heads * head}));
      row += count * length;
    }
    return parts.size() == 1 ? parts[0] : at::cat(parts);
  };
  const auto keep = [&](int64_t layer) {
    for (size_t i = 0; i < layers.size(); ++i)
      if (layers[i] == layer) result.hidden[i].narrow(0, first_row, x.size(0)).copy_(x);
  };
  keep(0);
  if (last == 0) return;
  auto h = at::empty(x.sizes(), x.options().dtype(type));
  if (o.post_norm) {
    h.copy_(x);
  } else {
    residual(x, {}, h, blocks_[0].norm1_weight, blocks_[0].norm1_bias, o.eps, place);
  }
  for (int64_t i = 0; i < last; ++i) {
    const auto& block = blocks_[i];
    const auto& inner_weight = o.post_norm ? block.norm1_weight : block.norm2_weight;
    const auto& inner_bias = o.post_norm ? block.norm1_bias : block.norm2_bias;
    residual(x, block.out(attend(block.qkv(h))), h, inner_weight, inner_bias, o.eps, place);
    const auto inside = o.mlp.gated ? block.gate(h, o.mlp.activation).mul_(block.fc1(h))
                                    : block.fc1(h, o.mlp.activation);
    const auto y = block.fc2(inside);
    if (o.post_norm) {
      residual(x, y, h, block.norm2_weight, block.norm2_bias, o.eps, place);
    } else if (i + 1 < last) {
      residual(x, y, h, blocks_[i + 1].norm1_weight, blocks_[i + 1].norm1_bias, o.eps, place);
    } else {
      residual(x, y, {}, {}, {}, o.eps, place);
    }
    keep(i + 1);
  }
}

std::optional<PackedStack::Result> PackedStack::run(std::vector<TransformerBlock>& blocks,
                                                    const at::Tensor& x, const at::Tensor& mask,
                                                    const std::vector<int64_t>& layers,
                                                    int64_t last) {
  const auto B = x.size(0), N = x.size(1), D = x.size(2);
  const auto& o = blocks.front()->options;
  const AutocastGuard off(at::kCPU, at::kBFloat16, false);
  // Sequences sorted by length, so that equal ones run as one batch without padding.
  std::vector<int64_t> lengths(static_cast<size_t>(B), N);
  at::Tensor order;  // [rows], where each packed row lies in x; undefined = all rows as they are
  if (mask.defined()) {
    if (mask.dim() != 2) return std::nullopt;
    const auto count = mask.sum(1);  // [B]
    const auto expected = at::arange(N, count.options()).unsqueeze(0) < count.unsqueeze(1);
    if (!expected.equal(mask) || count.min().item<int64_t>() == 0) return std::nullopt;
    if (count.min().item<int64_t>() < N) {
      const auto by_length = std::get<1>(count.sort(/*stable=*/true, 0, false));  // [B]
      const auto rows =
          by_length.unsqueeze(1) * N + at::arange(N, count.options()).unsqueeze(0);  // [B, N]
      order = rows.masked_select(mask.index_select(0, by_length));
      const auto sorted = count.index_select(0, by_length);
      lengths.assign(sorted.const_data_ptr<int64_t>(), sorted.const_data_ptr<int64_t>() + B);
    }
  }
  refresh(blocks, last);
  auto rows = x.reshape({B * N, D});
  if (order.defined()) rows = rows.index_select(0, order);
  const auto fp32 = x.options().dtype(at::kFloat);
  Result result;
  result.x = at::empty(rows.sizes(), fp32);
  for (size_t i = 0; i < layers.size(); ++i) result.hidden.push_back(at::empty(rows.sizes(), fp32));
  int64_t first_row = 0;
  for (size_t next = 0; next < lengths.size();) {
    std::vector<Segment> segments;
    int64_t taken = 0;
    while (next < lengths.size() && (taken == 0 || taken + lengths[next] <= kRows)) {
      if (segments.empty() || segments.back().length != lengths[next])
        segments.push_back({0, lengths[next]});
      ++segments.back().count;
      taken += lengths[next++];
    }
    const auto chunk = result.x.narrow(0, first_row, taken);
    chunk.copy_(rows.narrow(0, first_row, taken));
    run_rows(o, chunk, segments, first_row, layers, last, result);
    first_row += taken;
  }
  const auto unpacked = [&](const at::Tensor& t) {
    if (!order.defined()) return t.view({B, N, D});
    return at::zeros({B * N, D}, fp32).index_copy_(0, order, t).view({B, N, D});
  };
  result.x = unpacked(result.x);
  for (auto& hidden : result.hidden) hidden = unpacked(hidden);
  return result;
}

}  // namespace weft::nn
