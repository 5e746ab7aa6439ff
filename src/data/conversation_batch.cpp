#include "data/conversation_batch.hpp"

#include <algorithm>
#include <utility>

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>

#include <weft/ops/linear_cross_entropy.hpp>

namespace weft::data {

void BatchBuilder::add(const ConversationTokens& tokens, const std::vector<VisualInput>& visuals) {
  row_.ids.insert(row_.ids.end(), tokens.ids.begin(), tokens.ids.end());
  row_.targets.insert(row_.targets.end(), tokens.targets.begin(), tokens.targets.end());
  row_.segments.resize(row_.ids.size(), segment_++);
  row_.spans.resize(row_.spans.size() + static_cast<size_t>(tokens.prefix), 1);
  row_.spans.resize(row_.ids.size(), 0);
  row_.branches.insert(row_.branches.end(), tokens.branches.begin(), tokens.branches.end());
  row_.branches.resize(row_.ids.size(), 0);
  for (size_t i = 0; i < tokens.images.size(); ++i) {
    const auto& visual = visuals[i % visuals.size()];  // turns may have a copy each
    image_rows_.add(visual.row, visual.pixels.defined() ? visual.pixels.size(0) : 0);
    if (visual.pixels.defined()) pixels_.push_back(visual.pixels);
  }
  numbers_.insert(numbers_.end(), tokens.images.begin(), tokens.images.end());
}

void BatchBuilder::end_row() {
  if (!row_.ids.empty()) rows_.push_back(std::exchange(row_, {}));
  segment_ = 0;
}

at::Tensor BatchBuilder::padded(Member member, int64_t length, int64_t fill) const {
  auto out = at::full({static_cast<int64_t>(rows_.size()), length}, fill, at::kLong);
  for (size_t i = 0; i < rows_.size(); ++i)
    std::ranges::copy(rows_[i].*member, out.data_ptr<int64_t>() + static_cast<int64_t>(i) * length);
  return out;
}

bool BatchBuilder::any_other_than_zero(Member member) const {
  return std::ranges::any_of(rows_, [&](const Row& row) {
    return std::ranges::any_of(row.*member, [](int64_t value) { return value != 0; });
  });
}

void BatchBuilder::finish(ConversationBatch& batch) {
  end_row();
  if (rows_.empty()) return;
  size_t longest = 0;
  for (const auto& row : rows_) longest = std::max(longest, row.ids.size());
  const auto T = static_cast<int64_t>(longest);
  batch.targets = padded(&Row::targets, T, ops::kIgnoredLabel);
  auto& text = batch.text;
  text.ids = padded(&Row::ids, T, 0);
  text.mask = at::full(text.ids.sizes(), false, at::kBool);
  for (size_t i = 0; i < rows_.size(); ++i)
    text.mask[static_cast<int64_t>(i)]
        .narrow(0, 0, static_cast<int64_t>(rows_[i].ids.size()))
        .fill_(true);
  if (any_other_than_zero(&Row::segments)) text.segments = padded(&Row::segments, T, -1);
  if (any_other_than_zero(&Row::branches)) text.branches = padded(&Row::branches, T, 0);
  if (prefixes_) text.spans = padded(&Row::spans, T, 0);
  if (!pixels_.empty()) batch.images.data = at::cat(pixels_);
  batch.images.images = image_rows_.images();
  batch.numbers = std::move(numbers_);
}

}  // namespace weft::data
