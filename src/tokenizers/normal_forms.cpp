#include "tokenizers/normal_forms.hpp"

#include <algorithm>
#include <unordered_map>

#include <utf8proc.h>

#include "tokenizers/python_unicode.hpp"

namespace weft::tokenizers {
namespace {

// A character on its way, and how many of the input's it stands for: 1 + replaces, where 0 is the
// first and -1 one of the others that a decomposition gave.
struct Part {
  char32_t code;
  int mark_class;
  int replaces;
};

bool keeps_compatibility(Form form) { return form == Form::nfc || form == Form::nfd; }

// Below this every character is its own normal form.
char32_t first_changed(Form form) {
  return form == Form::nfc ? 0x300 : form == Form::nfd ? 0xC0 : 0xA0;
}

constexpr char32_t kHangul = 0xAC00, kLead = 0x1100, kVowel = 0x1161, kTail = 0x11A7;
constexpr char32_t kLeads = 19, kVowels = 21, kTails = 28;

uint64_t pair_key(char32_t a, char32_t b) { return static_cast<uint64_t>(a) << 32 | b; }

// utf8proc tells what a character decomposes into and whether composition leaves it out; the pairs
// that compose follow: all but the last of a full decomposition, composed, and the last.
class Compositions {
 public:
  Compositions() {
    std::unordered_map<std::u32string, char32_t> whole;
    std::vector<std::pair<char32_t, std::u32string>> found;
    for (char32_t c = 0xC0; c < 0x30000; ++c) {
      if (c == kHangul) c += kLeads * kVowels * kTails;
      const auto* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
      if (property->decomp_seqindex == UINT16_MAX || property->decomp_type != 0 ||
          property->comp_exclusion)
        continue;
      char32_t parts[kMaxDecomposition];
      const auto length = canonical_decomposition(c, parts);
      if (length < 2) continue;
      found.emplace_back(c, std::u32string(parts, length));
      whole.emplace(found.back().second, c);
    }
    for (const auto& [c, parts] : found) {
      auto first = parts[0];
      if (parts.size() > 2) {
        const auto head = whole.find(parts.substr(0, parts.size() - 1));
        if (head == whole.end()) continue;
        first = head->second;
      }
      pairs_.emplace(pair_key(first, parts.back()), c);
    }
  }

  /// 0 where the two do not compose.
  char32_t find(char32_t a, char32_t b, UnicodeData data) const {
    if (a >= kLead && a < kLead + kLeads && b >= kVowel && b < kVowel + kVowels)
      return kHangul + ((a - kLead) * kVowels + (b - kVowel)) * kTails;
    if (a >= kHangul && a < kHangul + kLeads * kVowels * kTails && (a - kHangul) % kTails == 0 &&
        b > kTail && b < kTail + kTails)
      return a + (b - kTail);
    if (a == 0x11935 && b == 0x11930) return data == UnicodeData::python ? 0x11938 : 0;
    const auto at = pairs_.find(pair_key(a, b));
    return at == pairs_.end() ? 0 : at->second;
  }

 private:
  std::unordered_map<uint64_t, char32_t> pairs_;
};

int mark_class(char32_t c, UnicodeData data) {
  return data == UnicodeData::python ? python_combining_class(c) : combining_class(c);
}

std::vector<Part> decomposed(const Chars& chars, Form form, UnicodeData data) {
  std::vector<Part> out;
  out.reserve(chars.size() + 8);
  char32_t parts[kMaxDecomposition];
  size_t run = 0;  // where the marks at the end of `out` begin
  const auto sort_marks = [&] {
    std::stable_sort(out.begin() + run, out.end(),
                     [](const Part& a, const Part& b) { return a.mark_class < b.mark_class; });
  };
  for (const auto& c : chars) {
    auto length = keeps_compatibility(form) ? canonical_decomposition(c.code, parts)
                                            : compatibility_decomposition(c.code, parts);
    if (c.code == 0x11938 && data == UnicodeData::python)
      length = 2, parts[0] = 0x11935, parts[1] = 0x11930;
    for (size_t i = 0; i < length; ++i) {
      const auto rank = mark_class(parts[i], data);
      if (rank == 0) sort_marks();
      out.push_back({parts[i], rank, i == 0 ? 0 : -1});
      if (rank == 0) run = out.size();
    }
  }
  sort_marks();
  return out;
}

std::vector<Part> composed(const std::vector<Part>& parts, UnicodeData data) {
  static const Compositions compositions;
  std::vector<Part> out;
  out.reserve(parts.size());
  size_t starter = 0;  // in `out`
  bool started = false;
  int last = -1;  // class of what stands behind the starter; -1: nothing
  for (const auto& part : parts) {
    if (started && (last < 0 || last < part.mark_class)) {
      if (const auto c = compositions.find(out[starter].code, part.code, data)) {
        out[starter].code = c;
        out[starter].replaces += part.replaces + 1;
        continue;
      }
    }
    if (part.mark_class == 0) {
      starter = out.size();
      started = true;
      last = -1;
    } else if (started) {
      last = part.mark_class;
    }
    out.push_back(part);
  }
  return out;
}

}  // namespace

void normalize(Chars& chars, Form form, UnicodeData data) {
  if (std::ranges::all_of(chars, [&](const Char& c) { return c.code < first_changed(form); }))
    return;
  auto parts = decomposed(chars, form, data);
  if (form == Form::nfc || form == Form::nfkc) parts = composed(parts, data);
  std::vector<Change> changes;
  changes.reserve(parts.size());
  for (const auto& part : parts) changes.push_back({part.code, -part.replaces});
  apply_changes(changes, chars);
}

}  // namespace weft::tokenizers
