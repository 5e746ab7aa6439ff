#include <algorithm>

#include "tokenizers/jinja/filters.hpp"
#include "tokenizers/python_unicode.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers::jinja {

std::vector<Value> split_words(const Text& self, int64_t limit, bool right) {
  std::vector<std::pair<size_t, size_t>> words;
  const auto& bytes = self.bytes;
  for (size_t at = 0; at < bytes.size();) {
    size_t next = at;
    if (is_python_space(next_code_point(bytes, next))) {
      at = next;
      continue;
    }
    const size_t begin = at;
    for (; at < bytes.size(); at = next) {
      next = at;
      if (is_python_space(next_code_point(bytes, next))) break;
    }
    words.emplace_back(begin, at);
  }
  const size_t allowed = limit < 0 ? words.size() : static_cast<size_t>(limit) + 1;
  if (words.size() > allowed) {
    if (right) {
      const size_t kept = words.size() - allowed;
      words[kept].first = 0;
      words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(kept));
    } else {
      // The rest as it is, but for the space at its end when no split is allowed there.
      words[allowed - 1].second = bytes.size();
      words.resize(allowed);
    }
  }
  std::vector<Value> out;
  for (const auto& [begin, end] : words) out.emplace_back(substring(self, begin, end));
  return out;
}

std::vector<Value> split_at(const Text& self, std::string_view separator, int64_t limit,
                            bool right) {
  std::vector<std::pair<size_t, size_t>> parts;
  const auto& bytes = self.bytes;
  size_t begin = 0, end = bytes.size();
  while (limit != 0) {
    const auto found =
        right ? (end >= separator.size() ? bytes.rfind(separator, end - separator.size())
                                         : std::string::npos)
              : bytes.find(separator, begin);
    if (found == std::string::npos) break;
    if (right) {
      parts.emplace_back(found + separator.size(), end);
      end = found;
    } else {
      parts.emplace_back(begin, found);
      begin = found + separator.size();
    }
    limit -= limit > 0;
  }
  parts.emplace_back(begin, end);
  if (right) std::reverse(parts.begin(), parts.end());
  std::vector<Value> out;
  for (const auto& [from, to] : parts) out.emplace_back(substring(self, from, to));
  return out;
}

std::vector<Value> split_lines(const Text& text, bool keep_ends) {
  std::vector<Value> out;
  const auto& bytes = text.bytes;
  for (size_t at = 0; at < bytes.size();) {
    size_t end = at, next = at;
    bool broken = false;
    while (end < bytes.size()) {
      next = end;
      const char32_t c = next_code_point(bytes, next);
      broken = (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
               c == 0x2029;
      if (broken) {
        if (c == '\r' && next < bytes.size() && bytes[next] == '\n') ++next;
        break;
      }
      end = next;
    }
    out.emplace_back(substring(text, at, keep_ends ? next : end));
    at = next;
  }
  return out;
}

}  // namespace weft::tokenizers::jinja
