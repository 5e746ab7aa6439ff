#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/core/export.hpp>
#include <weft/eval/answer_scores.hpp>
#include <weft/eval/answers.hpp>
#include <weft/io/image.hpp>
#include <weft/report/html.hpp>

namespace weft::eval {

/// A map [rows, columns] of answer_maps() over the picture that it is of.
WEFT_API io::Image map_overlay(const io::Image& picture, const at::Tensor& map,
                               const vision::TilingOptions& tiling);

/// A model with all by which it was asked.
struct AskedModel {
  const checkpoint::VlmFolder& folder;
  const data::ConversationEncoder& encoder;
  const data::ConversationSource& source;    ///< of the questions' images
  const data::ReadVisual& read;              ///< as in answer()
  const VisualFeatures* features = nullptr;  ///< likewise
};

struct AnswerReportOptions {
  int64_t pictures = 12;
  /// Boxes are drawn, and an answer is right whose first one has an IoU of 0.5 with the expected.
  std::optional<GroundingFormats> boxes = {};
  bool yes_no = false;       ///< answers to what is yes or no are read by pope_says_yes()
  int64_t side = 480;        ///< longest of a picture, in pixels
  int64_t token_side = 112;  ///< the same of a token's own
};

/// Questions with their pictures and answers, half of them right and half wrong where there are as
/// many, from all over the data: what the answer rests on beside the picture, and behind a click
/// what each of its tokens does, by answer_maps(). answers[i] is of asked[i] and has no damage.
WEFT_API void add_answers(report::HtmlReport& page, const AskedModel& model,
                          const std::vector<AskedQuestion>& asked,
                          const std::vector<VisualAnswer>& answers,
                          const AnswerReportOptions& options = {});

}  // namespace weft::eval
