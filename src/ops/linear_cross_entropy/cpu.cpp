#include <algorithm>
#include <vector>

#include <ATen/Functions.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>

#include <weft/ops/linear_cross_entropy.hpp>

#include "ops/linear_cross_entropy/backends.hpp"
#include "ops/linear_cross_entropy/chunks.hpp"
#include "ops/linear_cross_entropy/rows.hpp"

namespace weft::ops::cpu {
namespace {

// Logits that live at a time: many rows read and write the weight's gradient seldom, few rows leave
// the cache to the rest. The classes whose gradient of a chunk is added at a time, in half
// precision.
constexpr int64_t kChunkBytes = int64_t{64} << 20;
constexpr int64_t kFewestRows = 64;
constexpr int64_t kClasses = 16384;
constexpr int64_t kProductClasses = 2048;  // of logits in one product, in full precision

/// The labelled rows' numbers and labels.
struct Labelled {
  std::vector<int64_t> rows, labels;
};

Labelled find_labelled(const Tensor& labels_in, int64_t classes) {
  const auto labels = labels_in.contiguous();
  const auto* label = labels.const_data_ptr<int64_t>();
  Labelled out;
  for (int64_t i = 0; i < labels.numel(); ++i) {
    if (label[i] == kIgnoredLabel) continue;
    TORCH_CHECK_VALUE(label[i] >= 0 && label[i] < classes,
                      "linear_cross_entropy: labels must be in [0, ", classes, ") or ",
                      kIgnoredLabel, ", got ", label[i], " in row ", i);
    out.rows.push_back(i);
    out.labels.push_back(label[i]);
  }
  return out;
}

Tensor view_of(std::vector<int64_t>& values) {
  return at::from_blob(values.data(), {static_cast<int64_t>(values.size())},
                       at::TensorOptions().dtype(at::kLong));
}

/// logits = x weight^T + bias.
void multiply(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& logits) {
  // A few classes at a time keep their panels in the cache; a product in bf16 wants whole rows.
  const auto classes = weight.size(0);
  const auto step = logits.scalar_type() == at::kBFloat16 ? classes : kProductClasses;
  for (int64_t begin = 0; begin < classes; begin += step) {
    const auto count = std::min(step, classes - begin);
    auto out = logits.narrow(1, begin, count);
    const auto columns = weight.narrow(0, begin, count).t();
    if (bias.defined())
      at::addmm_out(out, bias.narrow(0, begin, count), x, columns);
    else
      at::mm_out(out, x, columns);
  }
}

template <class Real, class T>
void run_rows(const LinearCrossEntropyOptions& options, const Tensor& logits, const int64_t* labels,
              const Tensor& row_grad, const Tensor& losses) {
  kernels::LossRows<Real> work;
  work.labels = labels;
  work.row_grad = row_grad.defined() ? row_grad.const_data_ptr<Real>() : nullptr;
  work.losses = losses.mutable_data_ptr<Real>();
  work.classes = logits.size(1);
  work.smoothing = static_cast<Real>(options.label_smoothing);
  work.z_loss = static_cast<Real>(options.z_loss);
  auto* values = static_cast<T*>(logits.mutable_data_ptr());
  at::parallel_for(0, logits.size(0), 1, [&](int64_t begin, int64_t end) {
    kernels::loss_rows(work, values, begin, end);
  });
}

/// logits -> their gradient, and the losses.
void run_rows(const LinearCrossEntropyOptions& options, Tensor logits, const int64_t* labels,
              const Tensor& row_grad, const Tensor& losses) {
  Tensor slope;
  if (options.softcap > 0) {
    logits.div_(options.softcap).tanh_();
    if (row_grad.defined()) slope = 1 - logits.square();
    logits.mul_(options.softcap);
  }
  switch (logits.scalar_type()) {
    case at::kDouble:
      run_rows<double, double>(options, logits, labels, row_grad, losses);
      break;
    case at::kFloat:
      run_rows<float, float>(options, logits, labels, row_grad, losses);
      break;
    default:
      TORCH_INTERNAL_ASSERT(logits.scalar_type() == at::kBFloat16);
      run_rows<float, uint16_t>(options, logits, labels, row_grad, losses);
  }
  if (slope.defined()) logits.mul_(slope);
}

}  // namespace

RowLosses linear_cross_entropy_rows(const Tensor& x, const Tensor& weight, const Tensor& labels,
                                    const std::optional<Tensor>& bias,
                                    const std::optional<Tensor>& row_grad, double label_smoothing,
                                    double z_loss, double softcap, Wanted wanted) {
  const auto type = gradient_type(x.scalar_type()), real = at::toOpMathType(x.scalar_type());
  const LinearCrossEntropyOptions options = {
      .label_smoothing = label_smoothing, .z_loss = z_loss, .softcap = softcap};
  auto labelled = find_labelled(labels, weight.size(0));
  const auto index = view_of(labelled.rows);
  const auto rows = index.size(0), classes = weight.size(0);
  const auto pick = [&](const Tensor& t) {
    return rows == t.size(0) ? t : t.index_select(0, index);
  };
  const auto inputs = pick(x).to(type);
  const auto matrix = as_operand(weight.to(type));
  const auto shift = bias && bias->defined() ? bias->to(type) : Tensor();
  const auto grads = row_grad ? pick(*row_grad).to(real).contiguous() : Tensor();
  const auto losses = at::empty({rows}, x.options().dtype(real));

  const auto row_bytes = classes * static_cast<int64_t>(inputs.element_size());
  const auto chunk = chunk_rows(rows, std::max(kFewestRows, kChunkBytes / row_bytes));
  ChunkSums sums(inputs, matrix, chunk >= rows, type, real, row_grad ? wanted : Wanted());
  const auto buffer = with_huge_pages(at::empty({chunk, classes}, inputs.options()));
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    const auto count = std::min(chunk, rows - begin);
    const auto block = inputs.narrow(0, begin, count);
    auto logits = buffer.narrow(0, 0, count);
    multiply(block, matrix, shift, logits);
    run_rows(options, logits, labelled.labels.data() + begin,
             grads.defined() ? grads.narrow(0, begin, count) : grads,
             losses.narrow(0, begin, count));
    if (!row_grad) continue;
    if (wanted[0]) {
      auto out = sums.x.narrow(0, begin, count);
      at::mm_out(out, logits, matrix);
    }
    if (wanted[1])
      sums.add_to_weight(logits, block, begin == 0, kClasses,
                         [](const Tensor& a, const Tensor& b) { return a.mm(b); });
    if (wanted[2]) sums.bias.add_(logits.sum(0, false, real));
  }
  const auto x_grad = sums.x.dim() == 2 ? spread_rows(sums.x, index, x.size(0)) : sums.x;
  return {spread_rows(losses, index, x.size(0)), x_grad, sums.weight.to(type), sums.bias.to(type)};
}

}  // namespace weft::ops::cpu
