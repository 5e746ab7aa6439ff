#include <algorithm>

#include <ATen/Functions.h>
#include <ATen/OpMathType.h>
#include <ATen/TensorOperators.h>

#include "ops/sigmoid_loss/backends.hpp"

namespace weft::ops::cpu {
namespace {

constexpr int64_t kTile = 256;  // rows of logits that live at a time

/// Calls body(begin, rows, logits [rows, N], images [rows, D]) for every tile of rows.
template <class Body>
void for_each_block(const Tensor& images, const Tensor& texts, const Tensor& scale,
                    const Tensor& bias, const Body& body) {
  const auto columns = texts.t();
  for (int64_t begin = 0; begin < images.size(0); begin += kTile) {
    const auto rows = std::min(kTile, images.size(0) - begin);
    const auto block = images.narrow(0, begin, rows);
    body(begin, rows, block.mm(columns).mul_(scale).add_(bias), block);
  }
}

}  // namespace

Tensor sigmoid_loss(const Tensor& image, const Tensor& text, const Tensor& scale,
                    const Tensor& bias) {
  const auto type = at::toOpMathType(image.scalar_type());
  const auto images = image.to(type);
  auto sum = at::zeros({}, images.options().dtype(at::kDouble));
  for_each_block(images, text.to(type), scale.to(type), bias.to(type),
                 [&](int64_t begin, int64_t rows, const Tensor& logits, const Tensor&) {
                   logits.narrow(1, begin, rows).diagonal().neg_();
                   // log_sigmoid(-s) = -softplus(s), exact where softplus() turns linear.
                   sum.sub_(at::log_sigmoid(logits.neg_()).sum(at::kDouble));
                 });
  return sum.div_(image.size(0)).to(type);
}

SigmoidLossGradients sigmoid_loss_backward(const Tensor& grad, const Tensor& image,
                                           const Tensor& text, const Tensor& scale,
                                           const Tensor& bias) {
  const auto type = at::toOpMathType(image.scalar_type());
  const auto images = image.to(type), texts = text.to(type), temperature = scale.to(type);
  const auto image_sum = at::empty_like(images, at::MemoryFormat::Contiguous);
  auto text_sum = at::zeros_like(texts, at::MemoryFormat::Contiguous);
  auto total = at::zeros({}, images.options().dtype(at::kDouble));
  for_each_block(images, texts, temperature, bias.to(type),
                 [&](int64_t begin, int64_t rows, const Tensor& logits, const Tensor& block) {
                   // sigmoid(s) - 1 loses its digits where sigmoid(s) nears 1.
                   const auto diagonal = logits.narrow(1, begin, rows).diagonal();
                   const auto own = at::sigmoid(-diagonal).neg_();
                   auto weights = logits.sigmoid();
                   weights.narrow(1, begin, rows).diagonal().copy_(own);
                   auto out = image_sum.narrow(0, begin, rows);
                   at::mm_out(out, weights, texts);
                   text_sum.addmm_(weights.t(), block);
                   total.add_(weights.sum(at::kDouble));
                 });
  const auto factor = grad.to(type) / image.size(0);
  const auto scale_grad = (images * image_sum).sum().mul_(factor);
  const auto scaled = factor * temperature;
  return {image_sum.mul_(scaled).to(image.scalar_type()),
          text_sum.mul_(scaled).to(text.scalar_type()), scale_grad.to(scale.scalar_type()),
          (total.to(type) * factor).to(bias.scalar_type())};
}

}  // namespace weft::ops::cpu
