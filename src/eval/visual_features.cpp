#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <torch/utils.h>

#include <weft/eval/visual_features.hpp>

#include "data/ordered_jobs.hpp"
#include "eval/eval_mode.hpp"
#include "vision/image_rows.hpp"

namespace weft::eval {
namespace {

struct ReadImage {
  data::VisualInput input = {};
  std::optional<data::BadSample> bad = {};
};

}  // namespace

std::optional<VisualFeatures> VisualFeatures::compute(models::VlmImpl& model, int64_t count,
                                                      const data::ReadVisual& read,
                                                      const VisualFeatureOptions& options) {
  const at::NoGradGuard no_grad;
  const EvalMode eval(*model.vision);
  const auto device = model.vision->parameters().front().device();
  const nn::PrecisionGuard precision(device.type(), options.precision);
  VisualFeatures out;
  int64_t next = 0;
  data::OrderedJobs<int64_t, ReadImage> jobs(
      options.workers, 2 * options.batch_size,
      [&]() -> std::optional<int64_t> {
        return next < count ? std::optional(next++) : std::nullopt;
      },
      [&](int64_t number) {
        ReadImage image;
        try {
          image.input = read(number);
        } catch (const data::BadSample& error) {
          image.bad = error;
        }
        return image;
      });
  std::optional<report::Progress> line;
  if (options.console != nullptr) line.emplace(*options.console, "image features", count, "images");
  std::vector<at::Tensor> pixels;
  int64_t used = 0;  // tiles in tokens_
  const auto flush = [&] {
    if (pixels.empty()) return true;
    auto tokens = model.see({.data = at::cat(pixels).to(device)}).tokens;
    if (options.precision == nn::Precision::bf16) tokens = tokens.to(at::kBFloat16);
    pixels.clear();
    const auto tiles = used + tokens.size(0);
    const auto each = static_cast<int64_t>(tokens[0].nbytes());
    const auto images = static_cast<int64_t>(out.inputs_.size());
    if (tiles * each / std::max<int64_t>(images, 1) * count > options.max_bytes) return false;
    if (!out.tokens_.defined() || tiles > out.tokens_.size(0)) {
      // Room for all images, if they go on as they began.
      const auto room = std::max(tiles, tiles * count / std::max<int64_t>(images, 1) + 1);
      auto grown = at::empty({room, tokens.size(1), tokens.size(2)}, tokens.options());
      if (out.tokens_.defined()) grown.narrow(0, 0, used).copy_(out.tokens_.narrow(0, 0, used));
      out.tokens_ = grown;
    }
    out.tokens_.narrow(0, used, tokens.size(0)).copy_(tokens);
    used = tiles;
    return true;
  };
  const auto give_up = [&] {
    if (line) line->finish();
    return std::nullopt;
  };
  while (auto image = jobs.next()) {
    auto& [number, made] = *image;
    if (made.bad) out.bad_.emplace(number, *made.bad);
    const auto tiles = made.input.pixels.defined() ? made.input.pixels.size(0) : 0;
    if (tiles > 0) pixels.push_back(std::exchange(made.input.pixels, {}));
    out.first_.push_back(out.first_.back() + tiles);
    out.inputs_.push_back(std::move(made.input));
    if (static_cast<int64_t>(pixels.size()) == options.batch_size && !flush()) return give_up();
    if (options.progress) options.progress(number + 1);
    if (line) line->update(number + 1);
  }
  if (!flush()) return give_up();
  if (line) line->finish();
  if (used > 0) out.tokens_ = out.tokens_.narrow(0, 0, used);
  return out;
}

data::ReadVisual VisualFeatures::reader() const {
  return [this](int64_t number) {
    if (const auto found = bad_.find(number); found != bad_.end()) throw found->second;
    return inputs_[static_cast<size_t>(number)];
  };
}

EncoderOutput VisualFeatures::of(const std::vector<int64_t>& numbers) const {
  std::vector<at::Tensor> tokens;
  vision::ImageRows rows;
  for (const auto number : numbers) {
    const auto i = static_cast<size_t>(number);
    const auto count = first_[i + 1] - first_[i];
    tokens.push_back(tokens_.narrow(0, first_[i], count));
    rows.add(inputs_[i].row, count);
  }
  return {.tokens = at::cat(tokens), .images = rows.images()};
}

}  // namespace weft::eval
