#pragma once

#include <cstdint>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/data/conversations.hpp>
#include <weft/eval/answers.hpp>

namespace weft::eval {

struct QuestionOptions {
  bool blind = false;            ///< without the images and their marks
  bool first_only = false;       ///< of each conversation
  int64_t limit = 0;             ///< this many; 0 = all
  data::BadData* bad = nullptr;  ///< counts conversations that cannot be read; null = BadSample
};

/// The questions of conversations, each behind the turns before it with their right answers, and
/// about the images that have been shown by then.
WEFT_API std::vector<AskedQuestion> questions_of(const data::ConversationSource& source,
                                                 const QuestionOptions& options = {});

/// Gives each question the images half of all further on: what is still answered right is known
/// without looking. `images`: how many there are. Throws c10::ValueError where that is one.
WEFT_API void shuffle_images(std::vector<AskedQuestion>& asked, int64_t images);

}  // namespace weft::eval
