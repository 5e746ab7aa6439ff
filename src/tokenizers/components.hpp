#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <weft/tokenizers/tokenizer.hpp>

/// The components of a tokenizer.json:
///   normalizer -> pre_tokenizer -> model -> post_processor, and the decoder for the way back.
/// Each holds no state that changes, so that threads share them.
namespace weft::tokenizers {

using nlohmann::json;

constexpr int64_t kMaxTokens = 4'000'000;  ///< of a vocabulary
constexpr int64_t kMaxMerges = 2'000'000;
constexpr int64_t kMaxTextBytes = 10'000'000;  ///< of one text

constexpr size_t kMaxRewrittenBytes = 160'000'000;

/// Error where a text that rules rewrite has grown out of all proportion.
void check_growth(size_t bytes);

/// A part of the input between added tokens on its way through the pipeline: valid UTF-8 and, where
/// offsets are asked for, the span of the input that each byte comes from.
struct Text {
  std::string bytes = {};
  std::vector<Offset> source = {};  ///< one a byte; empty where `tracked` is false
  bool tracked = false;
  bool at_start = true;  ///< it is the beginning of the input

  void clear() {
    bytes.clear();
    source.clear();
  }
  void append(char32_t code_point, Offset from);
  void append(std::string_view characters, Offset from);
  /// Bytes [begin, end) of another text, which is tracked where this one is.
  void append(const Text& other, size_t begin, size_t end);
  /// Takes the bytes and spans of `other`, which gets those of this one.
  void swap(Text& other) {
    bytes.swap(other.bytes);
    source.swap(other.source);
  }
};

/// Bytes [begin, end) of Text::bytes.
struct Piece {
  size_t begin = 0;
  size_t end = 0;
};

/// A token and the bytes of Text::bytes that it stands for.
struct Token {
  int64_t id = 0;
  size_t begin = 0;
  size_t end = 0;
};

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(Text& text) const = 0;
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Splits every piece further; may rewrite the text.
  virtual void split(Text& text, std::vector<Piece>& pieces) const = 0;
  /// Whether the model is to read bytes as symbols (ByteLevel).
  virtual bool gives_bytes() const { return false; }
};

class Model {
 public:
  virtual ~Model() = default;
  /// Appends the tokens of text[piece].
  virtual void tokenize(std::string_view text, Piece piece, std::vector<Token>& out) const = 0;
  virtual int64_t size() const = 0;
  virtual std::optional<int64_t> id(std::string_view token) const = 0;
  /// nullptr where there is no such id.
  virtual const std::string* token(int64_t id) const = 0;
  /// How Encoding::tokens writes a token of a text.
  virtual std::string written(const Token& token, std::string_view) const {
    return *this->token(token.id);
  }
  virtual json to_json() const = 0;
};

/// What happens to the tokens of one text at the end.
struct PostProcessor {
  static constexpr int64_t kText = -1;
  std::vector<int64_t> single = {kText};  ///< ids of special tokens; kText stands for the text
  bool trim_offsets = false;              ///< ByteLevel: spaces are left out of the offsets
  bool add_prefix_space = false;          ///< ByteLevel: the first space was not in the input

  int64_t added() const { return static_cast<int64_t>(single.size()) - 1; }
  /// Adjusts offsets, before the special tokens are added.
  void adjust(Encoding& encoding) const;
};

/// One step of decoding, with the state of one text.
class DecodeStage {
 public:
  explicit DecodeStage(DecodeStage* next) : next_(next) {}
  virtual ~DecodeStage() = default;
  /// A part of a token; `last` ends the token.
  virtual void push(std::string_view part, bool last) = 0;
  /// The end of the text; the stage is as new afterwards.
  virtual void finish() { next_->finish(); }

 protected:
  DecodeStage* next_;
};

class Decoder {
 public:
  virtual ~Decoder() = default;
  /// A stage that hands on to `next`; neither it nor this decoder may go before the stage.
  virtual std::unique_ptr<DecodeStage> start(DecodeStage* next) const = 0;
};

/// Where a component of a file stands, for its errors.
struct Where {
  std::string file;
  std::string key;
  Where at(std::string_view member) const { return {file, key + "." + std::string(member)}; }
  Where at(size_t index) const { return {file, key + "[" + std::to_string(index) + "]"}; }
};
[[noreturn]] void fail_at(const Where& where, std::string_view what);
/// Component types that this version does not have.
[[noreturn]] void fail_unsupported(const Where& where, std::string_view what);

/// A member of an object, or Error naming the key. `flag` and `text` take a default where the key
/// is absent or null.
const json& member(const json& object, const char* key, const Where& where);
bool flag(const json& object, const char* key, bool otherwise, const Where& where);
std::string text_member(const json& object, const char* key, const std::string& otherwise,
                        const Where& where);
int64_t int_member(const json& object, const char* key, int64_t low, int64_t high,
                   const Where& where);
int64_t int_value(const json& value, int64_t low, int64_t high, const Where& where);
std::string type_of(const json& component, const Where& where);

/// nullptr where the member is absent or null.
const json* optional_member(const json& object, const char* key, const Where& where);
/// The array that a Sequence has under `key`.
const json& parts_of(const json& component, const char* key, const Where& where);

/// token -> id of a JSON object; sorted by id, none twice.
std::vector<std::pair<std::string, int64_t>> read_vocab(const json& object, const Where& where);

std::unique_ptr<Normalizer> make_normalizer(const json& component, const Where& where);
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const json& component, const Where& where);
/// `bytes`: the pre-tokenizer gives bytes.
std::unique_ptr<Model> make_model(const json& component, bool bytes, const Where& where);
PostProcessor make_post_processor(const json& component, const Where& where);
std::unique_ptr<Decoder> make_decoder(const json& component, const Where& where);

}  // namespace weft::tokenizers
