#pragma once

#include "tokenizers/components.hpp"

namespace weft::tokenizers {

struct ClipSplitOptions {
  std::vector<std::string> specials = {};  ///< in lower case; taken whole, before anything else
  bool open_clip = false;       ///< as open_clip's `regex` reads the pattern: any case, its tables
  bool split_specials = false;  ///< GPT-2's pattern follows, which cuts only the specials further
};

/// CLIP's pattern; what it does not match (white space) is dropped:
///   special|special|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+
class ClipSplit final : public PreTokenizer {
 public:
  explicit ClipSplit(ClipSplitOptions options) : options_(std::move(options)) {}
  void split(Text& text, std::vector<Piece>& pieces) const override;
  bool gives_bytes() const override { return options_.open_clip || options_.split_specials; }
  const ClipSplitOptions& options() const { return options_; }

 private:
  size_t special(std::string_view rest) const;
  size_t contraction(std::string_view rest) const;
  size_t same(std::string_view rest, std::string_view lower) const;

  ClipSplitOptions options_;
};

/// The pattern as CLIP's tokenizer.json has it.
extern const char* const kClipPattern;

/// Whether `pattern` is that, with or without the specials; those it names.
std::optional<std::vector<std::string>> clip_specials(std::string_view pattern);

}  // namespace weft::tokenizers
