#include "tokenizers/byte_level.hpp"

#include <algorithm>
#include <array>

#include "tokenizers/char_kinds.hpp"
#include "tokenizers/decoders.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {
namespace {

bool printable(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<std::string, 256> symbols;
  std::array<int16_t, 0x144> bytes;  // by code point; -1 outside

  Alphabet() {
    bytes.fill(-1);
    char32_t next = 256;
    for (int byte = 0; byte < 256; ++byte) {
      const auto c = printable(byte) ? static_cast<char32_t>(byte) : next++;
      append_utf8(c, symbols[byte]);
      bytes[c] = static_cast<int16_t>(byte);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

enum Kind : uint8_t { kLetter, kNumber, kSpace, kOther };

constexpr auto kAsciiKinds = [] {
  std::array<Kind, 128> kinds{};
  for (int c = 0; c < 128; ++c) {
    kinds[c] = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ? kLetter
               : c >= '0' && c <= '9'                           ? kNumber
               : (c >= 9 && c <= 13) || c == ' '                ? kSpace
                                                                : kOther;
  }
  return kinds;
}();

Kind next_kind(std::string_view text, size_t& at) {
  const auto byte = static_cast<uint8_t>(text[at]);
  if (byte < 0x80) return ++at, kAsciiKinds[byte];
  const auto kinds = char_kinds(next_code_point(text, at));
  return kinds & kAnyLetter ? kLetter
         : kinds & kNumeral ? kNumber
         : kinds & kBlank   ? kSpace
                            : kOther;
}

size_t contraction(std::string_view rest) {
  if (rest.size() < 2) return 0;
  switch (rest[1]) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 2;
    case 'r':
    case 'v':
      return rest.size() > 2 && rest[2] == 'e' ? 3 : 0;
    case 'l':
      return rest.size() > 2 && rest[2] == 'l' ? 3 : 0;
    default:
      return 0;
  }
}

// End of the match of GPT-2's pattern at text[at].
size_t match(std::string_view text, size_t at) {
  if (text[at] == '\'') {
    if (const auto length = contraction(text.substr(at))) return at + length;
  }
  auto end = at;
  auto kind = next_kind(text, end);
  if (text[at] == ' ' && end < text.size()) {
    auto after = end;
    const auto following = next_kind(text, after);
    if (following != kSpace) {
      kind = following;
      end = after;
    }
  }
  auto last = at;  // where the last character of the run begins
  while (end < text.size()) {
    auto after = end;
    if (next_kind(text, after) != kind) {
      // White space before a word leaves its last character to it: \s+(?!\S).
      if (kind == kSpace && last > at) return last;
      break;
    }
    last = end;
    end = after;
  }
  return end;
}

}  // namespace

const std::string& byte_symbol(uint8_t byte) { return alphabet().symbols[byte]; }

bool append_symbol_bytes(std::string_view token, std::string& bytes) {
  const auto& table = alphabet().bytes;
  const auto before = bytes.size();
  for (size_t at = 0; at < token.size();) {
    const auto c = next_code_point(token, at);
    if (c >= table.size() || table[c] < 0) {
      bytes.resize(before);
      return false;
    }
    bytes += static_cast<char>(table[c]);
  }
  return true;
}

void ByteLevel::split(Text& text, std::vector<Piece>& pieces) const {
  if (add_prefix_space_) {
    Text spaced;
    for (auto& piece : pieces) {
      const auto begin = spaced.bytes.size();
      if (text.bytes[piece.begin] != ' ') {
        spaced.bytes += ' ';
        if (text.tracked) spaced.source.push_back(text.source[piece.begin]);
      }
      spaced.bytes.append(text.bytes, piece.begin, piece.end - piece.begin);
      if (text.tracked)
        spaced.source.insert(spaced.source.end(), text.source.begin() + piece.begin,
                             text.source.begin() + piece.end);
      piece = {begin, spaced.bytes.size()};
    }
    text.bytes = std::move(spaced.bytes);
    text.source = std::move(spaced.source);
  }
  if (use_regex_) ByteLevelSplit().split(text, pieces);
}

void ByteLevelSplit::split(Text& text, std::vector<Piece>& pieces) const {
  static thread_local std::vector<Piece> out;
  out.clear();
  for (const auto& piece : pieces) {
    const auto part = std::string_view(text.bytes).substr(0, piece.end);
    for (auto at = piece.begin; at < piece.end;) {
      const auto end = match(part, at);
      out.push_back({at, end});
      at = end;
    }
  }
  pieces.assign(out.begin(), out.end());
}

void Digits::split(Text& text, std::vector<Piece>& pieces) const {
  static thread_local std::vector<Piece> out;
  out.clear();
  for (const auto& piece : pieces) {
    auto begin = piece.begin;
    bool in_digits = false;
    for (auto at = piece.begin; at < piece.end;) {
      const auto start = at;
      const bool digit = is_numeric(next_code_point(text.bytes, at));
      if (start > begin && (digit != in_digits || (digit && individual_))) {
        out.push_back({begin, start});
        begin = start;
      }
      in_digits = digit;
    }
    if (begin < piece.end) out.push_back({begin, piece.end});
  }
  pieces.assign(out.begin(), out.end());
}

namespace {

class ByteLevelStage final : public BytesStage {
 public:
  using BytesStage::BytesStage;
  void append(const std::string& token, std::string& bytes) override {
    if (!append_symbol_bytes(token, bytes)) bytes += token;
  }
};

}  // namespace

std::unique_ptr<DecodeStage> ByteLevelDecoder::start(DecodeStage* next) const {
  return std::make_unique<ByteLevelStage>(next);
}

void PostProcessor::adjust(Encoding& encoding) const {
  if (!trim_offsets) return;
  const auto space = [](char32_t c) { return c == 0x120 || is_white_space(c); };
  for (size_t i = 0; i < encoding.tokens.size(); ++i) {
    const std::string_view token = encoding.tokens[i];
    auto& offset = encoding.offsets[i];
    int64_t leading = 0, trailing = 0;
    for (size_t at = 0; at < token.size() && space(next_code_point(token, at));) ++leading;
    for (size_t at = token.size(); at > 0;) {
      if (!space(previous_code_point(token, at))) break;
      do --at;
      while ((static_cast<uint8_t>(token[at]) & 0xC0) == 0x80);
      ++trailing;
    }
    if (leading > 0) {
      // One space at the start may be the one that was put there; more were in the input.
      if (add_prefix_space && leading == 1 && (i == 0 || offset.begin == 0)) leading = 0;
      offset.begin = std::min(offset.begin + leading, offset.end);
    }
    if (trailing > 0 && offset.end >= trailing)
      offset.end = std::max(offset.end - trailing, offset.begin);
  }
}

}  // namespace weft::tokenizers
