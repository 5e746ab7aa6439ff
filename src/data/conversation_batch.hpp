#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/data/conversation_loader.hpp>

#include "vision/image_rows.hpp"

namespace weft::data {

/// A batch while it is put together, row by row.
class BatchBuilder {
 public:
  /// `prefixes`: batches say where the prefix of each conversation ends (LmInput::spans).
  explicit BatchBuilder(bool prefixes) : prefixes_(prefixes) {}

  /// Appends a conversation to the row that is open, and its images as often as it has them.
  void add(const ConversationTokens& tokens, const std::vector<VisualInput>& visuals);
  /// What comes next stands in another row.
  void end_row();
  /// Text, targets, images and their numbers. Leaves them undefined where there is no row.
  void finish(ConversationBatch& batch);

 private:
  struct Row {
    std::vector<int64_t> ids = {}, targets = {}, branches = {}, segments = {}, spans = {};
  };
  using Member = std::vector<int64_t> Row::*;
  at::Tensor padded(Member member, int64_t length, int64_t fill) const;
  bool any_other_than_zero(Member member) const;

  bool prefixes_;
  std::vector<Row> rows_;
  Row row_;
  int64_t segment_ = 0;
  std::vector<at::Tensor> pixels_;
  vision::ImageRows image_rows_;
  std::vector<int64_t> numbers_;
};

}  // namespace weft::data
