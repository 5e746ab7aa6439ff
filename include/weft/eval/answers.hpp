#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/data/conversation_loader.hpp>
#include <weft/data/conversation_tokens.hpp>
#include <weft/eval/visual_features.hpp>
#include <weft/models/vlm.hpp>
#include <weft/text/generation.hpp>

namespace weft::eval {

/// A conversation that ends with a question.
struct VisualQuestion {
  std::vector<tokenizers::Message> messages = {};
  std::vector<int64_t> images = {};  ///< numbers, in the order of their marks
};

/// A question of a data set.
struct AskedQuestion {
  std::string id = {};    ///< its conversation's
  std::string text = {};  ///< without the turns before it and the marks of images
  VisualQuestion question = {};
  std::vector<int64_t> images = {};       ///< its own, whatever `question` shows the model
  std::vector<std::string> answers = {};  ///< right ones
};

struct VisualAnswer {
  std::string text = {};  ///< without white space at its ends
  std::vector<int64_t> ids = {};
  int64_t prompt_tokens = 0;  ///< in front of it, the visual ones included
  int64_t visual_tokens = 0;
  bool finished = false;    ///< by an end token or a stop text
  std::string damage = {};  ///< why there is no answer; empty = there is one
};

struct AnswerOptions {
  int64_t batch_size = 16;
  text::GenerateOptions generate = {};
  /// Texts have their special tokens but for the end: the marks of places in some formats
  /// (data/grounding.hpp) are such.
  bool keep_special = false;
  std::function<void(int64_t done)> progress = {};
};

/// What the model says to each question, in their order; batches are of prompts of about one
/// length. `features` in the place of the tower where they are given, `read` being their reader().
WEFT_API std::vector<VisualAnswer> answer(models::VlmImpl& model,
                                          const data::ConversationEncoder& encoder,
                                          const std::vector<VisualQuestion>& questions,
                                          const data::ReadVisual& read,
                                          const AnswerOptions& options,
                                          const VisualFeatures* features = nullptr);

/// How much each token of an answer rests on each visual token: the mean over layers and heads of
/// the attention of the position that predicts it. `visual` is VlmImpl::see() of the prompt's
/// images. Returns [A, M] fp32, A = answer's tokens, M = placeholders of the prompt. A placeholder
/// that the model itself wrote is read as the vocabulary's first token.
WEFT_API at::Tensor answer_attention(models::VlmImpl& model, const data::ConversationTokens& prompt,
                                     const std::vector<int64_t>& answer,
                                     const EncoderOutput& visual);

/// The same of the first image, as maps of the view of all of it, [A, rows, columns]; with tiles
/// that is one of them (data::view_placement() says where it lies), in front of or, as Idefics3 and
/// InternVL have it, behind the others: `first_tokens` are the visual tokens of that image, 0 =
/// those of one view. Undefined where there is none: without images, and behind connectors whose
/// tokens have no places in an image, as those of a resampler.
WEFT_API at::Tensor answer_maps(models::VlmImpl& model, const data::ConversationTokens& prompt,
                                const std::vector<int64_t>& answer, const EncoderOutput& visual,
                                int64_t first_tokens = 0);
/// The same of an answer to a question, whose images are read again.
WEFT_API at::Tensor answer_maps(models::VlmImpl& model, const data::ConversationEncoder& encoder,
                                const VisualQuestion& question, const std::vector<int64_t>& answer,
                                const data::ReadVisual& read,
                                const VisualFeatures* features = nullptr);

}  // namespace weft::eval
