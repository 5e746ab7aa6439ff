#include "core/fail.hpp"
#include "tokenizers/decoders.hpp"
#include "tokenizers/metaspace.hpp"
#include "tokenizers/spm.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {
namespace {

// What a denormalizer reads comes as one text at the end.
class DenormalizeStage final : public DecodeStage {
 public:
  DenormalizeStage(DecodeStage* next, const SpmNormalizer& rules)
      : DecodeStage(next), rules_(rules) {}
  void push(std::string_view part, bool) override { text_.bytes += part; }
  void finish() override {
    rules_.apply(text_);
    next_->push(text_.bytes, true);
    text_.clear();
    next_->finish();
  }

 private:
  const SpmNormalizer& rules_;
  Text text_;
};

}  // namespace

class SpmStage final : public TokenStage {
 public:
  SpmStage(DecodeStage* next, const SpmDecoder& decoder) : TokenStage(next), decoder_(decoder) {
    if (!decoder.denormalizer_) return;
    denormalize_ = std::make_unique<DenormalizeStage>(next, *decoder.denormalizer_);
    next_ = denormalize_.get();
  }
  void take(std::string& token) override {
    const auto kind = decoder_.kinds_.find(token);
    if (kind == SpmPiece::byte) {
      bytes_ += static_cast<char>(fallback_byte(token));
      return flush_bytes(false);
    }
    flush_bytes(true);
    if (mark_taken_ || wrote_) at_front_ = false;
    mark_taken_ = false;
    if (kind == SpmPiece::control) return;
    if (kind == SpmPiece::unknown) return write(decoder_.unk_surface_);
    std::string_view piece = token;
    if (at_front_ && decoder_.strips_first_ && piece.starts_with(kMetaspace)) {
      piece.remove_prefix(kMetaspace.size());
      mark_taken_ = !decoder_.strips_all_;
    }
    std::string out;
    for (size_t at = 0; at < piece.size();) {
      const auto mark = std::min(piece.find(kMetaspace, at), piece.size());
      out += piece.substr(at, mark - at);
      if (mark < piece.size()) out += ' ';
      at = mark + kMetaspace.size();
    }
    write(out);
  }
  void finish() override {
    flush_bytes(true);
    at_front_ = true;
    mark_taken_ = wrote_ = false;
    next_->finish();
  }

 private:
  void write(std::string_view text) {
    wrote_ |= !text.empty();
    next_->push(text, true);
  }
  // Characters as soon as they are whole; of what is invalid each byte is one U+FFFD.
  void flush_bytes(bool last) {
    std::string_view rest = bytes_;
    std::string out;
    while (!rest.empty()) {
      const auto valid = valid_utf8_prefix(rest);
      out += rest.substr(0, valid);
      rest.remove_prefix(valid);
      if (rest.empty()) break;
      bool truncated = false;
      const auto length = invalid_utf8_length(rest, truncated);
      if (truncated && length == rest.size() && !last) break;
      out += "\xEF\xBF\xBD";
      rest.remove_prefix(1);
    }
    bytes_.erase(0, bytes_.size() - rest.size());
    if (!out.empty()) write(out);
  }

  const SpmDecoder& decoder_;
  std::unique_ptr<DenormalizeStage> denormalize_;
  std::string bytes_;
  bool at_front_ = true, mark_taken_ = false, wrote_ = false;
};

SpmDecoder::SpmDecoder(const SpmFile& file, const Where& where)
    : unk_surface_(file.unk_surface),
      strips_first_(file.normalizer.add_dummy_prefix || file.normalizer.remove_extra_whitespaces),
      strips_all_(file.normalizer.remove_extra_whitespaces) {
  kinds_.reserve(file.pieces.size());
  for (const auto& piece : file.pieces) {
    if (piece.type == SpmPiece::byte && fallback_byte(piece.piece) < 0)
      fail("{}: the byte piece '{}' names no byte", where.file, piece.piece);
    if (piece.type == SpmPiece::control || piece.type == SpmPiece::unknown ||
        piece.type == SpmPiece::byte)
      kinds_.insert(piece.piece, piece.type);
  }
  if (file.denormalizer_charsmap.empty()) return;
  SpmFile rules;
  rules.normalizer = {.charsmap = file.denormalizer_charsmap,
                      .add_dummy_prefix = false,
                      .remove_extra_whitespaces = false,
                      .escape_whitespaces = false};
  denormalizer_ = std::make_shared<SpmNormalizer>(rules, where);
}

std::unique_ptr<DecodeStage> SpmDecoder::start(DecodeStage* next) const {
  return std::make_unique<SpmStage>(next, *this);
}

}  // namespace weft::tokenizers
