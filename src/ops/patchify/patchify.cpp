// patchify and patch_embed: contract, specification, schema and every registration.
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <torch/library.h>

#include <weft/ops/patchify.hpp>

#include "ops/patchify/backends.hpp"

namespace weft::ops {

Tensor patchify(const Tensor& pixels, int64_t patch) {
  TORCH_CHECK_VALUE(pixels.dim() == 4, "patchify: pixels must be [B, C, H, W], got ",
                    pixels.sym_sizes());
  TORCH_CHECK_VALUE(pixels.scalar_type() == at::kByte || pixels.is_floating_point(),
                    "patchify: pixels must be uint8 or floating, got ", pixels.scalar_type());
  TORCH_CHECK_VALUE(
      patch > 0 && pixels.sym_size(2) >= patch && pixels.sym_size(3) >= patch,
      "patchify: patch must be positive and at most the height and the width of pixels, got ",
      patch, " for ", pixels.sym_sizes());
  return dispatch::patchify(pixels, patch, pixels.scalar_type(), 0);
}

namespace reference {

Tensor patchify(const Tensor& pixels, int64_t patch, at::ScalarType dtype, int64_t offset) {
  const auto batch = pixels.sym_size(0), channels = pixels.sym_size(1);
  const auto h = pixels.sym_size(2) / patch, w = pixels.sym_size(3) / patch;
  auto patches = pixels.slice_symint(2, 0, h * patch)
                     .slice_symint(3, 0, w * patch)
                     .reshape_symint({batch, channels, h, patch, w, patch})
                     .permute({0, 2, 4, 1, 3, 5})
                     .reshape_symint({batch, h * w, channels * patch * patch})
                     .to(dtype);
  return offset == 0 ? patches.contiguous() : patches - offset;
}

}  // namespace reference

namespace meta {

Tensor patchify(const Tensor& pixels, int64_t patch, at::ScalarType dtype, int64_t) {
  return at::empty_symint(
      {pixels.sym_size(0), (pixels.sym_size(2) / patch) * (pixels.sym_size(3) / patch),
       pixels.sym_size(1) * patch * patch},
      pixels.options().dtype(dtype));
}

}  // namespace meta

namespace autograd {

Tensor patchify(const Tensor& pixels, int64_t patch, at::ScalarType dtype, int64_t offset) {
  // Pixels that want a gradient are rare; the specification is differentiable as it stands.
  if (at::GradMode::is_enabled() && pixels.requires_grad())
    return reference::patchify(pixels, patch, dtype, offset);
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  return dispatch::patchify(pixels, patch, dtype, offset);
}

}  // namespace autograd

namespace dispatch {

Tensor patchify(const Tensor& pixels, int64_t patch, at::ScalarType dtype, int64_t offset) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("weft::_patchify", "")
                             .typed<decltype(dispatch::patchify)>();
  return op.call(pixels, patch, dtype, offset);
}

}  // namespace dispatch

TORCH_LIBRARY_FRAGMENT(weft, m) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  m.def("patchify(Tensor pixels, int patch) -> Tensor", tags);
  m.def(
      "patch_embed(Tensor pixels, Tensor weight, Tensor? bias, float[] mean, float[] std)"
      " -> Tensor",
      tags);
  m.def("_patchify(Tensor pixels, int patch, ScalarType dtype, int offset) -> Tensor", tags);
}
TORCH_LIBRARY_IMPL(weft, CompositeImplicitAutograd, m) {
  m.impl("patchify", TORCH_FN(patchify));
  m.impl("patch_embed", TORCH_FN(patch_embed));
}
TORCH_LIBRARY_IMPL(weft, CompositeExplicitAutograd, m) {
  m.impl("_patchify", TORCH_FN(reference::patchify));
}
TORCH_LIBRARY_IMPL(weft, CPU, m) { m.impl("_patchify", TORCH_FN(cpu::patchify)); }
#ifdef WEFT_CUDA
TORCH_LIBRARY_IMPL(weft, CUDA, m) { m.impl("_patchify", TORCH_FN(cuda::patchify)); }
#endif
TORCH_LIBRARY_IMPL(weft, Meta, m) { m.impl("_patchify", TORCH_FN(meta::patchify)); }
TORCH_LIBRARY_IMPL(weft, Autograd, m) { m.impl("_patchify", TORCH_FN(autograd::patchify)); }

}  // namespace weft::ops
