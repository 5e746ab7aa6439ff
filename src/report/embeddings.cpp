#include <algorithm>
#include <cmath>

#include <torch/types.h>

#include <weft/report/embeddings.hpp>

namespace weft::report {

at::Tensor Pca::project(const at::Tensor& rows) const {
  TORCH_CHECK_VALUE(rows.dim() == 2 && rows.size(1) == mean.size(0), "Pca: rows must be [N, ",
                    mean.size(0), "], got ", rows.sizes());
  return (rows.detach().to(at::kCPU, at::kDouble) - mean).mm(components.t());
}

Pca pca(const at::Tensor& rows, int64_t k) {
  TORCH_CHECK_VALUE(rows.dim() == 2 && rows.size(0) > 1 && rows.size(1) > 0 && k > 0,
                    "pca: rows must be [N, D] with N of 2 or more, and k positive, got ",
                    rows.sizes(), " and ", k);
  const auto x = rows.detach().to(at::kCPU, at::kDouble);
  TORCH_CHECK_VALUE(x.isfinite().all().item<bool>(), "pca: rows must be finite");
  k = std::min(k, x.size(1));
  Pca out;
  out.mean = x.mean(0);
  const auto centred = x - out.mean;  // [N, D]
  const auto covariance = centred.t().mm(centred) / static_cast<double>(x.size(0) - 1);
  const auto [values, vectors] = at::linalg_eigh(covariance);  // ascending
  out.variance = values.flip({0}).narrow(0, 0, k).clamp_min(0);
  const auto directions = vectors.t().flip({0}).narrow(0, 0, k);  // [k, D]
  const auto largest = directions.gather(1, directions.abs().argmax(1, /*keepdim=*/true));
  out.components = (directions * largest.sign()).contiguous();
  out.total = covariance.trace().item<double>();
  return out;
}

double modality_gap(const at::Tensor& image, const at::Tensor& text) {
  TORCH_CHECK_VALUE(image.dim() == 2 && text.dim() == 2 && image.size(1) == text.size(1) &&
                        image.size(0) > 0 && text.size(0) > 0,
                    "modality_gap: image and text must be [N, E] and [M, E], got ", image.sizes(),
                    " and ", text.sizes());
  const auto mean = [](const at::Tensor& rows) { return rows.detach().to(at::kDouble).mean(0); };
  return (mean(image) - mean(text)).norm().item<double>();
}

double alignment(const at::Tensor& a, const at::Tensor& b, double alpha) {
  TORCH_CHECK_VALUE(a.dim() == 2 && a.sizes() == b.sizes() && a.size(0) > 0,
                    "alignment: a and b must both be [N, E], got ", a.sizes(), " and ", b.sizes());
  const auto difference = a.detach().to(at::kDouble) - b.detach().to(at::kDouble);
  return difference.norm(2, {1}, /*keepdim=*/false).pow(alpha).mean().item<double>();
}

double uniformity(const at::Tensor& rows, double t) {
  TORCH_CHECK_VALUE(rows.dim() == 2 && rows.size(0) > 1,
                    "uniformity: rows must be [N, E] with N of 2 or more, got ", rows.sizes());
  constexpr int64_t kBlock = 256;
  const auto x = rows.detach().to(at::kDouble);
  const auto square = x.square().sum(1);  // [N]
  const auto count = x.size(0);
  double sum = 0;
  for (int64_t i = 0; i < count; i += kBlock) {
    const auto size = std::min(kBlock, count - i);
    const auto distance = square.narrow(0, i, size).unsqueeze(1) + square -
                          2 * x.narrow(0, i, size).mm(x.t());  // [size, N]
    const auto kernel = (distance.clamp_min(0) * -t).exp();
    sum += (kernel.sum() - kernel.diagonal(i).sum()).item<double>();
  }
  return std::log(sum / (static_cast<double>(count) * static_cast<double>(count - 1)));
}

double mean_cosine(const at::Tensor& rows) {
  TORCH_CHECK_VALUE(rows.dim() == 2 && rows.size(0) > 1,
                    "mean_cosine: rows must be [N, E] with N of 2 or more, got ", rows.sizes());
  const auto x = rows.detach().to(at::kDouble);
  const auto count = static_cast<double>(x.size(0));
  return ((x.sum(0).square().sum() - x.square().sum()) / (count * (count - 1))).item<double>();
}

}  // namespace weft::report
