#include <ATen/ops/arange.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/tensor.h>
#include <torch/types.h>

#include <weft/data/stream.hpp>
#include <weft/eval/negatives.hpp>
#include <weft/eval/retrieval.hpp>

#include "core/fail.hpp"

namespace weft::eval {

std::map<std::string, std::string> read_negatives(const std::string& shards,
                                                  const std::string& name) {
  data::SampleStream stream({.shards = shards, .needs_image = false, .needs_caption = false});
  std::map<std::string, std::string> out;
  while (const auto sample = stream.next()) {
    const auto json = sample->fields.find("json");
    if (json == sample->fields.end()) continue;
    try {
      const auto value = Json::parse(json->second, sample->shard + ": " + sample->key).get(name);
      if (value.is_string()) out[sample->key] = value.as_string();
    } catch (const Error&) {
      continue;  // whoever loads the images counts and reports it
    }
  }
  if (out.empty()) fail("{}: no sample's JSON has a text under '{}'", shards, name);
  return out;
}

Json negatives(models::DualEncoderImpl& model, const tokenizers::Tokenizer& tokenizer,
               const PairFeatures& pairs, const PairRows& rows,
               const std::map<std::string, std::string>& wrong, const FeatureOptions& options) {
  std::vector<int64_t> images, first;  // with a wrong caption, and the first right caption of each
  std::vector<std::string> texts;
  const auto owner = pairs.owner.contiguous();
  int64_t caption = 0;
  for (int64_t i = 0; i < static_cast<int64_t>(pairs.keys.size()); ++i) {
    while (caption < owner.numel() && owner.data_ptr<int64_t>()[caption] < i) ++caption;
    const auto found = wrong.find(pairs.keys[i]);
    if (found == wrong.end()) continue;
    images.push_back(i);
    first.push_back(caption);
    texts.push_back(found->second);
  }
  if (texts.empty()) fail("no evaluated image has a wrong caption");
  const torch::NoGradGuard no_grad;
  const auto device = rows.image.device();
  const auto image = rows.image.index_select(0, at::tensor(images, at::kLong).to(device));
  const auto right = rows.text.index_select(0, at::tensor(first, at::kLong).to(device));
  const auto negative = model.project_text(text_features(model, tokenizer, texts, options));
  const auto labels = at::arange(image.size(0), at::TensorOptions(at::kLong).device(device));
  return Json::object({{"image_to_text_r1", top1_accuracy(at::mm(image, negative.t()), labels)},
                       {"prefers_right", pair_accuracy(image, right, negative)},
                       {"images", image.size(0)}});
}

}  // namespace weft::eval
