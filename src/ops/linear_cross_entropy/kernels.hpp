#pragma once

#include <cmath>
#include <cstdint>

#include "ops/pack.hpp"

struct CUstream_st;

// Free of torch and of CUDA's headers: kernels.cu runs these functions on the device, the tests run
// them on the CPU.
namespace weft::ops::cuda {

/// Logits of rows with a label, row r at r * stride; T in memory, Real (fp32, fp64 for double) in
/// registers.
template <class T, class Real>
struct LossWork {
  T* logits = nullptr;
  const T* bias = nullptr;          // [classes], or null
  const int64_t* labels = nullptr;  // [rows], in [0, classes)
  const Real* row_grad = nullptr;   // d(total) / d(loss of a row) [rows], or null: losses only
  Real* losses = nullptr;           // [rows]
  int64_t rows = 0, classes = 0, stride = 0;
  Real smoothing = 0, z_loss = 0, softcap = 0;
};

constexpr uint32_t kLossThreads = 512;

/// What is known of a part of a row's logits: its largest and sum exp(logit - largest) without the
/// label's logit, and the sum of all of them.
template <class Real>
struct RowPart {
  Real most = -INFINITY, sum = 0, total = 0;

  WEFT_HOST_DEVICE void add(Real logit) {
    if (logit <= most) {
      sum += logit == most ? Real(1) : std::exp(logit - most);
    } else {  // NaN, too
      sum = sum * std::exp(most - logit) + 1;
      most = logit;
    }
  }
  WEFT_HOST_DEVICE void add(const RowPart& other) {
    total += other.total;
    if (other.sum == 0) return;
    if (sum == 0 || !(other.most <= most)) {
      sum = (sum == 0 ? Real(0) : sum * std::exp(most - other.most)) + other.sum;
      most = other.most;
    } else {
      sum += other.sum * (other.most == most ? Real(1) : std::exp(other.most - most));
    }
  }
};

/// The numbers of a row that its gradient needs: log-sum-exp, the label's own logit and what its
/// probability lacks to 1.
template <class Real>
struct RowSoftmax {
  Real lse = 0, own = 0, missed = 0, loss = 0;
};

/// The label's own term stays out of the sum of exponentials: with t = log(sum of the others) -
/// own, loss = log(1 + exp(t)) and 1 - p = 1 / (1 + exp(-t)) keep their digits where p nears 1.
template <class T, class Real>
WEFT_HOST_DEVICE RowSoftmax<Real> finish_row(const LossWork<T, Real>& work,
                                             const RowPart<Real>& part, Real own) {
  RowSoftmax<Real> out;
  const Real others = part.sum == 0 ? -INFINITY : part.most + std::log(part.sum);
  const Real t = others - own, tail = std::log1p(std::exp(-std::abs(t)));
  out.lse = t > 0 ? others + tail : own + tail;
  out.own = own;
  out.missed = std::exp((t > 0 ? Real(0) : t) - tail);
  out.loss = (t > 0 ? t + tail : tail) + work.z_loss * out.lse * out.lse;
  if (work.smoothing > 0)
    out.loss += work.smoothing * (own - part.total / static_cast<Real>(work.classes));
  return out;
}

/// The logit of class c as the loss sees it.
template <class T, class Real>
WEFT_HOST_DEVICE Real logit_of(const LossWork<T, Real>& work, T value, int64_t c) {
  auto logit = static_cast<Real>(value);
  if (work.bias) logit += static_cast<Real>(work.bias[c]);
  return work.softcap > 0 ? work.softcap * std::tanh(logit / work.softcap) : logit;
}

/// d(total) / d(the product that made class c's logit), in a row whose loss has gradient `grad`.
template <class T, class Real>
WEFT_HOST_DEVICE Real logit_gradient(const LossWork<T, Real>& work, const RowSoftmax<Real>& row,
                                     Real logit, bool is_label, Real grad) {
  const Real p = std::exp(logit - row.lse);
  Real g = 2 * work.z_loss * row.lse * p + (is_label ? work.smoothing - row.missed : p);
  if (work.smoothing > 0) g -= work.smoothing / static_cast<Real>(work.classes);
  if (work.softcap > 0) g *= 1 - (logit / work.softcap) * (logit / work.softcap);
  return g * grad;
}

/// Calls body(c, pack of kVector logits) for the classes of one of `threads` threads; the row is
/// aligned to kVector elements, and what does not fill a pack comes one by one.
template <uint32_t kVector, class T, class Body>
WEFT_HOST_DEVICE void for_classes(const T* row, int64_t classes, uint32_t thread, uint32_t threads,
                                  const Body& body) {
  const int64_t whole = classes / kVector * kVector;
  for (auto c = static_cast<int64_t>(thread) * kVector; c < whole;
       c += static_cast<int64_t>(threads) * kVector)
    body(c, load_pack<kVector>(row + c));
  for (auto c = whole + thread; c < classes; c += threads) body(c, load_pack<1>(row + c));
}

/// The part of a row that one thread reads.
template <uint32_t kVector, class T, class Real>
WEFT_HOST_DEVICE RowPart<Real> read_part(const LossWork<T, Real>& work, int64_t row,
                                         uint32_t thread, uint32_t threads) {
  RowPart<Real> part;
  const auto label = work.labels[row];
  for_classes<kVector>(work.logits + row * work.stride, work.classes, thread, threads,
                       [&](int64_t c, const auto& pack) {
                         constexpr auto kCount = sizeof(pack.value) / sizeof(T);
                         for (uint32_t i = 0; i < kCount; ++i) {
                           const auto logit = logit_of(work, pack.value[i], c + i);
                           part.total += logit;
                           if (c + i != label) part.add(logit);
                         }
                       });
  return part;
}

/// Overwrites what one thread has read by its gradient.
template <uint32_t kVector, class T, class Real>
WEFT_HOST_DEVICE void write_part(const LossWork<T, Real>& work, int64_t row,
                                 const RowSoftmax<Real>& softmax, uint32_t thread,
                                 uint32_t threads) {
  const auto label = work.labels[row];
  const auto grad = work.row_grad[row];
  auto* logits = work.logits + row * work.stride;
  for_classes<kVector>(logits, work.classes, thread, threads, [&](int64_t c, auto pack) {
    constexpr auto kCount = sizeof(pack.value) / sizeof(T);
    for (uint32_t i = 0; i < kCount; ++i)
      pack.value[i] = static_cast<T>(logit_gradient(
          work, softmax, logit_of(work, pack.value[i], c + i), c + i == label, grad));
    store_pack(pack, logits + c);
  });
}

/// Launches the kernel on the current device; errors are left to cudaGetLastError. Rows are aligned
/// to 16 bytes. Compiled for <float, float>, <Half, float>, <BFloat16, float> and <double, double>.
template <class T, class Real>
void launch_loss_rows(const LossWork<T, Real>& work, CUstream_st* stream);

}  // namespace weft::ops::cuda
