#pragma once

#include "tokenizers/pipeline.hpp"
#include "tokenizers/spm_file.hpp"

namespace weft::tokenizers {

/// A SentencePiece model as sentencepiece itself reads it: no special tokens are added, and a text
/// names none.
class SpmTokenizer final : public Pipeline {
 public:
  SpmTokenizer(std::string bytes, const std::string& file);

  /// To a path that ends in .model the file that was read; else a tokenizer.json of the same model,
  /// whose ids are those of Hugging Face's conversion.
  void save(const std::filesystem::path& path) const override;
  std::string file_name() const override { return "tokenizer.model"; }

 private:
  std::string bytes_;
};

/// The tokenizer.json of a model, as transformers converts it: by its kind, or for the
/// tokenizer_class of the tokenizer_config.json (T5Tokenizer and LlamaTokenizer with their special
/// tokens). Error where the class is another.
json spm_document(const SpmFile& model);
json spm_document(const SpmFile& model, const json& config, const std::string& file);

}  // namespace weft::tokenizers
