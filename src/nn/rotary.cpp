#include <cmath>
#include <numbers>

#include <ATen/ATen.h>

#include <weft/nn/rotary.hpp>
#include <weft/ops/rope.hpp>

namespace weft::nn {
namespace {

constexpr double kPi = std::numbers::pi;

// Every step is in fp32, and in Hugging Face's order: an angle of position 4096 shows a rounding of
// its frequency in the fourth digit.
at::Tensor exponents(int64_t dim) {
  return at::arange(0, dim, 2, at::kFloat) / static_cast<double>(dim);  // [R / 2]
}

at::Tensor plain_frequencies(double theta, int64_t dim) {
  return at::pow(theta, exponents(dim)).reciprocal();
}

at::Tensor yarn_frequencies(const RotaryOptions& o) {
  const auto dim_of = [&](double rotations) {
    return static_cast<double>(o.dim) *
           std::log(static_cast<double>(o.original_max_tokens) / (rotations * 2 * kPi)) /
           (2 * std::log(o.theta));
  };
  auto low = dim_of(o.beta_fast), high = dim_of(o.beta_slow);
  if (o.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(o.dim - 1));
  if (low == high) high += 0.001;
  const auto kept = 1 - ((at::arange(o.dim / 2, at::kFloat) - low) / (high - low)).clamp(0, 1);
  const auto period = at::pow(o.theta, exponents(o.dim));
  return (period * o.factor).reciprocal() * (1 - kept) + period.reciprocal() * kept;
}

at::Tensor llama3_frequencies(const RotaryOptions& o) {
  const auto plain = plain_frequencies(o.theta, o.dim);
  const auto length = static_cast<double>(o.original_max_tokens);
  const auto long_wave = length / o.low_freq_factor, short_wave = length / o.high_freq_factor;
  const auto wave = plain.reciprocal() * (2 * kPi);
  const auto scaled = at::where(wave > long_wave, plain / o.factor, plain);
  const auto smooth =
      (wave.reciprocal() * length - o.low_freq_factor) / (o.high_freq_factor - o.low_freq_factor);
  const auto between = (wave >= short_wave).logical_and(wave <= long_wave);
  return at::where(between, (1 - smooth) * scaled / o.factor + smooth * scaled, scaled);
}

at::Tensor longrope_frequencies(const RotaryOptions& o, const std::vector<double>& factors) {
  const auto scale = at::tensor(factors, at::kDouble).to(at::kFloat);
  return (scale * at::pow(o.theta, exponents(o.dim))).reciprocal();
}

double default_attention_factor(const RotaryOptions& o) {
  if (o.factor <= 1) return 1;
  if (o.scaling == RotaryScaling::yarn) return 0.1 * std::log(o.factor) + 1;
  if (o.scaling == RotaryScaling::longrope)
    return std::sqrt(1 + std::log(o.factor) / std::log(static_cast<double>(o.original_max_tokens)));
  return 1;
}

}  // namespace

Rotary::Rotary(const RotaryOptions& o) : options_(o) {
  TORCH_CHECK_VALUE(o.dim > 0 && o.dim % 2 == 0, "Rotary: dim must be even and positive, got ",
                    o.dim);
  TORCH_CHECK_VALUE(o.theta > 1 && o.factor > 0,
                    "Rotary: theta must be above 1 and factor positive, got ", o.theta, " and ",
                    o.factor);
  TORCH_CHECK_VALUE(o.scaling != RotaryScaling::dynamic || (o.max_tokens > 0 && o.dim > 2),
                    "Rotary: dynamic scaling needs max_tokens and a dim above 2");
  const bool extended = o.scaling == RotaryScaling::yarn || o.scaling == RotaryScaling::llama3 ||
                        o.scaling == RotaryScaling::longrope;
  TORCH_CHECK_VALUE(!extended || o.original_max_tokens > 1,
                    "Rotary: yarn, llama3 and longrope need original_max_tokens, got ",
                    o.original_max_tokens);
  if (o.scaling == RotaryScaling::longrope) {
    const auto expected = static_cast<size_t>(o.dim / 2);
    TORCH_CHECK_VALUE(o.short_factor.size() == expected && o.long_factor.size() == expected,
                      "Rotary: longrope needs ", expected,
                      " short and long factors, half of dim, got ", o.short_factor.size(), " and ",
                      o.long_factor.size());
  }
  attention_factor_ = o.attention_factor > 0 ? o.attention_factor : default_attention_factor(o);
  if (o.scaling == RotaryScaling::dynamic) length_limit_ = o.max_tokens;
  if (o.scaling == RotaryScaling::longrope) length_limit_ = o.original_max_tokens;
  frequencies_ = frequencies(length_limit_);
}

at::Tensor Rotary::frequencies(int64_t length) const {
  const auto& o = options_;
  switch (o.scaling) {
    case RotaryScaling::none:
      return plain_frequencies(o.theta, o.dim);
    case RotaryScaling::linear:
      return plain_frequencies(o.theta, o.dim) / o.factor;
    case RotaryScaling::dynamic: {
      const auto ratio =
          static_cast<double>(std::max(length, o.max_tokens)) / static_cast<double>(o.max_tokens);
      const auto exponent = static_cast<double>(o.dim) / static_cast<double>(o.dim - 2);
      return plain_frequencies(o.theta * std::pow(o.factor * ratio - (o.factor - 1), exponent),
                               o.dim);
    }
    case RotaryScaling::yarn:
      return yarn_frequencies(o);
    case RotaryScaling::llama3:
      return llama3_frequencies(o);
    case RotaryScaling::longrope:
      return longrope_frequencies(o,
                                  length > o.original_max_tokens ? o.long_factor : o.short_factor);
  }
  TORCH_CHECK_VALUE(false, "Rotary: unknown scaling ", static_cast<int>(o.scaling));
}

Rotation Rotary::operator()(const at::Tensor& positions) const {
  TORCH_CHECK_VALUE(positions.dim() == 2 && positions.scalar_type() == at::kLong,
                    "Rotary: positions must be [B, T] int64, got ", positions.sizes(), " ",
                    positions.scalar_type());
  auto used = frequencies_;
  if (length_limit_ > 0 && positions.numel() > 0) {
    const auto length = positions.max().item<int64_t>() + 1;
    if (length > length_limit_) used = frequencies(length);
  }
  const auto tables =
      ops::rope_tables(positions, used.to(positions.device()), {.scale = attention_factor_});
  return {tables.cos, tables.sin};
}

}  // namespace weft::nn
