#include "tokenizers/python_unicode.hpp"

#include <utf8proc.h>

#include "tokenizers/ranges.hpp"

namespace weft::tokenizers {
namespace {

// Assigned since Unicode 14: nothing to Python 3.11 yet.
constexpr Range kUnassigned[] = {
    {0xCF3, 0xCF3},     {0xECE, 0xECE},     {0x10EFD, 0x10EFF}, {0x1123F, 0x11241},
    {0x11B00, 0x11B09}, {0x11F00, 0x11F10}, {0x11F12, 0x11F3A}, {0x11F3E, 0x11F59},
    {0x1342F, 0x1342F}, {0x13439, 0x13455}, {0x1B132, 0x1B132}, {0x1B155, 0x1B155},
    {0x1D2C0, 0x1D2D3}, {0x1DF25, 0x1DF2A}, {0x1E030, 0x1E06D}, {0x1E08F, 0x1E08F},
    {0x1E4D0, 0x1E4F9}, {0x1F6DC, 0x1F6DC}, {0x1F774, 0x1F776}, {0x1F77B, 0x1F77F},
    {0x1F7D9, 0x1F7D9}, {0x1FA75, 0x1FA77}, {0x1FA87, 0x1FA88}, {0x1FAAD, 0x1FAAF},
    {0x1FABB, 0x1FABD}, {0x1FABF, 0x1FABF}, {0x1FACE, 0x1FACF}, {0x1FADA, 0x1FADB},
    {0x1FAE8, 0x1FAE8}, {0x1FAF7, 0x1FAF8}, {0x2B739, 0x2B739}, {0x31350, 0x323AF}};

// Letters and numbers of `regex` that utf8proc 2.8 (Unicode 15) does not know.
constexpr Range kNewLetters[] = {
    {0x558, 0x558},     {0x58B, 0x58C},     {0x88F, 0x88F},     {0xC5C, 0xC5C},
    {0xCDC, 0xCDC},     {0x1C89, 0x1C8A},   {0x208F, 0x208F},   {0x209D, 0x209F},
    {0xA7CB, 0xA7CF},   {0xA7D2, 0xA7D2},   {0xA7D4, 0xA7D4},   {0xA7DA, 0xA7DD},
    {0xA7E2, 0xA7E2},   {0xA7F1, 0xA7F1},   {0xAB6C, 0xAB6D},   {0x105C0, 0x105F3},
    {0x107BB, 0x107BF}, {0x10940, 0x10959}, {0x10D4A, 0x10D65}, {0x10D6F, 0x10D85},
    {0x10EC2, 0x10EC7}, {0x10ED9, 0x10EEE}, {0x11380, 0x11389}, {0x1138B, 0x1138B},
    {0x1138E, 0x1138E}, {0x11390, 0x113B5}, {0x113B7, 0x113B7}, {0x113D1, 0x113D1},
    {0x113D3, 0x113D3}, {0x11B0A, 0x11B0A}, {0x11BC0, 0x11BE0}, {0x11DB0, 0x11DDB},
    {0x11DF1, 0x11DF1}, {0x13460, 0x143FA}, {0x16100, 0x1611D}, {0x16D40, 0x16D6C},
    {0x16EA0, 0x16EB8}, {0x16EBB, 0x16ED3}, {0x16FF2, 0x16FF3}, {0x187F8, 0x187FF},
    {0x18CD6, 0x18CDA}, {0x18CFF, 0x18CFF}, {0x18D09, 0x18D20}, {0x18D80, 0x18DF2},
    {0x18E00, 0x19191}, {0x191A0, 0x191D2}, {0x1B123, 0x1B128}, {0x1B168, 0x1B168},
    {0x1D6A6, 0x1D6A6}, {0x1DF1F, 0x1DF24}, {0x1DF2B, 0x1DF81}, {0x1DF90, 0x1DF96},
    {0x1DFCD, 0x1DFFF}, {0x1E5D0, 0x1E5ED}, {0x1E5F0, 0x1E5F0}, {0x1E6C0, 0x1E6DE},
    {0x1E6E0, 0x1E6E2}, {0x1E6E4, 0x1E6E5}, {0x1E6E7, 0x1E6ED}, {0x1E6F0, 0x1E6F4},
    {0x1E6FE, 0x1E6FF}, {0x2B73A, 0x2B73F}, {0x2B81E, 0x2B81E}, {0x2CEA2, 0x2CEAD},
    {0x2EBF0, 0x2EE5D}, {0x323B0, 0x33479}, {0x3D000, 0x3FC3F}};
constexpr Range kNewNumbers[] = {{0x10D40, 0x10D49}, {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9},
                                 {0x11DE0, 0x11DE9}, {0x1246F, 0x1246F}, {0x12475, 0x1247F},
                                 {0x12550, 0x12686}, {0x16130, 0x16139}, {0x16D70, 0x16D79},
                                 {0x16FF4, 0x16FF6}, {0x1CCF0, 0x1CCF9}, {0x1E5F1, 0x1E5FA}};

// Cased without being letters of a case, and case-ignorable by the rules of word breaks.
constexpr Range kCased[] = {{0xAA, 0xAA},      {0xBA, 0xBA},       {0x2160, 0x217F},
                            {0x24B6, 0x24E9},  {0x1F130, 0x1F149}, {0x1F150, 0x1F169},
                            {0x1F170, 0x1F189}};
constexpr Range kIgnorable[] = {
    {0x27, 0x27},     {0x2E, 0x2E},     {0x3A, 0x3A},     {0xB7, 0xB7},
    {0x387, 0x387},   {0x55F, 0x55F},   {0x5F4, 0x5F4},   {0x2018, 0x2019},
    {0x2024, 0x2024}, {0x2027, 0x2027}, {0xFE13, 0xFE13}, {0xFE52, 0xFE52},
    {0xFE55, 0xFE55}, {0xFF07, 0xFF07}, {0xFF0E, 0xFF0E}, {0xFF1A, 0xFF1A}};

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool is_case_ignorable(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return !contains(kUnassigned, c);
    default:
      return contains(kIgnorable, c);
  }
}

bool is_cased(char32_t c) {
  const auto kind = category(c);
  return kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LL ||
                 kind == UTF8PROC_CATEGORY_LT
             ? !contains(kUnassigned, c)
             : contains(kCased, c);
}

// Whether the sigma at chars[at] ends a word.
bool is_final_sigma(const Chars& chars, size_t at) {
  auto before = at;
  while (before > 0 && is_case_ignorable(chars[before - 1].code)) --before;
  if (before == 0 || !is_cased(chars[before - 1].code)) return false;
  auto after = at + 1;
  while (after < chars.size() && is_case_ignorable(chars[after].code)) ++after;
  return after == chars.size() || !is_cased(chars[after].code);
}

}  // namespace

bool is_python_space(char32_t c) { return is_white_space(c) || (c >= 0x1C && c <= 0x1F); }

bool is_python_digit(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  return category(c) == UTF8PROC_CATEGORY_ND && !contains(kUnassigned, c);
}

bool is_regex_letter(char32_t c) {
  const auto kind = category(c);
  return (kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO) ||
         (kind == UTF8PROC_CATEGORY_CN && contains(kNewLetters, c));
}

bool is_regex_number(char32_t c) {
  const auto kind = category(c);
  return (kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO) ||
         (kind == UTF8PROC_CATEGORY_CN && contains(kNewNumbers, c));
}

int python_combining_class(char32_t c) {
  if (c < 0x300 || contains(kUnassigned, c)) return 0;
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class;
}

void python_lower(Chars& chars) {
  Chars out;
  out.reserve(chars.size());
  for (size_t at = 0; at < chars.size(); ++at) {
    const auto [c, from] = chars[at];
    if (c == 0x3A3) {
      out.push_back({is_final_sigma(chars, at) ? char32_t{0x3C2} : char32_t{0x3C3}, from});
    } else if (c == 0x130) {
      out.insert(out.end(), {{'i', from}, {0x307, from}});
    } else {
      out.push_back(
          {static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), from});
    }
  }
  chars = std::move(out);
}

void python_join_words(Chars& chars) {
  size_t kept = 0;
  bool gap = false;
  for (size_t at = 0; at < chars.size(); ++at) {
    if (is_python_space(chars[at].code)) {
      gap = true;
      continue;
    }
    // There is room for the space: at least one character was left out.
    if (gap && kept > 0) chars[kept++] = {' ', chars[at - 1].from};
    gap = false;
    chars[kept++] = chars[at];
  }
  chars.resize(kept);
}

}  // namespace weft::tokenizers
