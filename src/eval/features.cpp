#include <algorithm>
#include <numeric>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <weft/eval/features.hpp>
#include <weft/text/token_batch.hpp>

#include "eval/chunks.hpp"
#include "eval/eval_mode.hpp"

namespace weft::eval {
namespace {

torch::Device device_of(const torch::nn::Module& module) {
  const auto parameters = module.parameters();
  return parameters.empty() ? torch::Device(torch::kCPU) : parameters.front().device();
}

}  // namespace

int64_t text_limit(const Encoder& encoder, const FeatureOptions& options) {
  const auto allowed = encoder.info().max_tokens;
  return allowed > 0 ? std::min(allowed, options.max_text_tokens) : options.max_text_tokens;
}

at::Tensor encode_images(Encoder& encoder, const EncodeFunction& encode, const at::Tensor& pixels,
                         const FeatureOptions& options) {
  TORCH_CHECK_VALUE(pixels.dim() == 4 && pixels.size(0) > 0,
                    "encode_images: pixels must be [B, 3, S, S], got ", pixels.sizes());
  const torch::NoGradGuard no_grad;
  const EvalMode eval(encoder);
  const auto device = device_of(encoder);
  std::vector<at::Tensor> rows;
  for (int64_t begin = 0; begin < pixels.size(0); begin += options.image_batch) {
    const auto batch =
        pixels.narrow(0, begin, std::min(options.image_batch, pixels.size(0) - begin));
    const nn::PrecisionGuard precision(device.type(), options.precision);
    rows.push_back(encode({.data = batch.to(device)}).to(torch::kFloat32));
    if (options.progress) options.progress(begin + batch.size(0));
  }
  return at::cat(rows);
}

at::Tensor encode_texts(Encoder& encoder, const EncodeFunction& encode,
                        const tokenizers::Tokenizer& tokenizer,
                        const std::vector<std::string>& texts, const FeatureOptions& options) {
  TORCH_CHECK_VALUE(!texts.empty(), "encode_texts: no text was given");
  const torch::NoGradGuard no_grad;
  const EvalMode eval(encoder);
  const auto device = device_of(encoder);
  const auto limit = text_limit(encoder, options);

  // Neighbours of similar length need little padding; the longest come first, so that memory does
  // not grow later.
  std::vector<int64_t> order(texts.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return texts[a].size() > texts[b].size(); });

  at::Tensor out;
  std::vector<std::string> batch;
  for (size_t begin = 0; begin < order.size(); begin += options.text_batch) {
    const size_t count = std::min<size_t>(options.text_batch, order.size() - begin);
    batch.clear();
    for (size_t i = 0; i < count; ++i) batch.push_back(texts[order[begin + i]]);
    const auto tokens = text::tokenize(tokenizer, batch, limit, options.threads);
    const nn::PrecisionGuard precision(device.type(), options.precision);
    const auto rows =
        encode({.data = tokens.ids.to(device), .mask = tokens.mask.to(device)}).to(torch::kFloat32);
    if (!out.defined())
      out = at::empty({static_cast<int64_t>(texts.size()), rows.size(1)}, rows.options());
    const auto places =
        at::from_blob(order.data() + begin, {static_cast<int64_t>(count)}, at::kLong);
    out.index_copy_(0, places.to(device), rows);
  }
  return out;
}

at::Tensor image_features(models::DualEncoderImpl& model, const at::Tensor& pixels,
                          const FeatureOptions& options) {
  return encode_images(
      *model.image, [&](const EncoderInput& x) { return model.image_features(x); }, pixels,
      options);
}

at::Tensor text_features(models::DualEncoderImpl& model, const tokenizers::Tokenizer& tokenizer,
                         const std::vector<std::string>& texts, const FeatureOptions& options) {
  return encode_texts(
      *model.text, [&](const EncoderInput& x) { return model.text_features(x); }, tokenizer, texts,
      options);
}

PairRows embed(models::DualEncoderImpl& model, const PairFeatures& pairs) {
  const torch::NoGradGuard no_grad;
  const EvalMode eval(model);
  return {model.project_image(pairs.image), model.project_text(pairs.text)};
}

PairFeatures pair_features(models::DualEncoderImpl& model, const tokenizers::Tokenizer& tokenizer,
                           data::ImageTextLoader& loader, const FeatureOptions& options,
                           report::Stages& stages) {
  PairFeatures out;
  std::vector<at::Tensor> image, text;
  std::vector<int64_t> owner;
  size_t described = 0;  // captions whose features are there
  for_each_chunk(
      loader, options, stages,
      [&](data::ImageTextBatch& batch) {
        for (size_t i = 0; i < batch.keys.size(); ++i) {
          for (auto& caption : batch.captions[i]) {
            out.captions.push_back(std::move(caption));
            owner.push_back(static_cast<int64_t>(out.keys.size()));
          }
          out.keys.push_back(std::move(batch.keys[i]));
        }
      },
      [&](const at::Tensor& pixels, const FeatureOptions& shifted) {
        image.push_back(image_features(model, pixels, shifted));
        stages.lap("image_features");
        if (!options.text) return;
        text.push_back(text_features(
            model, tokenizer, {out.captions.begin() + described, out.captions.end()}, shifted));
        described = out.captions.size();
        stages.lap("text_features");
      });
  out.image = at::cat(image);
  if (options.text) out.text = at::cat(text);
  out.owner = at::tensor(owner, at::kLong);
  return out;
}

}  // namespace weft::eval
