#pragma once

#include "tokenizers/components.hpp"

namespace weft::tokenizers {

/// GPT-2's byte alphabet: each byte as a printable character ('Ġ' is the space).
const std::string& byte_symbol(uint8_t byte);
/// The bytes of a token written in that alphabet; false where another character is met.
bool append_symbol_bytes(std::string_view token, std::string& bytes);

/// Splits by GPT-2's pattern
///   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
/// where use_regex says so. The text stays in raw bytes: the model reads bytes as symbols.
class ByteLevel final : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex)
      : add_prefix_space_(add_prefix_space), use_regex_(use_regex) {}
  void split(Text& text, std::vector<Piece>& pieces) const override;
  bool gives_bytes() const override { return true; }
  /// By the pattern, adding nothing.
  bool splits_only() const { return use_regex_ && !add_prefix_space_; }

 private:
  bool add_prefix_space_;
  bool use_regex_;
};

/// The pattern as a Split has it.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// A split by that pattern alone.
class ByteLevelSplit final : public PreTokenizer {
 public:
  void split(Text& text, std::vector<Piece>& pieces) const override;
};

/// Sets digits apart: each, or runs of them.
class Digits final : public PreTokenizer {
 public:
  explicit Digits(bool individual) : individual_(individual) {}
  void split(Text& text, std::vector<Piece>& pieces) const override;

 private:
  bool individual_;
};

class PreTokenizerSequence final : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(std::vector<std::unique_ptr<PreTokenizer>> parts)
      : parts_(std::move(parts)) {}
  void split(Text& text, std::vector<Piece>& pieces) const override {
    for (const auto& part : parts_) part->split(text, pieces);
  }
  bool gives_bytes() const override { return !parts_.empty() && parts_.back()->gives_bytes(); }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

/// Tokens back to bytes; a token with characters outside the alphabet stands for itself.
class ByteLevelDecoder final : public Decoder {
 public:
  std::unique_ptr<DecodeStage> start(DecodeStage* next) const override;
};

}  // namespace weft::tokenizers
