#include <ATen/ATen.h>

#include <weft/nn/pooling.hpp>

namespace weft::nn {
namespace {

constexpr const char* kOfTheEncoder =
    "pool: eot and map belong to the encoder; set its option pooling, and pool by 'encoder'";

at::Tensor widened(const at::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf ? x.to(at::kFloat) : x;
}

at::Tensor mean(const EncoderOutput& output) {
  const auto count = output.tokens.size(1) - output.prefix;
  TORCH_CHECK_VALUE(count > 0, "pool: there are no tokens after the prefix of ", output.prefix);
  const auto tokens = widened(output.tokens.narrow(1, output.prefix, count));
  if (!output.mask.defined()) return tokens.mean(1);
  const auto real = output.mask.narrow(1, output.prefix, count).unsqueeze(2);  // [B, N, 1]
  return tokens.masked_fill(real.logical_not(), 0).sum(1) / real.sum(1);
}

at::Tensor last(const EncoderOutput& output) {
  if (!output.mask.defined()) return widened(output.tokens.select(1, -1));
  const auto N = output.mask.size(1);
  const auto position = at::arange(N, output.mask.options().dtype(at::kLong));
  const auto index = (position * output.mask).argmax(1);  // [B]
  const auto row = at::arange(output.tokens.size(0), index.options());
  return widened(output.tokens.index({row, index}));
}

}  // namespace

at::Tensor pool(const EncoderOutput& output, Pooling pooling) {
  if (pooling == Pooling::encoder) {
    TORCH_CHECK_VALUE(output.pooled.defined(),
                      "pool: the encoder gave no pooled vector (was it left early?)");
    return widened(output.pooled);
  }
  TORCH_CHECK_VALUE(output.tokens.defined() && output.tokens.dim() == 3,
                    "pool: tokens must be [B, N, D]");
  switch (pooling) {
    case Pooling::cls:
      return widened(output.tokens.select(1, 0));
    case Pooling::mean:
      return mean(output);
    case Pooling::cls_mean:
      return at::cat({widened(output.tokens.select(1, 0)), mean(output)}, 1);
    case Pooling::last:
      return last(output);
    default:
      TORCH_CHECK_VALUE(false, kOfTheEncoder);
  }
}

int64_t pooled_size(const EncoderInfo& info, Pooling pooling) {
  const bool first = pooling == Pooling::cls || pooling == Pooling::cls_mean;
  TORCH_CHECK_VALUE(!first || info.patch_size == 0 || info.prefix > 0, "pooled_size: ", info.family,
                    " was built without a class token; pool by its mean");
  TORCH_CHECK_VALUE(pooling != Pooling::eot && pooling != Pooling::map, kOfTheEncoder);
  if (pooling == Pooling::encoder) return info.pooled_size;
  return pooling == Pooling::cls_mean ? 2 * info.hidden_size : info.hidden_size;
}

at::Tensor unit_rows(const at::Tensor& rows) {
  const auto x = rows.to(at::promote_types(rows.scalar_type(), at::kFloat));
  return x / x.norm(2, {-1}, /*keepdim=*/true).clamp_min(1e-12);
}

}  // namespace weft::nn
