#include <algorithm>
#include <cmath>
#include <map>

#include <ATen/CPUGeneratorImpl.h>
#include <torch/types.h>

#include <weft/eval/linear_probe.hpp>
#include <weft/eval/retrieval.hpp>

#include "eval/lbfgs.hpp"

namespace weft::eval {
namespace {

constexpr int kStepsPerDecade = 8, kDecades = 12, kFirstStride = 2 * kStepsPerDecade;

void check(const char* who, const at::Tensor& features, const at::Tensor& labels, int64_t classes) {
  TORCH_CHECK_VALUE(features.dim() == 2 && features.numel() > 0 && features.is_floating_point() &&
                        labels.dim() == 1 && labels.size(0) == features.size(0) &&
                        labels.scalar_type() == at::kLong,
                    who, ": features must be [N, D] and labels [N] int64, got ", features.sizes(),
                    " ", features.scalar_type(), " and ", labels.sizes(), " ",
                    labels.scalar_type());
  TORCH_CHECK_VALUE(features.isfinite().all().item<bool>(), who, ": features must be finite");
  const auto low = labels.min().item<int64_t>(), high = labels.max().item<int64_t>();
  TORCH_CHECK_VALUE(low >= 0 && high < classes, who, ": labels must be 0 to ", classes - 1,
                    ", got ", low, " to ", high);
}

/// Which of the samples the sweep scores: of each class a share, but never its last one.
std::pair<at::Tensor, at::Tensor> held_out(const at::Tensor& labels, int64_t classes,
                                           const LinearProbeOptions& options) {
  const auto host = labels.cpu().contiguous();
  const auto* label = host.const_data_ptr<int64_t>();
  std::vector<int64_t> quota(classes);
  for (int64_t i = 0; i < host.numel(); ++i) ++quota[label[i]];
  for (auto& count : quota)
    count = std::min<int64_t>(
        static_cast<int64_t>(std::llround(static_cast<double>(count) * options.held_out)),
        count - 1);
  auto generator = at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(options.seed));
  const auto order = at::randperm(host.numel(), generator, at::dtype(at::kLong));
  std::vector<int64_t> fitted, held;
  for (int64_t i = 0; i < order.numel(); ++i) {
    const auto sample = order.const_data_ptr<int64_t>()[i];
    (quota[label[sample]]-- > 0 ? held : fitted).push_back(sample);
  }
  return {at::tensor(fitted, at::kLong).to(labels.device()),
          at::tensor(held, at::kLong).to(labels.device())};
}

LinearProbe fit_probe(const at::Tensor& features, const at::Tensor& labels, int64_t classes,
                      double c, const LinearProbeOptions& options) {
  LinearProbe out;
  auto x = features;
  if (options.standardize) {
    x = features.to(at::kDouble);
    out.mean = x.mean(0);
    out.scale = (x - out.mean).square().mean(0).sqrt();
    // A feature that never changes says nothing; it must not become NaN.
    out.scale = at::where(out.scale > 1e-12 * out.mean.abs(), out.scale, at::ones_like(out.scale));
    x = (x - out.mean) / out.scale;
  }
  out.fit = fit_logistic(
      x, labels, classes,
      {.c = c, .max_iterations = options.max_iterations, .tolerance = options.tolerance});
  return out;
}

}  // namespace

LogisticFit fit_logistic(const at::Tensor& features, const at::Tensor& labels, int64_t classes,
                         const LogisticOptions& options) {
  check("fit_logistic", features, labels, classes);
  TORCH_CHECK_VALUE(options.c > 0, "fit_logistic: c must be positive, got ", options.c);
  const torch::NoGradGuard no_grad;
  const auto x = features.to(at::kDouble).contiguous();    // [N, D]
  const auto target = labels.to(x.device()).unsqueeze(1);  // [N, 1]
  const auto count = x.size(0), width = x.size(1), weights = classes * width;
  const auto penalty = 1 / (options.c * static_cast<double>(count));
  const auto objective = [&](const at::Tensor& p) {
    const auto weight = p.narrow(0, 0, weights).view({classes, width});
    const auto bias = p.narrow(0, weights, classes);
    const auto log_probability = at::addmm(bias, x, weight.t()).log_softmax(1);  // [N, C]
    const auto loss =
        log_probability.gather(1, target).mean().neg() + weight.square().sum() * (penalty / 2);
    auto slope = log_probability.exp();  // of the logits, times N
    slope.scatter_add_(1, target, at::full_like(target, -1, slope.options()));
    slope.div_(static_cast<double>(count));
    auto gradient = at::empty_like(p);
    auto weight_gradient = gradient.narrow(0, 0, weights).view({classes, width});
    at::mm_out(weight_gradient, slope.t(), x);
    weight_gradient.add_(weight, penalty);
    gradient.narrow(0, weights, classes).copy_(slope.sum(0));
    return std::pair(loss.item<double>(), gradient);
  };
  const auto found =
      lbfgs(objective, at::zeros({weights + classes}, x.options()),
            {.max_iterations = options.max_iterations, .tolerance = options.tolerance});
  return {.weight = found.x.narrow(0, 0, weights).view({classes, width}).clone(),
          .bias = found.x.narrow(0, weights, classes).clone(),
          .c = options.c,
          .objective = found.value,
          .gradient = found.gradient,
          .iterations = found.iterations,
          .converged = found.converged};
}

at::Tensor LinearProbe::scores(const at::Tensor& features) const {
  TORCH_CHECK_VALUE(features.dim() == 2 && features.size(1) == fit.weight.size(1),
                    "LinearProbe: features must be [N, ", fit.weight.size(1), "], got ",
                    features.sizes());
  auto x = features.to(fit.weight.device(), at::kDouble);
  if (mean.defined()) x = (x - mean) / scale;
  return at::addmm(fit.bias, x, fit.weight.t());
}

Json LinearProbe::json() const {
  auto steps = Json::array();
  for (const auto& [c, accuracy] : sweep)
    steps.push_back(Json::object({{"c", c}, {"accuracy", accuracy}}));
  return Json::object({{"c", fit.c},
                       {"objective", fit.objective},
                       {"gradient", fit.gradient},
                       {"iterations", fit.iterations},
                       {"converged", fit.converged},
                       {"sweep", steps}});
}

LinearProbe linear_probe(const at::Tensor& features, const at::Tensor& given_labels,
                         int64_t classes, const LinearProbeOptions& options) {
  check("linear_probe", features, given_labels, classes);
  const torch::NoGradGuard no_grad;
  const auto labels = given_labels.to(features.device());
  if (options.c) return fit_probe(features, labels, classes, *options.c, options);
  TORCH_CHECK_VALUE(options.held_out > 0 && options.held_out < 1,
                    "linear_probe: held_out must lie between 0 and 1, got ", options.held_out);
  const auto [fitted, held] = held_out(labels, classes, options);
  TORCH_CHECK_VALUE(held.numel() > 0, "linear_probe: ", labels.numel(),
                    " samples leave none to hold out at ", options.held_out,
                    "; raise held_out or fix c");
  const auto train = features.index_select(0, fitted), check_on = features.index_select(0, held);
  const auto train_labels = labels.index_select(0, fitted);
  const auto check_labels = labels.index_select(0, held);

  const auto c_of = [](int step) {
    return std::pow(10.0, -kDecades / 2.0 + static_cast<double>(step) / kStepsPerDecade);
  };
  std::map<int, double> accuracy;  // by step
  const auto try_step = [&](int step) {
    if (step < 0 || step > kDecades * kStepsPerDecade || accuracy.count(step)) return;
    const auto probe = fit_probe(train, train_labels, classes, c_of(step), options);
    accuracy[step] = top1_accuracy(probe.scores(check_on), check_labels);
  };
  const auto best = [&] {
    return std::max_element(accuracy.begin(), accuracy.end(),
                            [](const auto& a, const auto& b) { return a.second < b.second; })
        ->first;
  };
  for (int step = 0; step <= kDecades * kStepsPerDecade; step += kFirstStride) try_step(step);
  for (int stride = kFirstStride / 2; stride > 0; stride /= 2) {
    const auto peak = best();
    try_step(peak - stride);
    try_step(peak + stride);
  }
  auto out = fit_probe(features, labels, classes, c_of(best()), options);
  for (const auto& [step, share] : accuracy) out.sweep.emplace_back(c_of(step), share);
  return out;
}

}  // namespace weft::eval
