#include "tokenizers/regex_syntax.hpp"

#include <charconv>
#include <map>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>
#include <utf8proc.h>

#include "tokenizers/char_kinds.hpp"
#include "tokenizers/ranges.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {
namespace {

// What Unicode 15.1 and 16 brought, which utf8proc does not know; letters, marks and numbers are
// those of char_kinds().
constexpr Range kNewPunctuation[] = {{0x1B4E, 0x1B4F},   {0x1B7F, 0x1B7F},   {0x10D6E, 0x10D6E},
                                     {0x113D4, 0x113D5}, {0x113D7, 0x113D8}, {0x11BE1, 0x11BE1},
                                     {0x16D6D, 0x16D6F}, {0x1E5FF, 0x1E5FF}};
constexpr Range kNewSymbols[] = {{0x2427, 0x2429},   {0x2FFC, 0x2FFF},   {0x31E4, 0x31E5},
                                 {0x31EF, 0x31EF},   {0x10D8E, 0x10D8F}, {0x1CC00, 0x1CCEF},
                                 {0x1CD00, 0x1CEB3}, {0x1F8B2, 0x1F8BB}, {0x1F8C0, 0x1F8C1},
                                 {0x1FA89, 0x1FA89}, {0x1FA8F, 0x1FA8F}, {0x1FABE, 0x1FABE},
                                 {0x1FAC6, 0x1FAC6}, {0x1FADC, 0x1FADC}, {0x1FADF, 0x1FADF},
                                 {0x1FAE9, 0x1FAE9}, {0x1FBCB, 0x1FBEF}};
constexpr Range kNewModifiers[] = {
    {0x10D4E, 0x10D4E}, {0x10D6F, 0x10D6F}, {0x16D40, 0x16D42}, {0x16D6B, 0x16D6C}};
constexpr char32_t kLast = 0x323AF;

constexpr std::string_view kSpace =
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"
    "\\x{205f}\\x{3000}";
constexpr std::string_view kCircled =  // symbols that are alphabetic
    "\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}";

std::string category(char32_t c) {
  const auto known = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  if (known != UTF8PROC_CATEGORY_CN)
    return utf8proc_category_string(static_cast<utf8proc_int32_t>(c));
  const auto kinds = char_kinds(c);
  if (kinds & kUpper) return "Lu";
  if (kinds & kLower) return "Ll";
  if (kinds & kCaseless) return contains(kNewModifiers, c) ? "Lm" : "Lo";
  if (kinds & kMark) return "Mn";
  if (kinds & kNumeral) return "Nd";
  if (contains(kNewPunctuation, c)) return "Po";
  return contains(kNewSymbols, c) ? "So" : "";
}

// The characters that PCRE2 has for unassigned.
std::vector<bool> unassigned() {
  std::vector<bool> out(kLast + 1);
  int error = 0;
  PCRE2_SIZE at = 0;
  auto* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>("\\p{Cn}"), PCRE2_ZERO_TERMINATED,
                             PCRE2_UTF, &error, &at, nullptr);
  auto* data = pcre2_match_data_create(1, nullptr);
  std::string character;
  for (char32_t c = 0x300; code && data && c <= kLast; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    character.clear();
    append_utf8(c, character);
    out[c] = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(character.data()), character.size(), 0,
                         PCRE2_NO_UTF_CHECK, data, nullptr) >= 0;
  }
  pcre2_match_data_free(data);
  pcre2_code_free(code);
  return out;
}

// By category, of one letter and of two: the members that PCRE2 lacks, as they stand in a class.
const std::map<std::string, std::string, std::less<>>& newer() {
  static const auto classes = [] {
    std::map<std::string, std::vector<Range>> found;
    const auto lacks = unassigned();
    for (char32_t c = 0; c <= kLast; ++c) {
      const auto name = lacks[c] ? category(c) : "";
      if (name.empty() || name[0] == 'C' || name[0] == 'Z') continue;
      for (const auto& key : {name, name.substr(0, 1)}) {
        auto& ranges = found[key];
        if (!ranges.empty() && ranges.back().last + 1 == c) {
          ranges.back().last = c;
        } else {
          ranges.push_back({c, c});
        }
      }
    }
    std::map<std::string, std::string, std::less<>> out;
    for (const auto& [key, ranges] : found) {
      for (const auto& [first, last] : ranges)
        out[key] += fmt::format("\\x{{{:x}}}-\\x{{{:x}}}", static_cast<uint32_t>(first),
                                static_cast<uint32_t>(last));
    }
    return out;
  }();
  return classes;
}

std::string members(std::string_view property) {
  const auto found = newer().find(property);
  return fmt::format("\\p{{{}}}", property) + (found == newer().end() ? "" : found->second);
}

// A walk over a pattern.
class Translation {
 public:
  Translation(std::string_view pattern, const Where& where) : in_(pattern), where_(where) {}

  std::string run() {
    for (at_ = 0; at_ < in_.size();) {
      const char c = in_[at_];
      if (c == '\\' && at_ + 1 < in_.size()) {
        escape();
      } else if (c == '{' && classes_ == 0) {
        interval();
      } else {
        if (c == '[' && (classes_ == 0 || in_.substr(at_).starts_with("[:"))) ++classes_;
        if (c == ']' && classes_ > 0) --classes_;
        out_ += c;
        ++at_;
      }
    }
    return out_;
  }

 private:
  // Members of a class, which stands alone or is in one.
  void put(std::string_view members, bool negated) {
    if (classes_ == 0) out_ += negated ? "[^" : "[";
    out_ += members;
    if (classes_ == 0) out_ += ']';
  }

  void escape() {
    const char c = in_[at_ + 1];
    const bool inside = classes_ > 0;
    if (c == 's' || (c == 'S' && !inside)) {
      put(kSpace, c == 'S');
    } else if (c == 'd' || (c == 'D' && !inside)) {
      put(members("Nd"), c == 'D');
    } else if (c == 'w' || (c == 'W' && !inside)) {
      put(members("L") + members("M") + members("Nd") + members("Nl") + members("Pc") +
              std::string(kCircled),
          c == 'W');
    } else if (c == 'h' || (c == 'H' && !inside)) {
      put("0-9a-fA-F", c == 'H');
    } else if ((c == 'p' || (c == 'P' && !inside)) && in_.substr(at_ + 2).starts_with('{')) {
      const auto end = in_.find('}', at_);
      if (end == std::string_view::npos) fail_at(where_, "a property without its '}'");
      auto name = in_.substr(at_ + 3, end - at_ - 3);
      bool negated = c == 'P';
      if (name.starts_with('^')) name.remove_prefix(1), negated = !negated;
      at_ = end + 1;
      if (newer().contains(name) && !(negated && inside)) return put(members(name), negated);
      out_ += fmt::format("\\{}{{{}}}", negated ? 'P' : 'p', name);
      return;
    } else {
      out_ += in_.substr(at_, 2);
    }
    at_ += 2;
  }

  // {n,m}+ is {n,m} any number of times.
  void interval() {
    const auto end = in_.find('}', at_);
    const bool plus = end != std::string_view::npos && in_.substr(end + 1).starts_with('+');
    const auto comma = in_.find(',', at_);
    if (!plus) {
      out_ += in_[at_++];
      return;
    }
    const auto number = [&](size_t begin, size_t stop) {
      int64_t value = -1;
      const auto text = in_.substr(begin, stop - begin);
      const auto [rest, code] = std::from_chars(text.data(), text.data() + text.size(), value);
      return code == std::errc() && rest == text.data() + text.size() ? value : -1;
    };
    const auto low = number(at_ + 1, std::min(comma, end));
    const auto high = comma < end ? number(comma + 1, end) : low;
    // Two times n to m must follow n to m without a gap.
    if (low < 0 || high < 2 * low - 1 || (low == 0 && high < 1))
      fail_unsupported(where_, fmt::format("the interval '{}'", in_.substr(at_, end + 2 - at_)));
    out_ += fmt::format("{{{},}}", low);
    at_ = end + 2;
  }

  std::string_view in_;
  const Where& where_;
  std::string out_;
  size_t at_ = 0;
  int classes_ = 0;  // how deep inside [..]
};

}  // namespace

std::string translate_pattern(std::string_view pattern, const Where& where) {
  return Translation(pattern, where).run();
}

}  // namespace weft::tokenizers
