// rope: contract, specification, schema and every registration.
#include <ATen/Functions.h>
#include <ATen/OpMathType.h>
#include <ATen/TensorOperators.h>
#include <torch/library.h>

#include <weft/ops/rope.hpp>

#include "ops/rope/backends.hpp"

namespace weft::ops {
namespace {

Tensor rope_by_flag(const Tensor& x, const Tensor& cos, const Tensor& sin, bool interleaved) {
  return rope(x, cos, sin, interleaved ? RopeLayout::interleaved : RopeLayout::half);
}

std::tuple<Tensor, Tensor> rope_tables_by_flags(const Tensor& positions, const Tensor& inv_freq,
                                                at::IntArrayRef sections, bool alternate,
                                                double scale, std::optional<at::ScalarType> dtype) {
  const auto tables = rope_tables(
      positions, inv_freq,
      {.sections = sections.vec(), .alternate = alternate, .scale = scale, .dtype = dtype});
  return {tables.cos, tables.sin};
}

}  // namespace

Tensor rope(const Tensor& x, const Tensor& cos, const Tensor& sin, RopeLayout layout) {
  TORCH_CHECK_VALUE(x.dim() == 4, "rope: x must be [B, H, T, D], got ", x.sym_sizes());
  TORCH_CHECK_VALUE(cos.dim() == 3 && cos.sym_sizes() == sin.sym_sizes() &&
                        (cos.sym_size(0) == 1 || cos.sym_size(0) == x.sym_size(0)) &&
                        cos.sym_size(1) == x.sym_size(2),
                    "rope: cos and sin must be [1, T, R / 2] or [B, T, R / 2], got ",
                    cos.sym_sizes(), " and ", sin.sym_sizes(), " for x ", x.sym_sizes());
  TORCH_CHECK_VALUE(2 * cos.sym_size(2) <= x.sym_size(3), "rope: tables of ", cos.sym_size(2),
                    " pairs rotate ", 2 * cos.sym_size(2), " elements, but a head has ",
                    x.sym_size(3));
  TORCH_CHECK_VALUE(x.is_floating_point() && cos.is_floating_point() && sin.is_floating_point(),
                    "rope: x, cos and sin must be floating, got ", x.scalar_type(), ", ",
                    cos.scalar_type(), " and ", sin.scalar_type());
  TORCH_CHECK_VALUE(x.device() == cos.device() && x.device() == sin.device(),
                    "rope: x, cos and sin must be on one device, got ", x.device(), ", ",
                    cos.device(), " and ", sin.device());
  return dispatch::rope(x, cos, sin, layout == RopeLayout::interleaved, false);
}

Tensor with_heads_together(const Tensor& x) { return x.sym_stride(3) == 1 ? x : x.contiguous(); }

namespace reference {

Tensor rope(const Tensor& x_in, const Tensor& cos_in, const Tensor& sin_in, bool interleaved,
            bool inverse) {
  const auto real = at::toOpMathType(x_in.scalar_type());
  const auto pairs = cos_in.sym_size(2);
  const auto cos = cos_in.to(real).unsqueeze(1);  // [B, 1, T, pairs]
  const auto sin = (inverse ? -sin_in : sin_in).to(real).unsqueeze(1);
  const auto x = x_in.to(real);
  const auto turned = x.narrow_symint(3, 0, 2 * pairs);
  const auto a =
      interleaved ? turned.slice(3, 0, std::nullopt, 2) : turned.narrow_symint(3, 0, pairs);
  const auto b =
      interleaved ? turned.slice(3, 1, std::nullopt, 2) : turned.narrow_symint(3, pairs, pairs);
  const auto first = a * cos - b * sin, second = b * cos + a * sin;
  const auto rotated =
      interleaved ? at::stack({first, second}, -1).flatten(-2) : at::cat({first, second}, -1);
  auto out = at::empty_like(with_heads_together(x_in));
  return out.copy_(at::cat({rotated, x.slice_symint(3, 2 * pairs)}, -1));
}

}  // namespace reference

namespace meta {

Tensor rope(const Tensor& x, const Tensor&, const Tensor&, bool, bool) {
  return at::empty_like(with_heads_together(x));
}

}  // namespace meta

namespace dispatch {

Tensor rope(const Tensor& x, const Tensor& cos, const Tensor& sin, bool interleaved, bool inverse) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("weft::_rope", "")
                             .typed<decltype(dispatch::rope)>();
  return op.call(x, cos, sin, interleaved, inverse);
}

}  // namespace dispatch

TORCH_LIBRARY_FRAGMENT(weft, m) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  m.def("rope(Tensor x, Tensor cos, Tensor sin, bool interleaved=False) -> Tensor", tags);
  m.def(
      "rope_tables(Tensor positions, Tensor inv_freq, int[] sections=[], bool alternate=False,"
      " float scale=1, ScalarType? dtype=None) -> (Tensor cos, Tensor sin)",
      tags);
  m.def("_rope(Tensor x, Tensor cos, Tensor sin, bool interleaved, bool inverse) -> Tensor", tags);
}
TORCH_LIBRARY_IMPL(weft, CompositeImplicitAutograd, m) {
  m.impl("rope", TORCH_FN(rope_by_flag));
  m.impl("rope_tables", TORCH_FN(rope_tables_by_flags));
}
TORCH_LIBRARY_IMPL(weft, CompositeExplicitAutograd, m) {
  m.impl("_rope", TORCH_FN(reference::rope));
}
TORCH_LIBRARY_IMPL(weft, CPU, m) { m.impl("_rope", TORCH_FN(cpu::rope)); }
#ifdef WEFT_CUDA
TORCH_LIBRARY_IMPL(weft, CUDA, m) { m.impl("_rope", TORCH_FN(cuda::rope)); }
#endif
TORCH_LIBRARY_IMPL(weft, Meta, m) { m.impl("_rope", TORCH_FN(meta::rope)); }
TORCH_LIBRARY_IMPL(weft, Autograd, m) { m.impl("_rope", TORCH_FN(autograd::rope)); }

}  // namespace weft::ops
