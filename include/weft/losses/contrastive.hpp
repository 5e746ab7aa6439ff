#pragma once

#include <cmath>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/exp.h>

#include <weft/ops/info_nce.hpp>
#include <weft/ops/sigmoid_loss.hpp>

namespace weft::losses {

/// The logit scale of CLIP (Radford et al., 2021, section 2.5) is learned as its logarithm tau, a
/// parameter [] in fp32: it starts at ln(1 / 0.07) and is kept at or below ln 100.
inline const double kInitialLogitScale = std::log(1 / 0.07);
inline const double kMaxLogitScale = std::log(100.0);

/// Symmetric InfoNCE over unit rows: image, text [N, D], logit_scale [] = tau, the logits are
/// exp(tau) image text^T. Returns [] in fp32 (fp64 for fp64 rows), see ops::info_nce.
inline at::Tensor contrastive_loss(const at::Tensor& image, const at::Tensor& text,
                                   const at::Tensor& logit_scale) {
  return ops::info_nce(image, text, at::exp(logit_scale));
}

/// SigLIP's logit scale and bias (Zhai et al., 2023, section 3.2) start at ln 10 and -10: with so
/// many more wrong pairs than right ones, most are answered rightly from the start.
inline const double kInitialSigmoidScale = std::log(10.0);
inline constexpr double kInitialSigmoidBias = -10.0;

/// Sigmoid loss over unit rows: image, text [N, D], logit_scale [] = t', logit_bias [] = b, the
/// logits are exp(t') image text^T + b. Returns [] as contrastive_loss, see ops::sigmoid_loss.
inline at::Tensor sigmoid_loss(const at::Tensor& image, const at::Tensor& text,
                               const at::Tensor& logit_scale, const at::Tensor& logit_bias) {
  return ops::sigmoid_loss(image, text, at::exp(logit_scale), logit_bias);
}

/// To be called after each optimiser step: 0 <= tau <= max, in place and outside the graph.
inline void clamp_logit_scale_(const at::Tensor& logit_scale, double max = kMaxLogitScale) {
  const at::NoGradGuard no_grad;
  logit_scale.clamp_(0, max);
}

}  // namespace weft::losses
