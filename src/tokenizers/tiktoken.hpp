#pragma once

#include "tokenizers/bpe.hpp"
#include "tokenizers/pipeline.hpp"

namespace weft::tokenizers {

/// token bytes and their ranks.
using Ranks = std::vector<std::pair<std::string, int64_t>>;

/// Reads lines of base64 and a rank. Error names the line; a token or a rank that stands there
/// twice and a byte that is missing are errors.
Ranks parse_tiktoken(std::string_view text, const std::string& name);

/// A .tiktoken file as tiktoken's encode_ordinary() reads texts: a piece that is a token is taken
/// whole, else the two neighbours that together are the token of lowest rank are merged first.
class TiktokenTokenizer final : public Pipeline {
 public:
  TiktokenTokenizer(Ranks ranks, TiktokenPattern pattern, const std::string& file);

  /// To a path that ends in .tiktoken the ranks; else a tokenizer.json as transformers converts it.
  void save(const std::filesystem::path& path) const override;

 private:
  TiktokenPattern pattern_;
};

}  // namespace weft::tokenizers
