#include <functional>

#include <c10/util/Exception.h>

#include <weft/eval/vqa.hpp>

#include "tokenizers/python_text.hpp"

namespace weft::eval {
namespace {

using AnswerScore = std::function<double(const VqaItem&, const std::string&)>;

VqaResult score_answers(const char* who, const std::vector<VqaItem>& items,
                        const std::vector<std::string>& predictions, const AnswerScore& score) {
  TORCH_CHECK_VALUE(items.size() == predictions.size(), who,
                    ": expects a prediction for each item, got ", predictions.size(), " for ",
                    items.size());
  VqaResult out;
  for (size_t i = 0; i < items.size(); ++i) {
    const auto value = score(items[i], predictions[i]);
    auto& kind = out.by_kind[items[i].kind.empty() ? answer_kind(items[i].answers) : items[i].kind];
    for (auto* share : {&out.overall, &kind}) share->accuracy += value, ++share->samples;
  }
  const auto mean = [](VqaShare& share) {
    if (share.samples > 0) share.accuracy /= static_cast<double>(share.samples);
  };
  mean(out.overall);
  for (auto& [name, share] : out.by_kind) mean(share);
  return out;
}

/// Counts answers; the earlier of equally frequent ones stands first.
class AnswerCounts {
 public:
  void add(const std::string& answer) {
    const auto count = ++counts_[answer];
    const auto place = first_.emplace(answer, first_.size()).first->second;
    if (count > most_ || (count == most_ && place < first_.at(best_)))
      best_ = answer, most_ = count;
  }
  const std::string& best() const { return best_; }
  bool empty() const { return most_ == 0; }

 private:
  std::map<std::string, int64_t> counts_;
  std::map<std::string, size_t> first_;  // its place in the order of first appearance
  std::string best_;
  int64_t most_ = 0;
};

std::string question_form(std::string_view question) {
  auto out = exact_form(question);
  while (out.ends_with('?')) out = exact_form(std::string_view(out).substr(0, out.size() - 1));
  return out;
}

double quotient(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

}  // namespace

Json VqaResult::json() const {
  auto kinds = Json::object();
  for (const auto& [name, share] : by_kind)
    kinds.set(name, Json::object({{"accuracy", share.accuracy}, {"samples", share.samples}}));
  return Json::object(
      {{"accuracy", overall.accuracy}, {"samples", overall.samples}, {"by_kind", kinds}});
}

VqaResult exact_match(const std::vector<VqaItem>& items,
                      const std::vector<std::string>& predictions) {
  return score_answers("exact_match", items, predictions,
                       [](const VqaItem& item, const std::string& prediction) {
                         const auto given = exact_form(prediction);
                         for (const auto& answer : item.answers)
                           if (exact_form(answer) == given) return 1.0;
                         return 0.0;
                       });
}

VqaResult vqa_soft_accuracy(const std::vector<VqaItem>& items,
                            const std::vector<std::string>& predictions) {
  return score_answers("vqa_soft_accuracy", items, predictions,
                       [](const VqaItem& item, const std::string& prediction) {
                         return vqa_accuracy(prediction, item.answers);
                       });
}

AnswerPriors::AnswerPriors(const std::vector<VqaItem>& train) {
  AnswerCounts all;
  std::map<std::string, AnswerCounts> questions;
  for (const auto& item : train) {
    auto& own = questions[question_form(item.question)];
    for (const auto& answer : item.answers) {
      const auto form = exact_form(answer);
      all.add(form);
      own.add(form);
    }
  }
  TORCH_CHECK_VALUE(!all.empty(), "AnswerPriors: needs at least one answer, got none in ",
                    train.size(), " items");
  majority_ = all.best();
  for (const auto& [question, counts] : questions)
    if (!counts.empty()) by_question_[question] = counts.best();
}

const std::string& AnswerPriors::answer(std::string_view question) const {
  const auto found = by_question_.find(question_form(question));
  return found == by_question_.end() ? majority_ : found->second;
}

std::vector<std::string> AnswerPriors::majority_of(const std::vector<VqaItem>& items) const {
  return std::vector<std::string>(items.size(), majority_);
}

std::vector<std::string> AnswerPriors::answers_of(const std::vector<VqaItem>& items) const {
  std::vector<std::string> out;
  for (const auto& item : items) out.push_back(answer(item.question));
  return out;
}

bool pope_says_yes(std::string_view answer) {
  std::string words(1, ' ');
  for (const char c : answer.substr(0, answer.find('.')))
    if (c != ',') words += c;
  words += ' ';
  for (const auto* no : {" No ", " not ", " no "})
    if (words.find(no) != std::string::npos) return false;
  return true;
}

YesNoResult pope(const std::vector<std::string>& predictions, const std::vector<bool>& labels) {
  TORCH_CHECK_VALUE(predictions.size() == labels.size(),
                    "pope: expects a prediction for each label, got ", predictions.size(), " for ",
                    labels.size());
  YesNoResult out;
  for (size_t i = 0; i < labels.size(); ++i) {
    const bool yes = pope_says_yes(predictions[i]);
    ++(yes         ? labels[i] ? out.true_positives : out.false_positives
       : labels[i] ? out.false_negatives
                   : out.true_negatives);
  }
  out.samples = static_cast<int64_t>(labels.size());
  const auto positive = out.true_positives + out.false_positives;
  out.accuracy = quotient(out.true_positives + out.true_negatives, out.samples);
  out.precision = quotient(out.true_positives, positive);
  out.recall = quotient(out.true_positives, out.true_positives + out.false_negatives);
  if (out.true_positives > 0)
    out.f1 = 2 * out.precision * out.recall / (out.precision + out.recall);
  out.yes_share = quotient(positive, out.samples);
  return out;
}

Json YesNoResult::json() const {
  return Json::object({{"accuracy", accuracy},
                       {"precision", precision},
                       {"recall", recall},
                       {"f1", f1},
                       {"yes_share", yes_share},
                       {"samples", samples}});
}

}  // namespace weft::eval
