#include "tokenizers/metaspace.hpp"
#include "tokenizers/spm.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {
SpmNormalizer::SpmNormalizer(const SpmFile& file, const Where& where, bool inside)
    : spec_(file.normalizer),
      suffix_(file.whitespace_as_suffix),
      strips_front_(file.normalizer.remove_extra_whitespaces && !inside),
      map_(file.normalizer.charsmap, where.at("precompiled_charsmap")) {
  size_t bytes = 0;
  for (const auto& piece : file.pieces)
    if (piece.type == SpmPiece::user_defined) bytes += piece.piece.size();
  user_defined_ = Trie(bytes);
  for (const auto& piece : file.pieces)
    if (piece.type == SpmPiece::user_defined) user_defined_.insert(piece.piece, 0);
}

// What the front of `text` becomes, and how much of it that is.
std::string_view SpmNormalizer::prefix(std::string_view text, size_t& length) const {
  length = 0;
  user_defined_.each_prefix(text, [&](size_t found, int32_t) { length = found; });
  if (length) return text.substr(0, length);
  if (const auto rule = map_.longest(text); rule.length)
    return length = rule.length, rule.replacement;
  next_code_point(text, length);
  return text.substr(0, length);
}

void SpmNormalizer::apply(Text& text) const {
  static thread_local Text out;
  out.tracked = text.tracked;
  out.clear();
  const auto space = spec_.escape_whitespaces ? kMetaspace : std::string_view(" ");
  const std::string_view in = text.bytes;
  const auto from = [&](size_t at) {
    if (!text.tracked || in.empty()) return Offset{};
    return text.source[std::min(at, in.size() - 1)];
  };
  size_t at = 0, length = 0;
  while (strips_front_ && at < in.size()) {
    if (prefix(in.substr(at), length) != " ") break;
    at += length;
  }
  if (at == in.size()) return text.clear();
  if (!suffix_ && spec_.add_dummy_prefix) out.append(space, from(at));
  bool after_space = strips_front_;
  while (at < in.size()) {
    auto part = prefix(in.substr(at), length);
    // A rule stands for all the characters that it replaces.
    const Offset span = {from(at).begin, from(at + length - 1).end};
    check_growth(out.bytes.size() + 3 * part.size());
    while (after_space && part.starts_with(' ')) part.remove_prefix(1);
    for (size_t begin = 0; begin < part.size();) {
      const auto blank = std::min(part.find(' ', begin), part.size());
      out.append(part.substr(begin, blank - begin), span);
      if (blank < part.size()) out.append(space, span);
      begin = blank + 1;
    }
    if (!part.empty()) after_space = part.ends_with(' ');
    if (!spec_.remove_extra_whitespaces) after_space = false;
    at += length;
  }
  auto size = out.bytes.size();
  if (spec_.remove_extra_whitespaces)
    while (std::string_view(out.bytes).substr(0, size).ends_with(space)) size -= space.size();
  out.bytes.resize(size);
  if (out.tracked) out.source.resize(size);
  if (suffix_ && spec_.add_dummy_prefix) out.append(space, from(in.size() - 1));
  text.swap(out);
}

}  // namespace weft::tokenizers
