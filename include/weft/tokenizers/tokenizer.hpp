#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/core/options.hpp>

namespace weft::tokenizers {

/// A half-open span of the input text in code points, as Hugging Face counts them. Special tokens
/// that a post-processor adds, and padding, have {0, 0}.
struct Offset {
  int64_t begin = 0;
  int64_t end = 0;
  bool operator==(const Offset&) const = default;
};

/// One text as tokens. All four have the same length.
struct Encoding {
  std::vector<int64_t> ids = {};
  std::vector<std::string> tokens = {};
  std::vector<Offset> offsets = {};
  std::vector<int64_t> mask = {};  ///< 1 = real, 0 = padding
};

/// A batch of ids without tokens and offsets: `ids` and `mask` are [rows, columns], row-major.
struct IdBatch {
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<int64_t> ids = {};
  std::vector<int64_t> mask = {};  ///< 1 = real, 0 = padding
};

enum class Padding { none, longest, max_length };
enum class Side { right, left };

struct EncodeOptions {
  bool add_special_tokens = true;
  int64_t max_length = 0;           ///< special tokens included; 0 = no truncation
  Padding padding = Padding::none;  ///< longest: of the batch (of one text: none)
  Side padding_side = Side::right;
  Side truncation_side = Side::right;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("add_special_tokens", o.add_special_tokens);
    v("max_length", o.max_length);
    v("padding", o.padding);
    v("padding_side", o.padding_side);
    v("truncation_side", o.truncation_side);
  }
};

/// Text of tokens that arrive one by one (generation).
class WEFT_API DecodeStream {
 public:
  virtual ~DecodeStream();
  /// The text that `id` completes: whole UTF-8 characters only, so it may be empty.
  virtual std::string push(int64_t id) = 0;
  /// What is left at the end; an unfinished character becomes U+FFFD. All pushes and the flush
  /// together equal decode() of the ids.
  virtual std::string flush() = 0;
};

/// Text <-> ids. Every method may be called from several threads at once.
/// Text is UTF-8; each maximal invalid sequence is read as one U+FFFD. A text above 10 MB is an
/// Error. Truncation keeps the special tokens, as Hugging Face does: the text is cut to max_length
/// minus their number; a max_length that leaves no room for them is an Error.
class WEFT_API Tokenizer {
 public:
  virtual ~Tokenizer();

  virtual Encoding encode(std::string_view text, const EncodeOptions& options = {}) const = 0;

  /// The ids of encode() alone, into `out` (replaced): the fast way where tokens and offsets are
  /// not needed.
  virtual void encode_ids(std::string_view text, const EncodeOptions& options,
                          std::vector<int64_t>& out) const;

  /// encode() of each text, on `threads` threads; padded as the options say.
  std::vector<Encoding> encode_batch(const std::vector<std::string>& texts,
                                     const EncodeOptions& options = {}, int threads = 1) const;

  /// encode_ids() of each text as one padded matrix. Padding::none is read as longest.
  IdBatch encode_ids_batch(const std::vector<std::string>& texts, const EncodeOptions& options = {},
                           int threads = 1) const;

  /// Ids that the vocabulary lacks are left out.
  virtual std::string decode(const std::vector<int64_t>& ids, bool skip_special = true) const = 0;
  /// The stream must not outlive the tokenizer.
  virtual std::unique_ptr<DecodeStream> stream(bool skip_special = true) const = 0;

  /// Number of distinct ids: vocabulary and added tokens.
  virtual int64_t vocab_size() const = 0;
  virtual std::optional<int64_t> id(std::string_view token) const = 0;
  /// Error where the vocabulary has no such id.
  virtual std::string token(int64_t id) const = 0;
  /// Whether decode() leaves the id out when it skips special tokens.
  virtual bool is_special(int64_t id) const = 0;
  /// Error where no padding token is known.
  virtual int64_t pad_id() const = 0;

  /// Writes a tokenizer.json that Hugging Face's `tokenizers` reads; to a path that ends in
  /// .txt.gz, OpenAI's vocabulary of CLIP, which only a tokenizer read from one can.
  virtual void save(const std::filesystem::path& path) const = 0;
  /// The name in a folder under which save() keeps everything: tokenizer.json, or
  /// bpe_simple_vocab_16e6.txt.gz, whose cleaning of texts a tokenizer.json cannot express.
  virtual std::string file_name() const { return "tokenizer.json"; }
};

/// The files that load_tokenizer() looks for in a folder: the first that is there is read,
/// vocab.json with merges.txt.
inline constexpr std::string_view kTokenizerFiles[] = {"bpe_simple_vocab_16e6.txt.gz",
                                                       "tokenizer.json",
                                                       "vocab.txt",
                                                       "vocab.json",
                                                       "tokenizer.model",
                                                       "spiece.model"};

/// That file of a folder; an empty path where there is none of them.
WEFT_API std::filesystem::path find_tokenizer(const std::filesystem::path& folder);

/// Reads `path`: a tokenizer.json, a BERT vocab.txt, a GPT-2 vocab.json with merges.txt beside it,
/// a SentencePiece .model, a .tiktoken file, OpenAI's bpe_simple_vocab_16e6.txt.gz, or a folder
/// that holds one of kTokenizerFiles. OpenAI's file is read as open_clip does, with its cleaning of
/// texts and 0 as padding; CLIP's tokenizer.json as Hugging Face does. A .model is read as
/// sentencepiece does; in a folder with a tokenizer_config.json as transformers does for its
/// tokenizer_class (T5Tokenizer, LlamaTokenizer, SiglipTokenizer). A .tiktoken file is told by its
/// name (gpt2, r50k, p50k, multilingual, cl100k, o200k); load_tiktoken() reads others. A
/// tokenizer_config.json beside the file names the padding token and, for a vocab.txt,
/// do_lower_case, strip_accents and tokenize_chinese_chars; for a vocab.json, the special tokens
/// and add_prefix_space; for a .model, the special tokens, add_bos_token, add_eos_token,
/// add_prefix_space, legacy and extra_ids.
/// The truncation and padding stored in a tokenizer.json are kept by save() but not applied:
/// EncodeOptions decide. Errors name the file and the key, or the component that is not supported.
WEFT_API std::shared_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path);

/// How a vocabulary of tiktoken splits texts: gpt2 (also r50k, p50k and Whisper's files), cl100k,
/// o200k, and the patterns of Llama 3 and Qwen 2.
enum class TiktokenPattern { gpt2, cl100k, o200k, llama3, qwen2 };

/// Reads a .tiktoken file (lines of base64 and a rank). Ids are those of tiktoken's
/// encode_ordinary(): special tokens in a text are text.
WEFT_API std::shared_ptr<Tokenizer> load_tiktoken(const std::filesystem::path& path,
                                                  TiktokenPattern pattern);

}  // namespace weft::tokenizers

namespace weft {
template <>
inline constexpr std::string_view enum_names<tokenizers::Padding>[] = {"none", "longest",
                                                                       "max_length"};
template <>
inline constexpr std::string_view enum_names<tokenizers::Side>[] = {"right", "left"};
template <>
inline constexpr std::string_view enum_names<tokenizers::TiktokenPattern>[] = {
    "gpt2", "cl100k", "o200k", "llama3", "qwen2"};
}  // namespace weft
