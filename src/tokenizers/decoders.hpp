#pragma once

#include <string>
#include <string_view>

#include "tokenizers/components.hpp"
#include "tokenizers/regex.hpp"

/// Decoders of a tokenizer.json as stages of a stream: tokens come in one by one, each in one or
/// more parts, and go on to the next stage as soon as it is known what they become.
namespace weft::tokenizers {

/// Takes whole UTF-8 characters off the front of `bytes`; an unfinished one at the end stays. What
/// is invalid becomes U+FFFD.
std::string take_characters(std::string& bytes);

/// A stage that needs whole tokens.
class TokenStage : public DecodeStage {
 public:
  using DecodeStage::DecodeStage;
  void push(std::string_view part, bool last) final {
    token_ += part;
    if (!last) return;
    take(token_);
    token_.clear();
  }

 protected:
  virtual void take(std::string& token) = 0;

 private:
  std::string token_;
};

/// Tokens that stand for bytes, which need not be whole characters; all of them are one text.
class BytesStage : public TokenStage {
 public:
  using TokenStage::TokenStage;
  void finish() final;

 protected:
  virtual void append(const std::string& token, std::string& bytes) = 0;

 private:
  void take(std::string& token) final {
    append(token, bytes_);
    next_->push(take_characters(bytes_), false);
  }
  std::string bytes_;
};

/// The end of a chain: collects the text.
class CollectStage final : public DecodeStage {
 public:
  CollectStage() : DecodeStage(this) {}
  void push(std::string_view part, bool) override { text += part; }
  void finish() override {}

  std::string text = {};
};

/// Tokens joined by spaces: what a file without a decoder asks for.
class JoinDecoder final : public Decoder {
 public:
  std::unique_ptr<DecodeStage> start(DecodeStage* next) const override;
};

/// All tokens as one.
class FuseDecoder final : public Decoder {
 public:
  std::unique_ptr<DecodeStage> start(DecodeStage* next) const override;
};

/// Runs of tokens <0x00> to <0xFF> as the characters that they spell; a run that spells none gives
/// U+FFFD for each.
class ByteFallbackDecoder final : public Decoder {
 public:
  std::unique_ptr<DecodeStage> start(DecodeStage* next) const override;
};
/// The byte of such a token, or -1.
int fallback_byte(std::string_view token);

/// Every match of the pattern in a token by `content`.
class ReplaceDecoder final : public Decoder {
 public:
  ReplaceDecoder(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  std::unique_ptr<DecodeStage> start(DecodeStage* next) const override;

 private:
  Regex pattern_;
  std::string content_;
};

/// At most `begin` characters `content` off the front of a token and `end` off its back.
class StripDecoder final : public Decoder {
 public:
  StripDecoder(std::string content, int64_t begin, int64_t end)
      : content_(std::move(content)), begin_(begin), end_(end) {}
  std::unique_ptr<DecodeStage> start(DecodeStage* next) const override;

 private:
  std::string content_;
  int64_t begin_, end_;
};

/// `replacement` to a space; in the first token to nothing where the scheme put one there.
class MetaspaceDecoder final : public Decoder {
 public:
  MetaspaceDecoder(std::string replacement, bool prepended)
      : replacement_(std::move(replacement)), prepended_(prepended) {}
  std::unique_ptr<DecodeStage> start(DecodeStage* next) const override;

 private:
  std::string replacement_;
  bool prepended_;
};

/// `suffix` to a space, and to nothing in the last token.
class BpeDecoder final : public Decoder {
 public:
  explicit BpeDecoder(std::string suffix) : suffix_(std::move(suffix)) {}
  std::unique_ptr<DecodeStage> start(DecodeStage* next) const override;

 private:
  std::string suffix_;
};

class DecoderSequence final : public Decoder {
 public:
  explicit DecoderSequence(std::vector<std::unique_ptr<Decoder>> parts)
      : parts_(std::move(parts)) {}
  std::unique_ptr<DecodeStage> start(DecodeStage* next) const override;

 private:
  std::vector<std::unique_ptr<Decoder>> parts_;
};

}  // namespace weft::tokenizers
