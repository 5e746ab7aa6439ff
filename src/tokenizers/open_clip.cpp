#include "tokenizers/open_clip.hpp"

#include <unordered_map>

#include <zlib.h>

#include <weft/io/file.hpp>

#include "core/fail.hpp"
#include "tokenizers/byte_level.hpp"
#include "tokenizers/cleaning.hpp"
#include "tokenizers/clip_split.hpp"
#include "tokenizers/decoders.hpp"
#include "tokenizers/documents.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {
namespace {

constexpr const char* kEndOfWord = "</w>";
constexpr const char* kStart = "<start_of_text>";
constexpr const char* kEnd = "<end_of_text>";
constexpr size_t kMaxBytes = 64 << 20;  // unpacked

std::string gzip(const std::string& text, const std::string& name) {
  z_stream stream{};
  if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, 16 + MAX_WBITS, 9,
                   Z_DEFAULT_STRATEGY) != Z_OK)
    fail("{}: zlib cannot start", name);
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, deflateEnd);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  if (deflate(&stream, Z_FINISH) != Z_STREAM_END) fail("{}: zlib cannot pack it", name);
  out.resize(stream.total_out);
  return out;
}

// The bytes in the order of their symbols: printable ones first.
std::vector<std::string> symbols_in_order() {
  std::vector<std::string> out;
  for (const bool printable : {true, false}) {
    for (int byte = 0; byte < 256; ++byte) {
      const auto& symbol = byte_symbol(static_cast<uint8_t>(byte));
      size_t at = 0;
      if ((next_code_point(symbol, at) == static_cast<char32_t>(byte)) == printable)
        out.push_back(symbol);
    }
  }
  return out;
}

// token -> id; the specials under the names given.
std::vector<std::pair<std::string, int64_t>> vocabulary(const Bpe::Merges& merges,
                                                        const char* start, const char* end) {
  std::vector<std::pair<std::string, int64_t>> out;
  const auto add = [&](std::string token) {
    out.emplace_back(std::move(token), static_cast<int64_t>(out.size()));
  };
  const auto symbols = symbols_in_order();
  for (const auto& symbol : symbols) add(symbol);
  for (const auto& symbol : symbols) add(symbol + kEndOfWord);
  for (const auto& [left, right] : merges) add(left + right);
  add(start);
  add(end);
  return out;
}

class WordEndStage final : public BytesStage {
 public:
  using BytesStage::BytesStage;
  void append(const std::string& token, std::string& bytes) override {
    std::string_view symbols = token;
    const bool ends = symbols.ends_with(kEndOfWord);
    if (ends) symbols.remove_suffix(std::string_view(kEndOfWord).size());
    append_symbol_bytes(symbols, bytes);
    if (ends) bytes += ' ';
  }
};

class WordEndDecoder final : public Decoder {
 public:
  std::unique_ptr<DecodeStage> start(DecodeStage* next) const override {
    return std::make_unique<WordEndStage>(next);
  }
};

PipelineParts parts_of(Bpe::Merges merges, const std::string& file) {
  const auto start = static_cast<int64_t>(512 + merges.size());
  const auto tokens = vocabulary(merges, kStart, kEnd);
  PipelineParts parts;
  parts.normalizer = std::make_unique<OpenClipCleaning>();
  parts.pre_tokenizer =
      std::make_unique<ClipSplit>(ClipSplitOptions{.specials = {kStart, kEnd}, .open_clip = true});
  parts.model =
      std::make_unique<Bpe>(BpeOptions{.end_of_word_suffix = kEndOfWord, .whole = {kStart, kEnd}},
                            tokens, std::move(merges), Where{file, "merges"});
  parts.decoder = std::make_unique<WordEndDecoder>();
  parts.post.single = {start, PostProcessor::kText, start + 1};
  parts.specials = {start, start + 1};
  parts.pad = 0;
  return parts;
}

}  // namespace

std::string unpack_gzip(std::string_view bytes, const std::string& name) {
  if (!bytes.starts_with("\x1F\x8B"))
    fail("{}: expected OpenAI's vocabulary, gzipped; found no gzip header", name);
  z_stream stream{};
  if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) fail("{}: zlib cannot start", name);
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string out;
  std::vector<char> buffer(1 << 16);
  int status = Z_OK;
  while (status != Z_STREAM_END) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(buffer.size());
    status = inflate(&stream, Z_NO_FLUSH);
    out.append(buffer.data(), buffer.size() - stream.avail_out);
    if (out.size() > kMaxBytes)
      fail("{}: more than {} bytes unpacked, the limit of a vocabulary", name, kMaxBytes);
    if (status != Z_OK && status != Z_STREAM_END)
      fail("{}: damaged or cut short behind {} unpacked bytes ({})", name, out.size(),
           stream.msg ? stream.msg : zError(status));
  }
  return out;
}

Bpe::Merges parse_openai_merges(std::string_view text, size_t count, const std::string& name) {
  if (const auto valid = valid_utf8_prefix(text); valid < text.size())
    fail("{}: not valid UTF-8 at byte {} unpacked", name, valid);
  Bpe::Merges merges;
  std::unordered_map<std::string_view, size_t> seen;  // token -> line
  std::vector<std::string> tokens;
  tokens.reserve(count + 514);
  const auto known = [&](std::string token, size_t line) {
    tokens.push_back(std::move(token));
    return seen.emplace(tokens.back(), line);
  };
  for (const auto& [token, id] : vocabulary({}, kStart, kEnd)) known(token, 0);
  auto rest = text;
  for (size_t number = 1; merges.size() < count; ++number) {
    if (rest.empty())
      fail("{}: {} merges, expected {}; is the file whole?", name, merges.size(), count);
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (number == 1) continue;
    const auto space = line.find(' ');
    if (space == 0 || space == std::string_view::npos || space + 1 == line.size() ||
        line.find(' ', space + 1) != std::string_view::npos)
      fail("{}: line {}: expected two tokens and a space, found '{}'", name, number, line);
    const auto left = line.substr(0, space), right = line.substr(space + 1);
    for (const auto token : {left, right}) {
      if (!seen.contains(token))
        fail("{}: line {}: the token '{}' is no byte and no merge of a line before", name, number,
             token);
    }
    merges.emplace_back(left, right);
    const auto [at, fresh] = known(merges.back().first + merges.back().second, number);
    if (!fresh)
      fail("{}: line {}: the token '{}' was there before, in line {}", name, number, at->first,
           at->second);
  }
  return merges;
}

Bpe::Merges read_openai_merges(const std::filesystem::path& file) {
  return parse_openai_merges(unpack_gzip(io::read_file(file), file.string()), kOpenAiMerges,
                             file.string());
}

OpenClipTokenizer::OpenClipTokenizer(Bpe::Merges merges, const std::string& file)
    : Pipeline(parts_of(std::move(merges), file), file) {}

Encoding OpenClipTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  if (is_ascii(text)) return Pipeline::encode(text, options);
  return Pipeline::encode(join_surrogates(text), options);
}

void OpenClipTokenizer::encode_ids(std::string_view text, const EncodeOptions& options,
                                   std::vector<int64_t>& out) const {
  if (is_ascii(text)) return Pipeline::encode_ids(text, options, out);
  Pipeline::encode_ids(join_surrogates(text), options, out);
}

void OpenClipTokenizer::save(const std::filesystem::path& path) const {
  const auto& merges = static_cast<const Bpe&>(model()).merges();
  if (path.extension() == ".gz") {
    std::string text = "\"bpe_simple_vocab_16e6.txt#version: 0.2\n";
    for (const auto& [left, right] : merges) text += left + ' ' + right + '\n';
    return io::write_file(path, gzip(text, path.string()));
  }
  auto vocab = json::object();
  for (const auto& [token, id] : vocabulary(merges, "<|startoftext|>", "<|endoftext|>"))
    vocab[token] = id;
  auto list = json::array();
  for (const auto& [left, right] : merges) list.push_back({left, right});
  io::write_file(path, clip_document(std::move(vocab), std::move(list)).dump(2) + "\n");
}

}  // namespace weft::tokenizers
