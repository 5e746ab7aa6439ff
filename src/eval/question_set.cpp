#include <algorithm>

#include <weft/data/sample.hpp>
#include <weft/eval/question_set.hpp>
#include <weft/tokenizers/conversation.hpp>

namespace weft::eval {
namespace {

size_t marks_of(const std::vector<tokenizers::Message>& messages) {
  size_t out = 0;
  for (const auto& message : messages) out += tokenizers::count_image_marks(message.content);
  return out;
}

}  // namespace

std::vector<AskedQuestion> questions_of(const data::ConversationSource& source,
                                        const QuestionOptions& options) {
  std::vector<AskedQuestion> out;
  for (int64_t i = 0; i < source.size(); ++i) {
    data::Conversation talk;
    try {
      talk = source.read(i);
    } catch (const data::BadSample& error) {
      if (options.bad == nullptr) throw;
      options.bad->add(error.cause(), source.file(i), source.offset(i), error.what());
      continue;
    }
    const bool marked = marks_of(talk.messages) == talk.images.size();
    const size_t first = talk.messages.front().role == "system" ? 1 : 0;
    for (size_t k = first; k + 1 < talk.messages.size(); k += 2) {
      AskedQuestion one{.id = talk.id,
                        .text = tokenizers::without_image_marks(talk.messages[k].content),
                        .images = talk.images};
      const auto end = talk.messages.begin() + static_cast<int64_t>(k) + 1;
      one.question.messages.assign(talk.messages.begin(), end);
      one.question.images = talk.images;
      if (marked) one.question.images.resize(marks_of(one.question.messages));
      if (options.blind) {
        one.question.images = {};
        for (auto& message : one.question.messages)
          message.content = tokenizers::without_image_marks(message.content);
      }
      const bool last = k + 2 == talk.messages.size();
      one.answers = last && !talk.references.empty() ? talk.references
                                                     : std::vector{talk.messages[k + 1].content};
      out.push_back(std::move(one));
      if (options.limit > 0 && static_cast<int64_t>(out.size()) == options.limit) return out;
      if (options.first_only) break;
    }
  }
  return out;
}

void shuffle_images(std::vector<AskedQuestion>& asked, int64_t images) {
  const auto shows_none = [](const AskedQuestion& one) { return one.question.images.empty(); };
  TORCH_CHECK_VALUE(images > 1 || std::ranges::all_of(asked, shows_none),
                    "shuffle_images: there must be another image, got ", images);
  for (auto& one : asked)
    for (auto& image : one.question.images) image = (image + images / 2) % images;
}

}  // namespace weft::eval
