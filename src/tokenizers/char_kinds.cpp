#include "tokenizers/char_kinds.hpp"

#include <array>
#include <memory>
#include <vector>

#include <utf8proc.h>

#include "tokenizers/ranges.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {
namespace {

// What Unicode 15.1 and 16 brought beside letters without case, which is_letter() knows.
constexpr Range kNewUpper[] = {
    {0x1C89, 0x1C89}, {0xA7CB, 0xA7CC}, {0xA7DA, 0xA7DA}, {0xA7DC, 0xA7DC}, {0x10D50, 0x10D65}};
constexpr Range kNewLower[] = {
    {0x1C8A, 0x1C8A}, {0xA7CD, 0xA7CD}, {0xA7DB, 0xA7DB}, {0x10D70, 0x10D85}};
constexpr Range kNewMarks[] = {{0x897, 0x897},     {0x10D69, 0x10D6D}, {0x10EFC, 0x10EFC},
                               {0x113B8, 0x113C0}, {0x113C2, 0x113C2}, {0x113C5, 0x113C5},
                               {0x113C7, 0x113CA}, {0x113CC, 0x113D0}, {0x113D2, 0x113D2},
                               {0x113E1, 0x113E2}, {0x11F5A, 0x11F5A}, {0x1611E, 0x1612F},
                               {0x1E5EE, 0x1E5EF}};

uint8_t find_kinds(char32_t c) {
  if (c == '\n' || c == '\r') return kBlank | kLineBreak;
  if (is_white_space(c)) return kBlank;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT:
      return kUpper;
    case UTF8PROC_CATEGORY_LL:
      return kLower;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return kCaseless;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return kMark;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return kNumeral;
    case UTF8PROC_CATEGORY_CN:
      if (contains(kNewUpper, c)) return kUpper;
      if (contains(kNewLower, c)) return kLower;
      if (contains(kNewMarks, c)) return kMark;
      return is_letter(c) ? kCaseless : is_number(c) ? kNumeral : 0;
    default:
      return 0;
  }
}

// Pages of 256 code points; the planes behind the ideographs hold nothing but variation selectors.
class Table {
 public:
  Table() : kinds_(kPlain + 0x100) {
    for (char32_t c = 0; c < kPlain; ++c) kinds_[c] = find_kinds(c);
    for (char32_t c = 0; c < 0x100; ++c) kinds_[kPlain + c] = find_kinds(kSelectors + c);
  }
  uint8_t operator[](char32_t c) const {
    if (c < kPlain) return kinds_[c];
    return c - kSelectors < 0x100 ? kinds_[kPlain + (c - kSelectors)] : 0;
  }

 private:
  static constexpr char32_t kPlain = 0x32400, kSelectors = 0xE0100;
  std::vector<uint8_t> kinds_;
};

}  // namespace

uint8_t char_kinds(char32_t c) {
  static const Table table;
  return table[c];
}

}  // namespace weft::tokenizers
