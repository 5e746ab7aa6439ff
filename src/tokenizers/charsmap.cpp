#include "tokenizers/charsmap.hpp"

#include <cstring>

#include <fmt/format.h>
#include <utf8proc.h>

#include "tokenizers/chars.hpp"
#include "tokenizers/ranges.hpp"

namespace weft::tokenizers {
namespace {

// The fields of a unit of the double array.
bool has_leaf(uint32_t unit) { return unit >> 8 & 1; }
uint32_t value(uint32_t unit) { return unit & 0x7FFFFFFF; }
uint32_t label(uint32_t unit) { return unit & (0x80000000 | 0xFF); }
uint32_t offset(uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); }

uint32_t read_u32(std::string_view bytes, size_t at) {
  uint32_t out = 0;
  for (int i = 3; i >= 0; --i) out = out << 8 | static_cast<uint8_t>(bytes[at + i]);
  return out;
}

// Marks that came with Unicode 16 and 17 and that a rule of the first plane can stand before.
constexpr Range kNewMarks[] = {{0x897, 0x897}, {0x1ACF, 0x1ADD}, {0x1AE0, 0x1AEB}};

// For the borders of graphemes: marks younger than utf8proc as one that it knows.
utf8proc_int32_t known_mark(char32_t c) {
  return static_cast<utf8proc_int32_t>(contains(kNewMarks, c) ? 0x300 : c);
}

// `with` for `count` characters of the old text.
void replace(size_t count, std::string_view with, std::vector<Change>& out) {
  size_t added = 0;
  for (size_t at = 0; at < with.size(); ++added) out.push_back({next_code_point(with, at), 0});
  if (added > count) {
    for (size_t i = 0; i < added - count; ++i) out[out.size() - 1 - i].change = 1;
  } else if (added < count && !out.empty()) {
    out.back().change -= static_cast<int64_t>(count - added);
  }
}

}  // namespace

CharsMap::CharsMap(std::string_view bytes, const Where& where) {
  if (bytes.empty()) return;
  const auto size = bytes.size() < 4 ? 0 : read_u32(bytes, 0);
  if (bytes.size() < 4 || size % 4 != 0 || size == 0 || size > bytes.size() - 4)
    fail_at(where, fmt::format("damaged rules: a trie of {} bytes in {}", size, bytes.size()));
  units_.resize(size / 4);
  for (size_t i = 0; i < units_.size(); ++i) units_[i] = read_u32(bytes, 4 + 4 * i);
  replacements_ = bytes.substr(4 + size);
  if (const auto valid = valid_utf8_prefix(replacements_); valid != replacements_.size())
    fail_at(where, fmt::format("damaged rules: not valid UTF-8 at byte {}", 4 + size + valid));
}

CharsMap::Match CharsMap::find(std::string_view text, bool first) const {
  Match out;
  if (units_.empty()) return out;
  auto node = offset(units_[0]);
  for (size_t at = 0; at < text.size() && text[at] != 0;) {
    const auto byte = static_cast<uint8_t>(text[at]);
    node ^= byte;
    if (node >= units_.size()) break;
    const auto unit = units_[node];
    if (label(unit) != byte) break;
    node ^= offset(unit);
    ++at;
    // A rule for a part of a character is none.
    if (!has_leaf(unit) || (at < text.size() && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80))
      continue;
    if (node >= units_.size()) break;
    const auto begin = value(units_[node]);
    if (begin >= replacements_.size() ||
        (static_cast<uint8_t>(replacements_[begin]) & 0xC0) == 0x80)
      break;
    out = {at, std::string_view(replacements_.c_str() + begin)};
    if (first) break;
  }
  return out;
}

void PrecompiledNormalizer::apply(Text& text) const {
  if (map_.empty()) return;
  static thread_local std::vector<Change> changes;
  changes.clear();
  bool modified = false;
  const std::string_view bytes = text.bytes;
  for (size_t at = 0; at < bytes.size();) {
    auto end = at;
    auto last = known_mark(next_code_point(bytes, end));
    size_t count = 1;
    utf8proc_int32_t state = 0;
    while (end < bytes.size()) {
      auto after = end;
      const auto next = known_mark(next_code_point(bytes, after));
      if (utf8proc_grapheme_break_stateful(last, next, &state)) break;
      last = next;
      end = after;
      ++count;
    }
    const auto grapheme = bytes.substr(at, end - at);
    if (grapheme.size() < 6) {
      if (const auto rule = map_.shortest(grapheme); rule.length) {
        modified = true;
        check_growth(changes.size() + rule.replacement.size());
        replace(count, rule.replacement, changes);
        at = end;
        continue;
      }
    }
    while (at < end) {
      const auto begin = at;
      const auto c = next_code_point(bytes, at);
      if (const auto rule = map_.shortest(bytes.substr(begin, at - begin)); rule.length) {
        modified = true;
        check_growth(changes.size() + rule.replacement.size());
        replace(1, rule.replacement, changes);
      } else {
        changes.push_back({c, 0});
      }
    }
  }
  if (!modified) return;
  static thread_local Chars chars;
  read_chars(text, chars);
  apply_changes(changes, chars);
  write_chars(chars, text);
}

}  // namespace weft::tokenizers
