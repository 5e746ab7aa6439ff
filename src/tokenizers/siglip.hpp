#pragma once

#include "tokenizers/pipeline.hpp"
#include "tokenizers/spm_file.hpp"

namespace weft::tokenizers {

/// transformers' SiglipTokenizer over a SentencePiece model (big_vision's canonicalize): lower case
/// where do_lower_case says so (the default), ASCII punctuation out, white space made one; the
/// eos_token behind every text that does not end with it, and the pad_token, by default the same
/// "</s>" (id 1), as padding.
class SiglipTokenizer final : public Pipeline {
 public:
  /// `config` is the tokenizer_config.json.
  SiglipTokenizer(std::string bytes, const json& config, const std::string& file);

  Encoding encode(std::string_view text, const EncodeOptions& options) const override;
  void encode_ids(std::string_view text, const EncodeOptions& options,
                  std::vector<int64_t>& out) const override;

  /// A path that ends in .model; Error for a tokenizer.json, which cannot express the cleaning. The
  /// tokenizer_config.json that names SiglipTokenizer is the folder's.
  void save(const std::filesystem::path& path) const override;
  std::string file_name() const override { return "spiece.model"; }

 private:
  bool ends_twice(const std::vector<int64_t>& ids, const EncodeOptions& options) const;

  std::string bytes_;
  int64_t eos_ = 0;
};

}  // namespace weft::tokenizers
