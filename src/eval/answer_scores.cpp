#include <algorithm>

#include <c10/util/Exception.h>

#include <weft/eval/answer_scores.hpp>
#include <weft/eval/captions.hpp>
#include <weft/io/file.hpp>

#include "core/fail.hpp"

namespace weft::eval {
namespace {

void check_answered(const char* who, const std::vector<AskedQuestion>& asked,
                    const std::vector<std::string>& said) {
  TORCH_CHECK_VALUE(asked.size() == said.size(), who, ": expects an answer for each question, got ",
                    said.size(), " for ", asked.size());
}

}  // namespace

std::vector<VqaItem> vqa_items(const std::vector<AskedQuestion>& asked) {
  std::vector<VqaItem> out;
  for (const auto& one : asked) out.push_back({.question = one.text, .answers = one.answers});
  return out;
}

Json score_vqa(const std::vector<AskedQuestion>& asked, const std::vector<std::string>& said,
               const AnswerPriors* priors) {
  const auto items = vqa_items(asked);
  auto out = exact_match(items, said).json();
  if (std::ranges::any_of(items, [](const auto& item) { return item.answers.size() > 1; }))
    out.set("vqa_accuracy", vqa_soft_accuracy(items, said).json());
  if (priors == nullptr) return out;
  return out.set("majority_answer", exact_match(items, priors->majority_of(items)).json())
      .set("answer_by_question", exact_match(items, priors->answers_of(items)).json());
}

Json score_yes_no(const std::vector<AskedQuestion>& asked, const std::vector<std::string>& said) {
  check_answered("score_yes_no", asked, said);
  std::vector<std::string> predictions;
  std::vector<bool> labels;
  for (size_t i = 0; i < asked.size(); ++i) {
    const auto right = exact_form(asked[i].answers.front());
    if (right != "yes" && right != "no") continue;  // another kind of question in the same data
    labels.push_back(right == "yes");
    predictions.push_back(said[i]);
  }
  if (labels.empty()) fail("yes or no: no answer of the data is one of these");
  return pope(predictions, labels).json();
}

Json score_captions(const std::vector<AskedQuestion>& asked, const std::vector<std::string>& said) {
  std::vector<std::vector<std::string>> references;
  for (const auto& one : asked) references.push_back(one.answers);
  return caption_scores(said, references).json();
}

SaidPlaces places_of(const AskedQuestion& asked, const std::string& said, const io::Image& image,
                     const GroundingFormats& formats) {
  return {.said = data::parse_grounding(said, formats.said, image.width, image.height),
          .expected = data::parse_grounding(asked.answers.front(), formats.expected, image.width,
                                            image.height)};
}

GroundingResult score_grounding(const std::vector<AskedQuestion>& asked,
                                const std::vector<std::string>& said,
                                const data::ConversationSource& source,
                                const GroundingFormats& formats) {
  check_answered("score_grounding", asked, said);
  std::vector<data::GroundedText> answers;
  std::vector<std::vector<data::Box>> truths;
  for (size_t i = 0; i < asked.size(); ++i) {
    if (asked[i].images.empty()) fail("grounding: question '{}' has no image", asked[i].id);
    auto places = places_of(asked[i], said[i], source.image(asked[i].images.front()), formats);
    answers.push_back(std::move(places.said));
    truths.push_back(std::move(places.expected.boxes));
  }
  return grounding(answers, truths);
}

void write_predictions(const std::vector<AskedQuestion>& asked,
                       const std::vector<std::string>& said, const std::filesystem::path& path) {
  check_answered("write_predictions", asked, said);
  std::string lines;
  for (size_t i = 0; i < asked.size(); ++i)
    lines += Json::object({{"id", asked[i].id},
                           {"question", asked[i].text},
                           {"answer", said[i]},
                           {"expected", asked[i].answers}})
                 .dump() +
             "\n";
  io::write_file(path, lines);
}

}  // namespace weft::eval
