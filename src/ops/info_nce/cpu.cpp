#include <algorithm>
#include <limits>

#include <ATen/Functions.h>
#include <ATen/OpMathType.h>
#include <ATen/TensorOperators.h>

#include "ops/info_nce/backends.hpp"

namespace weft::ops::cpu {
namespace {

constexpr int64_t kTile = 256;  // rows of logits that live at a time
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Calls body(begin, rows, logits [rows, N], images [rows, D]) for every tile of rows. The
/// positives on the diagonal are -infinity: they are added apart, where their digits count.
template <class Body>
void for_each_tile(const Tensor& images, const Tensor& texts, const Tensor& scale,
                   const Body& body) {
  const auto columns = texts.t();
  for (int64_t begin = 0; begin < images.size(0); begin += kTile) {
    const auto rows = std::min(kTile, images.size(0) - begin);
    const auto block = images.narrow(0, begin, rows);
    auto logits = block.mm(columns).mul_(scale);
    logits.diagonal(begin).fill_(-kInfinity);
    body(begin, rows, logits, block);
  }
}

}  // namespace

InfoNceOutput info_nce(const Tensor& image, const Tensor& text, const Tensor& scale) {
  const auto type = at::toOpMathType(image.scalar_type());
  const auto images = image.to(type), texts = text.to(type), factor = scale.to(type);
  const auto positive = (images * texts).sum(1).mul_(factor);  // [N]
  // Log-sums of the negatives, relative to the positive.
  const auto image_others = at::empty_like(positive);
  auto text_others = at::full_like(positive, -kInfinity);
  for_each_tile(images, texts, factor,
                [&](int64_t begin, int64_t rows, const Tensor& logits, const Tensor&) {
                  const auto own = positive.narrow(0, begin, rows).unsqueeze(1);
                  image_others.narrow(0, begin, rows).copy_(at::logsumexp(logits - own, {1}));
                  text_others = at::logaddexp(text_others, at::logsumexp(logits - positive, {0}));
                });
  const auto zero = at::zeros({}, positive.options());
  const auto image_nll = at::logaddexp(image_others, zero);
  const auto text_nll = at::logaddexp(text_others, zero);
  return {(image_nll + text_nll).mean().div_(2), positive, image_nll, text_nll};
}

InfoNceGradients info_nce_backward(const Tensor& grad, const Tensor& image, const Tensor& text,
                                   const Tensor& scale, const Tensor& positive,
                                   const Tensor& image_nll, const Tensor& text_nll) {
  const auto type = at::toOpMathType(image.scalar_type());
  const auto images = image.to(type), texts = text.to(type), temperature = scale.to(type);
  const auto row_lse = (positive + image_nll).unsqueeze(1);  // [N, 1]
  const auto column_lse = positive + text_nll;               // [N]
  // The softmax of a positive nears 1 late in training, where p - 1 loses its digits.
  const auto diagonal = at::expm1(-image_nll).add_(at::expm1(-text_nll));
  const auto image_sum = at::empty_like(images, at::MemoryFormat::Contiguous);
  auto text_sum = at::zeros_like(texts, at::MemoryFormat::Contiguous);
  for_each_tile(images, texts, temperature,
                [&](int64_t begin, int64_t rows, const Tensor& logits, const Tensor& block) {
                  auto weights = (logits - row_lse.narrow(0, begin, rows)).exp_();
                  weights.add_((logits - column_lse).exp_());
                  weights.diagonal(begin).copy_(diagonal.narrow(0, begin, rows));
                  auto out = image_sum.narrow(0, begin, rows);
                  at::mm_out(out, weights, texts);
                  text_sum.addmm_(weights.t(), block);
                });
  const auto factor = grad.to(type) / (2 * image.size(0));
  // sum_ij G_ij S_ij / scale = sum_i <image_i, image_sum_i>: the scale's gradient costs O(N D).
  const auto scale_grad = (images * image_sum).sum().mul_(factor);
  const auto scaled = factor * temperature;
  return {image_sum.mul_(scaled).to(image.scalar_type()),
          text_sum.mul_(scaled).to(text.scalar_type()), scale_grad.to(scale.scalar_type())};
}

}  // namespace weft::ops::cpu
