#include <algorithm>

#include <torch/types.h>

#include <weft/data/labels.hpp>
#include <weft/data/stream.hpp>

#include "core/fail.hpp"

namespace weft::data {
namespace {

constexpr int64_t kMostClasses = 10'000'000;

}  // namespace

int64_t count_classes(const std::string& shards) {
  SampleStream stream({.shards = shards, .needs_image = false, .needs_caption = false});
  int64_t classes = 0;
  std::string missing;
  while (const auto sample = stream.next()) {
    try {
      const auto found = label(*sample);
      if (found >= kMostClasses)
        fail(ErrorKind::bad_data,
             "{}: sample '{}' has the label {}, and a head of so many classes cannot be meant; fix "
             "the sample, or give the number of classes",
             sample->shard, sample->key, found);
      classes = std::max(classes, found + 1);
    } catch (const BadSample& error) {  // whoever trains on the shards counts and reports it
      if (missing.empty())
        missing = fmt::format("{} ({})", error.what(),
                              enum_names<BadCause>[static_cast<size_t>(error.cause())]);
    }
  }
  if (classes == 0)
    fail(ErrorKind::bad_data, "{}: no sample has a label; the first: {}", shards, missing);
  return classes;
}

void check_labels(const ImageTextBatch& batch, int64_t classes) {
  TORCH_CHECK_VALUE(batch.labels.defined(), "check_labels: the loader must have needs_label on");
  const auto* label = batch.labels.const_data_ptr<int64_t>();
  for (size_t i = 0; i < batch.keys.size(); ++i)
    if (label[i] < 0 || label[i] >= classes)
      fail("sample '{}': label {} has no class: there are {}, from 0", batch.keys[i], label[i],
           classes);
}

}  // namespace weft::data
