#include <algorithm>

#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <ATen/OpMathType.h>
#include <ATen/TensorOperators.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <weft/ops/linear_cross_entropy.hpp>

#include "ops/linear_cross_entropy/backends.hpp"
#include "ops/linear_cross_entropy/chunks.hpp"
#include "ops/linear_cross_entropy/kernels.hpp"

namespace weft::ops::cuda {
namespace {

// Logits that live at a time, and the rows above which the weight's gradient is read and written
// seldom enough; the classes whose gradient of a chunk is added at a time, in half precision.
constexpr int64_t kChunkBytes = int64_t{512} << 20;
constexpr int64_t kFewestRows = 256, kMostRows = 4096;
constexpr int64_t kClasses = 16384;

/// The numbers of the labelled rows [M]: the call's one synchronisation.
Tensor find_labelled(const Tensor& labels, int64_t classes) {
  const auto labelled = labels.ne(kIgnoredLabel);
  const auto wrong = labelled.logical_and(labels.lt(0).logical_or(labels.ge(classes)));
  const auto counts = at::stack({labelled.sum(), wrong.sum()}).cpu();
  const auto* count = counts.const_data_ptr<int64_t>();
  if (count[1] > 0) {
    const auto row = wrong.nonzero().select(0, 0).item<int64_t>();
    TORCH_CHECK_VALUE(false, "linear_cross_entropy: labels must be in [0, ", classes, ") or ",
                      kIgnoredLabel, ", got ", labels.select(0, row).item<int64_t>(), " in row ",
                      row);
  }
  return at::nonzero_static(labelled, count[0]).squeeze(1);
}

template <class T, class Real>
void launch(LossWork<T, Real> work, const Tensor& logits, const Tensor& bias, const Tensor& labels,
            const Tensor& row_grad, const Tensor& losses) {
  work.logits = logits.mutable_data_ptr<T>();
  work.bias = bias.defined() ? bias.const_data_ptr<T>() : nullptr;
  work.labels = labels.const_data_ptr<int64_t>();
  work.row_grad = row_grad.defined() ? row_grad.const_data_ptr<Real>() : nullptr;
  work.losses = losses.mutable_data_ptr<Real>();
  work.rows = logits.size(0);
  work.classes = logits.size(1);
  work.stride = logits.stride(0);
  launch_loss_rows(work, c10::cuda::getCurrentCUDAStream(logits.get_device()).stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace

RowLosses linear_cross_entropy_rows(const Tensor& x, const Tensor& weight, const Tensor& labels_in,
                                    const std::optional<Tensor>& bias,
                                    const std::optional<Tensor>& row_grad, double label_smoothing,
                                    double z_loss, double softcap, Wanted wanted) {
  const c10::cuda::CUDAGuard guard(x.device());
  const auto type = x.scalar_type(), real = at::toOpMathType(type);
  const auto index = find_labelled(labels_in, weight.size(0));
  const auto rows = index.size(0), classes = weight.size(0);
  const auto pick = [&](const Tensor& t) {
    return rows == t.size(0) ? t : t.index_select(0, index);
  };
  const auto inputs = as_operand(pick(x)), labels = pick(labels_in).contiguous();
  const auto matrix = as_operand(weight);
  const auto shift = bias && bias->defined() ? bias->contiguous() : Tensor();
  // The gradients of an fp16 call are products of fp16 numbers: those of a mean over many rows
  // would vanish, so the largest factor is applied to the fp32 sums.
  auto grads = row_grad ? pick(*row_grad).to(real).contiguous() : Tensor();
  Tensor factor;
  if (type == at::kHalf && grads.defined() && rows > 0) {
    factor = grads.abs().amax();
    grads = grads / factor.where(factor > 0, 1);
  }
  const auto losses = at::empty({rows}, x.options().dtype(real));

  const auto per_pack = int64_t{16} / static_cast<int64_t>(x.element_size());
  const auto stride = (classes + per_pack - 1) / per_pack * per_pack;
  const auto fitting = kChunkBytes / (stride * static_cast<int64_t>(x.element_size()));
  const auto chunk = chunk_rows(rows, std::clamp(fitting, kFewestRows, kMostRows));
  ChunkSums sums(inputs, matrix, chunk >= rows, gradient_type(type), real,
                 row_grad ? wanted : Wanted());
  const auto buffer = at::empty({chunk, stride}, inputs.options());
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    const auto count = std::min(chunk, rows - begin);
    const auto block = inputs.narrow(0, begin, count);
    auto logits = buffer.narrow(0, 0, count).narrow(1, 0, classes);
    at::mm_out(logits, block, matrix.t());
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, type, "linear_cross_entropy", [&] {
      using Real = at::opmath_type<scalar_t>;
      LossWork<scalar_t, Real> work;
      work.smoothing = static_cast<Real>(label_smoothing);
      work.z_loss = static_cast<Real>(z_loss);
      work.softcap = static_cast<Real>(softcap);
      launch(work, logits, shift, labels.narrow(0, begin, count),
             grads.defined() ? grads.narrow(0, begin, count) : grads,
             losses.narrow(0, begin, count));
    });
    if (!row_grad) continue;
    if (wanted[0]) {
      auto out = sums.x.narrow(0, begin, count);
      if (out.scalar_type() == type)
        at::mm_out(out, logits, matrix);
      else
        out.copy_(at::mm(logits, matrix, out.scalar_type()));
    }
    if (wanted[1])
      sums.add_to_weight(logits, block, begin == 0, kClasses,
                         [&](const Tensor& a, const Tensor& b) { return at::mm(a, b, real); });
    if (wanted[2]) sums.bias.add_(logits.sum(0, false, real));
  }
  if (factor.defined()) {
    for (const auto& sum : {sums.x, sums.weight, sums.bias}) sum.mul_(factor);
  }
  const auto x_grad = sums.x.dim() == 2 ? spread_rows(sums.x, index, x.size(0)) : sums.x;
  return {spread_rows(losses, index, x.size(0)), x_grad, sums.weight.to(gradient_type(type)),
          sums.bias.to(gradient_type(type))};
}

}  // namespace weft::ops::cuda
