#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/core/json.hpp>

namespace weft::eval {

/// The words of a caption, near to what COCO's evaluation compares (the Penn Treebank's rules by
/// Stanford's PTBTokenizer, then punctuation dropped): lower case; ' " ` . , : ; ? ! ( ) [ ] { }
/// and dashes dropped, except inside numbers (1,000 3.5 10:30), inside words (t-shirt, o'clock,
/// u.s) and beside n't 's 'm 'd 'll 're 've, which are words of their own (do n't, man 's), as are
/// the halves of cannot, gimme, gonna, gotta, lemme and wanna; other ASCII symbols (& % $ # ...)
/// are words of their own, except / and _ between letters or digits; all else is letters. Differs
/// from it: brackets are dropped (there they stay as -lrb-), and so is the full stop of
/// abbreviations (mr.).
WEFT_API std::vector<std::string> caption_words(std::string_view caption);

struct CaptionOptions {
  bool tokenize = true;  ///< false: words are what white space parts, as written

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("tokenize", o.tokenize);
  }
};

struct CaptionScores {
  int64_t samples = 0;
  std::array<double, 4> bleu = {};  ///< BLEU-1 to BLEU-4 of the corpus
  double rouge_l = 0;
  double cider = 0;                         ///< CIDEr-D; 10 for captions that all agree
  std::vector<double> sample_rouge_l = {};  ///< [samples]; rouge_l is their mean
  std::vector<double> sample_cider = {};
  /// {"bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "cider", "samples"}
  WEFT_API Json json() const;
};

/// Generated captions against those that people wrote, `references[i]` of image i. The numbers of
/// pycocoevalcap, given the same words:
/// - BLEU of the corpus (Papineni et al., 2002, section 2.3), each caption's reference length the
///   closest, the shorter of two; 1e-15 is added to matches and 1e-9 to counts and lengths, as
///   there.
/// - ROUGE-L (Lin, 2004, section 3.1): the F measure, beta 1.2, of the best precision and the best
///   recall of the longest common subsequences with the references.
/// - CIDEr-D (Vedantam et al., 2015, section 4, appendix A): tf-idf of 1- to 4-grams with document
///   frequencies from these references, counts clipped, sigma 6 (lengths in bigrams, as there),
///   times 10. One image alone scores 0, since no word tells it from others.
/// Throws c10::ValueError unless there are a caption and a reference at least for each image.
WEFT_API CaptionScores caption_scores(const std::vector<std::string>& captions,
                                      const std::vector<std::vector<std::string>>& references,
                                      const CaptionOptions& options = {});

}  // namespace weft::eval
