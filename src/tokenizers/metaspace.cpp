#include "tokenizers/metaspace.hpp"

#include <fmt/format.h>

#include "tokenizers/split.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {

PrependScheme read_prepend_scheme(const json& component, const Where& where) {
  const bool prefix = flag(component, "add_prefix_space", true, where);
  const auto name = text_member(component, "prepend_scheme", prefix ? "always" : "never", where);
  if (name == "always") return PrependScheme::always;
  if (name == "first") return PrependScheme::first;
  if (name == "never") return PrependScheme::never;
  fail_at(where.at("prepend_scheme"),
          fmt::format("expected always, first or never, found '{}'", name));
}

std::string read_replacement(const json& component, const Where& where) {
  auto mark = text_member(component, "replacement", std::string(kMetaspace), where);
  if (count_code_points(mark) != 1)
    fail_at(where.at("replacement"), fmt::format("expected one character, found '{}'", mark));
  return mark;
}

void Metaspace::split(Text& text, std::vector<Piece>& pieces) const {
  static thread_local Text marked;
  static thread_local std::vector<Part> parts;
  static thread_local std::vector<Piece> out;
  marked.tracked = text.tracked;
  marked.clear();
  out.clear();
  const StringPattern mark(replacement_);
  for (const auto& piece : pieces) {
    const auto begin = marked.bytes.size();
    const auto word = std::string_view(text.bytes).substr(piece.begin, piece.end - piece.begin);
    const bool asked = scheme_ == PrependScheme::always ||
                       (scheme_ == PrependScheme::first && text.at_start && piece.begin == 0);
    if (asked && !word.starts_with(' ') && !word.starts_with(replacement_))
      marked.append(replacement_, text.tracked ? text.source[piece.begin] : Offset{});
    for (auto at = piece.begin; at < piece.end;) {
      const auto space = std::min(text.bytes.find(' ', at), piece.end);
      marked.append(text, at, space);
      if (space < piece.end)
        marked.append(replacement_, text.tracked ? text.source[space] : Offset{});
      at = space + 1;
    }
    if (!split_) {
      out.push_back({begin, marked.bytes.size()});
      continue;
    }
    parts.clear();
    mark.parts(std::string_view(marked.bytes).substr(begin), parts);
    for (auto& part : parts) part.begin += begin, part.end += begin;
    join_parts(parts, Behavior::merged_with_next, out);
  }
  text.swap(marked);
  pieces.assign(out.begin(), out.end());
}

}  // namespace weft::tokenizers
