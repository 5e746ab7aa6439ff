#include "text/decoder_mask.hpp"

#include <ATen/ATen.h>

namespace weft::text {

void check_lm_input(const LmInput& input, int64_t B, int64_t T, int64_t past) {
  const auto tokens = [&](const at::Tensor& t, const char* name) {
    if (!t.defined()) return;
    TORCH_CHECK_VALUE(t.sizes() == at::IntArrayRef({B, T}) && t.scalar_type() == at::kLong,
                      "DecoderLm: ", name, " must be [", B, ", ", T, "] int64, got ", t.sizes(),
                      " ", t.scalar_type());
    TORCH_CHECK_VALUE(past == 0, "DecoderLm: ", name, " cannot follow ", past, " cached tokens");
  };
  tokens(input.segments, "segments");
  tokens(input.branches, "branches");
  tokens(input.spans, "spans");
  if (input.mask.defined())
    TORCH_CHECK_VALUE(input.mask.sizes() == at::IntArrayRef({B, past + T}) &&
                          input.mask.scalar_type() == at::kBool,
                      "DecoderLm: mask must be [", B, ", ", past + T, "] bool, got ",
                      input.mask.sizes(), " ", input.mask.scalar_type());
  if (input.positions.defined())
    TORCH_CHECK_VALUE(input.positions.dim() == 2 && input.positions.size(1) == T &&
                          (input.positions.size(0) == B || input.positions.size(0) == 1),
                      "DecoderLm: positions must be [", B, " or 1, ", T, "], got ",
                      input.positions.sizes());
}

namespace {

/// [B, T] bool: the token's number is another than that of the one before it; false for the first.
at::Tensor changes_of(const at::Tensor& numbers) {
  const auto T = numbers.size(1);
  return at::constant_pad_nd(numbers.narrow(1, 1, T - 1) != numbers.narrow(1, 0, T - 1), {1, 0}, 0);
}

/// values [B or 1, T], ascending along T, at the last token up to each one where `changed`; 0
/// before the first.
at::Tensor held(const at::Tensor& values, const at::Tensor& changed) {
  return std::get<0>((changed * values).cummax(1));
}

}  // namespace

at::Tensor lm_positions(const LmInput& input, int64_t T, int64_t past, at::Device device) {
  const auto ints = at::TensorOptions().dtype(at::kLong).device(device);
  const auto index = at::arange(T, ints).unsqueeze(0);  // [1, T]
  if (input.branches.defined()) {
    auto changed = changes_of(input.branches);
    const auto trunk = input.branches == 0;
    const auto before = trunk.cumsum(1) - trunk.to(at::kLong);  // tokens of branch 0 so far
    auto first = at::zeros({1, 1}, ints);                       // of those, before the segment
    if (input.segments.defined()) {
      const auto segment = changes_of(input.segments);
      first = held(before, segment);
      changed = changed.logical_or(segment);
    }
    return held(before, changed) - first + index - held(index, changed);
  }
  if (input.segments.defined()) return index - held(index, changes_of(input.segments));
  if (input.mask.defined()) return (input.mask.cumsum(1) - 1).clamp_min(0).narrow(1, past, T);
  return at::arange(past, past + T, ints).unsqueeze(0);
}

at::Tensor lm_mask(const LmInput& input, int64_t B, int64_t T, int64_t past, int64_t window,
                   at::Device device) {
  const auto S = past + T;
  // Asking a GPU would wait for it.
  const bool padded =
      input.mask.defined() && (!input.mask.device().is_cpu() || !input.mask.all().item<bool>());
  const bool narrow = window > 0 && S > window;
  const bool chunk = past > 0 && T > 1;
  if (!padded && !narrow && !chunk && !input.segments.defined() && !input.branches.defined() &&
      !input.spans.defined())
    return {};
  const auto ints = at::TensorOptions().dtype(at::kLong).device(device);
  const auto query = at::arange(past, S, ints).unsqueeze(1), key = at::arange(S, ints);
  auto seen = (key <= query).view({1, 1, T, S});
  if (narrow && input.branches.defined()) {
    const auto at = lm_positions(input, T, past, device);  // branches lie between
    seen = seen.logical_and(at.view({B, 1, 1, T}) > at.view({B, 1, T, 1}) - window);
  } else if (narrow) {
    seen = seen.logical_and((key > query - window).view({1, 1, T, S}));
  }
  const auto pairs = [&](const at::Tensor& of) {  // [B, 1, T, T]
    return of.view({B, 1, T, 1}) == of.view({B, 1, 1, T});
  };
  if (input.spans.defined())
    seen = seen.logical_or(pairs(input.spans).logical_and((input.spans > 0).view({B, 1, 1, T})));
  if (input.segments.defined()) seen = seen.logical_and(pairs(input.segments));
  if (input.branches.defined())
    seen = seen.logical_and(
        pairs(input.branches).logical_or((input.branches == 0).view({B, 1, 1, T})));
  if (!padded) return seen;
  const auto itself = (key == query).view({1, 1, T, S});
  return seen.logical_and(input.mask.view({B, 1, 1, S})).logical_or(itself);
}

}  // namespace weft::text
