#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <weft/data/sample.hpp>
#include <weft/tokenizers/conversation.hpp>

#include "core/fail.hpp"

namespace weft::data {

/// BadSample (image_count) unless the messages hold a mark for each of `images`.
inline void check_image_marks(const std::vector<tokenizers::Message>& messages, size_t images,
                              const std::string& id) {
  size_t marks = 0;
  for (const auto& message : messages) marks += tokenizers::count_image_marks(message.content);
  if (marks == images) return;
  throw BadSample(BadCause::image_count,
                  fmt::format("conversation '{}': {} image(s), and {} mark(s) {} in its turns", id,
                              images, marks, tokenizers::kImageMark));
}

}  // namespace weft::data
