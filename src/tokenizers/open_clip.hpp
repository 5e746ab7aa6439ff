#pragma once

#include "tokenizers/bpe.hpp"
#include "tokenizers/pipeline.hpp"

namespace weft::tokenizers {

inline constexpr const char* kOpenAiFile = "bpe_simple_vocab_16e6.txt.gz";
inline constexpr size_t kOpenAiMerges = 49152 - 256 - 2;

/// The merges of OpenAI's file, gzipped: a line with its name, then a merge a line, of which the
/// first 48,894 count. Errors name the file and the line.
Bpe::Merges read_openai_merges(const std::filesystem::path& file);
/// The same of the unpacked text, with another number of merges.
Bpe::Merges parse_openai_merges(std::string_view text, size_t count, const std::string& name);
/// The bytes behind a gzip header.
std::string unpack_gzip(std::string_view bytes, const std::string& name);

/// open_clip's SimpleTokenizer: its cleaning and its pattern over OpenAI's merges. The ids are the
/// 256 bytes, the bytes at the end of a word, the merges, <start_of_text> and <end_of_text>.
class OpenClipTokenizer final : public Pipeline {
 public:
  OpenClipTokenizer(Bpe::Merges merges, const std::string& file);

  Encoding encode(std::string_view text, const EncodeOptions& options) const override;
  void encode_ids(std::string_view text, const EncodeOptions& options,
                  std::vector<int64_t>& out) const override;
  /// A tokenizer.json is that of Hugging Face's CLIP, with its cleaning.
  void save(const std::filesystem::path& path) const override;
  std::string file_name() const override { return kOpenAiFile; }
};

}  // namespace weft::tokenizers
