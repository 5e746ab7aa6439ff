#include "tokenizers/spm_file.hpp"

#include <bit>
#include <cmath>
#include <unordered_set>

#include "core/fail.hpp"
#include "tokenizers/components.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {
namespace {

// One field of a protobuf message: a number, or bytes.
struct Field {
  uint32_t number = 0;
  uint64_t value = 0;           // varint, fixed32 or fixed64
  std::string_view bytes = {};  // of a length-delimited field
  size_t at = 0;                // where it stands in the file
};

/// Walks through the fields of a message.
class Message {
 public:
  Message(std::string_view bytes, size_t offset, const std::string& name)
      : bytes_(bytes), offset_(offset), name_(name) {}

  bool next(Field& out) {
    if (at_ == bytes_.size()) return false;
    out = {};
    out.at = offset_ + at_;
    const auto key = varint();
    out.number = static_cast<uint32_t>(key >> 3);
    if (key >> 3 == 0 || key >> 3 > 0x1FFFFFFF) damaged("a field number out of range");
    switch (key & 7) {
      case 0:
        out.value = varint();
        break;
      case 1:
        out.value = fixed(8);
        break;
      case 2: {
        const auto size = varint();
        if (size > bytes_.size() - at_)
          damaged(
              fmt::format("a field of {} bytes, of which {} are there", size, bytes_.size() - at_));
        out.at = offset_ + at_;
        out.bytes = bytes_.substr(at_, size);
        at_ += size;
        break;
      }
      case 5:
        out.value = fixed(4);
        break;
      default:
        damaged(fmt::format("the wire type {}", key & 7));
    }
    return true;
  }

 private:
  [[noreturn]] void damaged(std::string_view what) const {
    fail("{}: not a SentencePiece model, or a damaged one: {} at byte {}", name_, what,
         offset_ + at_);
  }
  uint64_t varint() {
    uint64_t out = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ == bytes_.size()) damaged("the end in the middle of a number");
      const auto byte = static_cast<uint8_t>(bytes_[at_++]);
      out |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return out;
    }
    damaged("a number of more than 10 bytes");
  }
  uint64_t fixed(size_t size) {
    if (bytes_.size() - at_ < size) damaged("the end in the middle of a number");
    uint64_t out = 0;
    for (size_t i = size; i-- > 0;) out = out << 8 | static_cast<uint8_t>(bytes_[at_ + i]);
    at_ += size;
    return out;
  }

  std::string_view bytes_;
  size_t at_ = 0;
  size_t offset_;
  const std::string& name_;
};

template <class Take>
void each_field(const Field& field, const std::string& name, Take&& take) {
  Message message(field.bytes, field.at, name);
  for (Field inner; message.next(inner);) take(inner);
}

SpmPiece read_piece(const Field& field, const std::string& name) {
  SpmPiece out;
  each_field(field, name, [&](const Field& inner) {
    if (inner.number == 1) out.piece = inner.bytes;
    if (inner.number == 2) out.score = std::bit_cast<float>(static_cast<uint32_t>(inner.value));
    if (inner.number == 3) {
      if (inner.value < 1 || inner.value > 6)
        fail("{}: byte {}: the type {} of a piece is not known", name, inner.at, inner.value);
      out.type = static_cast<SpmPiece::Type>(inner.value);
    }
  });
  if (out.piece.empty() || valid_utf8_prefix(out.piece) != out.piece.size())
    fail("{}: byte {}: a piece that is empty or not valid UTF-8", name, field.at);
  if (!std::isfinite(out.score))
    fail("{}: byte {}: the score of '{}' is not finite", name, field.at, out.piece);
  return out;
}

void read_trainer(const Field& field, const std::string& name, SpmFile& out) {
  const auto id = [](const Field& inner) {
    return static_cast<int64_t>(static_cast<int32_t>(inner.value));
  };
  each_field(field, name, [&](const Field& inner) {
    switch (inner.number) {
      case 3:
        if (inner.value < 1 || inner.value > 4)
          fail("{}: byte {}: the model type {} is not known", name, inner.at, inner.value);
        out.model = static_cast<SpmFile::Model>(inner.value);
        break;
      case 24:
        out.whitespace_as_suffix = inner.value != 0;
        break;
      case 35:
        out.byte_fallback = inner.value != 0;
        break;
      case 41:
        out.bos_id = id(inner);
        break;
      case 42:
        out.eos_id = id(inner);
        break;
      case 43:
        out.pad_id = id(inner);
        break;
      case 44:
        out.unk_surface = inner.bytes;
        break;
    }
  });
}

SpmNormalizerSpec read_normalizer(const Field& field, const std::string& name) {
  SpmNormalizerSpec out;
  each_field(field, name, [&](const Field& inner) {
    switch (inner.number) {
      case 1:
        out.name = inner.bytes;
        break;
      case 2:
        out.charsmap = inner.bytes;
        break;
      case 3:
        out.add_dummy_prefix = inner.value != 0;
        break;
      case 4:
        out.remove_extra_whitespaces = inner.value != 0;
        break;
      case 5:
        out.escape_whitespaces = inner.value != 0;
        break;
    }
  });
  return out;
}

void check(const SpmFile& file, const std::string& name) {
  if (file.pieces.empty()) fail("{}: not a SentencePiece model: it has no pieces", name);
  int unknown = 0, bytes = 0;
  std::unordered_set<std::string_view> seen;
  for (const auto& piece : file.pieces) {
    unknown += piece.type == SpmPiece::unknown;
    bytes += piece.type == SpmPiece::byte;
    if (!seen.insert(piece.piece).second)
      fail("{}: the piece '{}' stands there twice", name, piece.piece);
  }
  if (unknown != 1) fail("{}: expected one unknown piece, found {}", name, unknown);
  if (file.byte_fallback && bytes != 256)
    fail("{}: byte_fallback asks for 256 byte pieces, found {}", name, bytes);
  if (file.model != SpmFile::unigram && file.model != SpmFile::bpe)
    fail("{}: models of the types word and char are not supported", name);
  if (valid_utf8_prefix(file.unk_surface) != file.unk_surface.size())
    fail("{}: unk_surface is not valid UTF-8", name);
}

}  // namespace

SpmFile parse_spm(std::string_view bytes, const std::string& name) {
  SpmFile out;
  Message message(bytes, 0, name);
  for (Field field; message.next(field);) {
    switch (field.number) {
      case 1:
        if (static_cast<int64_t>(out.pieces.size()) == kMaxTokens)
          fail("{}: more pieces than the limit of {}", name, kMaxTokens);
        out.pieces.push_back(read_piece(field, name));
        break;
      case 2:
        read_trainer(field, name, out);
        break;
      case 3:
        out.normalizer = read_normalizer(field, name);
        break;
      case 5:
        out.denormalizer_charsmap = read_normalizer(field, name).charsmap;
        break;
    }
  }
  check(out, name);
  return out;
}

}  // namespace weft::tokenizers
