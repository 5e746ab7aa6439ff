#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/data/conversations.hpp>
#include <weft/tokenizers/chat_template.hpp>
#include <weft/tokenizers/tokenizer.hpp>

namespace weft::data {

/// What a text holds for an image.
struct VisualTokens {
  VisualTokens(int64_t placeholders, std::vector<int64_t> all = {})  // NOLINT: a number is enough
      : count(placeholders), ids(std::move(all)) {}
  int64_t count;             ///< placeholders
  std::vector<int64_t> ids;  ///< these and the tokens around them; empty = the placeholders alone
};

/// Conversations as a language model reads them.
struct ConversationTokens {
  std::vector<int64_t> ids = {};       ///< with a placeholder for each visual token
  std::vector<int64_t> targets = {};   ///< what each token is to predict; -100 = no matter
  std::vector<int64_t> branches = {};  ///< as LmInput.branches; empty = none
  int64_t prefix = 0;                  ///< tokens at the start that see each other both ways
  std::vector<int64_t> images = {};    ///< numbers, in the order of their placeholders
  bool cut = false;                    ///< something at the end did not fit
  bool copied = false;  ///< of shared turns, which could not: each question has its own images
};

struct ConversationEncoderOptions {
  int64_t image_token;  ///< id of placeholders; it need not be one of the vocabulary
  Turns turns = Turns::joint;
  int64_t max_length = 2048;  ///< tokens, the visual ones included
  /// What stands in front of the first answer is a prefix that sees itself in both directions
  /// (PaliGemma). Texts are cut into tokens apart from the answers behind them then, as when these
  /// are generated.
  bool prefix_attention = false;
};

/// Writes conversations by a chat template and cuts them into tokens. A template that writes images
/// of lists of parts ({"type": "image"}, {"type": "text"}), or reads nothing else, gets contents
/// so, cut at the marks <image>, next to which line breaks are left out; what it writes for an
/// image is that mark or the vocabulary's placeholder. What is learned comes from where the
/// template put the answers, never from tokens that look like them: a token of which a byte lies in
/// RenderedChat::assistant().
class WEFT_API ConversationEncoder {
 public:
  /// Error (usage) for shared turns with prefix_attention, where the images see the question.
  ConversationEncoder(std::shared_ptr<const tokenizers::Tokenizer> tokenizer,
                      tokenizers::ChatTemplate chat, const ConversationEncoderOptions& options);

  /// visual[i]: of image i. Turns::alone is the source's affair and reads as joint.
  /// What exceeds max_length at the end is left out: tokens, or with shared turns the questions
  /// that do not fit. Shared turns whose texts differ in front of their last image, or of which a
  /// template writes nothing between that and an answer, have a copy of the images each, as many
  /// times in `images`: what alone would learn of them, in one sequence. BadSample: image_count
  /// where the marks are not as many as the images, or the words hold the vocabulary's placeholder,
  /// too_long where nothing that is learned would be left. Error that shows the text where nothing
  /// of it is learned at all.
  ConversationTokens encode(const Conversation& conversation,
                            const std::vector<VisualTokens>& visual) const;
  /// The same with the worse answer at its end.
  ConversationTokens encode_rejected(const Conversation& conversation,
                                     const std::vector<VisualTokens>& visual) const;
  /// What an answer to the last question is to follow.
  ConversationTokens prompt(const std::vector<tokenizers::Message>& messages,
                            const std::vector<int64_t>& images,
                            const std::vector<VisualTokens>& visual) const;
  /// What the template writes behind an answer and the vocabulary knows as one special token: it
  /// ends a generated one. Empty where there is none.
  std::vector<int64_t> end_tokens() const;

  /// The tokens as text for people: visual tokens as "<image: 81 tokens>", what is learned in green
  /// between brackets of its own (`colour`: by escape codes).
  std::string show(const ConversationTokens& tokens, bool colour) const;

  const tokenizers::Tokenizer& tokenizer() const { return *tokenizer_; }
  const tokenizers::ChatTemplate& chat() const { return chat_; }
  const ConversationEncoderOptions& options() const { return options_; }

 private:
  struct Row;
  Row row(const std::vector<tokenizers::Message>& messages, const std::vector<VisualTokens>& visual,
          bool prompt, const std::string& id) const;
  void check_learns(const Row& row, const Conversation& conversation) const;
  ConversationTokens merge(std::vector<Row> rows, const Conversation& conversation) const;
  ConversationTokens finish(Row row, const Conversation& conversation) const;

  std::shared_ptr<const tokenizers::Tokenizer> tokenizer_;
  tokenizers::ChatTemplate chat_;
  ConversationEncoderOptions options_;
  std::string placeholder_;  // as the vocabulary writes it; empty where it has none
  bool parts_;               // the template gets contents as lists of parts
};

}  // namespace weft::data
