#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/core/json.hpp>
#include <weft/data/conversations.hpp>
#include <weft/data/grounding.hpp>
#include <weft/eval/answers.hpp>
#include <weft/eval/grounding.hpp>
#include <weft/eval/vqa.hpp>
#include <weft/io/image.hpp>

/// Scores of the answers to a data set's questions; said[i] is what was answered to asked[i].
namespace weft::eval {

WEFT_API std::vector<VqaItem> vqa_items(const std::vector<AskedQuestion>& asked);

/// exact_match(), "vqa_accuracy" where a question has several right answers, and with priors
/// "majority_answer" and "answer_by_question": theirs.
WEFT_API Json score_vqa(const std::vector<AskedQuestion>& asked,
                        const std::vector<std::string>& said, const AnswerPriors* priors = nullptr);

/// pope() of the questions whose right answer is yes or no; Error where there is none.
WEFT_API Json score_yes_no(const std::vector<AskedQuestion>& asked,
                           const std::vector<std::string>& said);

/// caption_scores() against all right answers.
WEFT_API Json score_captions(const std::vector<AskedQuestion>& asked,
                             const std::vector<std::string>& said);

/// How a model and its data write boxes.
struct GroundingFormats {
  data::GroundingFormat said = data::GroundingFormat::plain;
  data::GroundingFormat expected = data::GroundingFormat::plain;
};

/// What an answer and the first right one say of places in the question's own first image.
struct SaidPlaces {
  data::GroundedText said = {}, expected = {};
};
WEFT_API SaidPlaces places_of(const AskedQuestion& asked, const std::string& said,
                              const io::Image& image, const GroundingFormats& formats);

/// grounding() in the first of each question's own images, which are of `source`; Error names a
/// question that has none.
WEFT_API GroundingResult score_grounding(const std::vector<AskedQuestion>& asked,
                                         const std::vector<std::string>& said,
                                         const data::ConversationSource& source,
                                         const GroundingFormats& formats);

/// A line of JSON a question: {"id", "question", "answer", "expected": [...]}.
WEFT_API void write_predictions(const std::vector<AskedQuestion>& asked,
                                const std::vector<std::string>& said,
                                const std::filesystem::path& path);

}  // namespace weft::eval
