#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/core/json.hpp>

namespace weft::eval {

/// A question about an image and what people answered: one answer, or VQAv2's ten.
struct VqaItem {
  std::string question;
  std::vector<std::string> answers;
  std::string kind = {};  ///< "yes/no", "number" or "other"; empty: answer_kind() of the answers
};

/// An answer as exact match compares it: str.lower(), without white space around it and without
/// final full stops; LLaVA's convert_gqa_for_eval.py prepares answers for GQA so.
WEFT_API std::string exact_form(std::string_view answer);

/// An answer as VQAv2's published evaluation compares it (Goyal et al., 2017; vqaEval.py of
/// GT-Vision-Lab/VQA): punctuation taken out, or made a space where no white space is beside it and
/// no comma inside a number; full stops that no digit follows taken out (the first 32, as there);
/// lower case; "none" and zero to ten as numerals; articles dropped; contractions with their
/// apostrophes.
/// Differs from it: only ASCII digits count as such.
WEFT_API std::string vqa_form(std::string_view answer);

/// VQAv2's soft accuracy: the mean, over the answers, of min(1, equal ones among the others / 3).
/// As in the published evaluation, all is compared as written (white space aside) where every
/// person gave the same answer, else by vqa_form(). 0 without answers.
WEFT_API double vqa_accuracy(std::string_view prediction, const std::vector<std::string>& answers);

/// The kind of the most frequent answer, the first of equally frequent ones: "yes/no" where it is
/// one of these words, "number" for a numeral or a word from zero to ten, else "other".
WEFT_API std::string answer_kind(const std::vector<std::string>& answers);

struct VqaShare {
  int64_t samples = 0;
  double accuracy = 0;  ///< a fraction; 0 without samples
};

struct VqaResult {
  VqaShare overall;
  std::map<std::string, VqaShare> by_kind = {};
  /// {"accuracy", "samples", "by_kind": {"number": {"accuracy", "samples"}, ...}}
  WEFT_API Json json() const;
};

/// The share of predictions that equal one of the answers by exact_form(). GQA's accuracy, where
/// each question has one answer. Throws c10::ValueError unless there is a prediction an item.
WEFT_API VqaResult exact_match(const std::vector<VqaItem>& items,
                               const std::vector<std::string>& predictions);

/// The mean of vqa_accuracy().
WEFT_API VqaResult vqa_soft_accuracy(const std::vector<VqaItem>& items,
                                     const std::vector<std::string>& predictions);

/// What can be answered without a look at the image: the answers that a training set's questions
/// have most often (Goyal et al., 2017, section 5, "prior"; and per question). Every prior should
/// be beaten by a model that sees. Answers count by exact_form(), the earlier of equal ones first.
class WEFT_API AnswerPriors {
 public:
  /// Throws c10::ValueError where `train` holds no answer.
  explicit AnswerPriors(const std::vector<VqaItem>& train);
  const std::string& majority() const { return majority_; }
  /// The most frequent answer to the same question (by exact_form() without a question mark), or
  /// the majority's for a question that was never asked.
  const std::string& answer(std::string_view question) const;

  /// Either for each item, as predictions.
  std::vector<std::string> majority_of(const std::vector<VqaItem>& items) const;
  std::vector<std::string> answers_of(const std::vector<VqaItem>& items) const;

 private:
  std::string majority_;
  std::map<std::string, std::string> by_question_;
};

/// Whether an answer is a yes as POPE reads it (Li et al., 2023; its evaluate.py): of the first
/// sentence, commas dropped, the words between spaces are compared, and it is a no where one of
/// them is "No", "not" or "no"; everything else is a yes, "NO" and an empty answer too.
WEFT_API bool pope_says_yes(std::string_view answer);

/// How well a model tells present from absent; yes is the positive class. 0 where a quotient has no
/// denominator.
struct YesNoResult {
  int64_t samples = 0, true_positives = 0, false_positives = 0, true_negatives = 0,
          false_negatives = 0;
  double accuracy = 0, precision = 0, recall = 0, f1 = 0;
  double yes_share = 0;  ///< of the predictions: 0.5 is right on a balanced set
  /// {"accuracy", "precision", "recall", "f1", "yes_share", "samples"}
  WEFT_API Json json() const;
};

/// POPE's five figures of predictions read by pope_says_yes(). Throws c10::ValueError unless there
/// is a prediction a label.
WEFT_API YesNoResult pope(const std::vector<std::string>& predictions,
                          const std::vector<bool>& labels);

}  // namespace weft::eval
