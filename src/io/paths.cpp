#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <optional>

#include <weft/io/paths.hpp>

#include "core/fail.hpp"

namespace weft::io {
namespace {

namespace fs = std::filesystem;
constexpr size_t kMaxBytes = 256'000'000;  // of all results together
constexpr int kMaxDepth = 32;

/// Collects results and keeps the limits.
class Braces {
 public:
  Braces(std::string_view pattern, size_t max_count) : pattern_(pattern), max_count_(max_count) {}

  std::vector<std::string> expand(std::string_view text, int depth = 0) {
    if (depth > kMaxDepth) fail("'{}': braces are nested deeper than {}", pattern_, kMaxDepth);
    std::vector<std::string> out = {""};
    size_t position = 0;
    while (position < text.size()) {
      const auto open = text.find('{', position);
      const auto literal = text.substr(position, open - position);
      if (literal.find('}') != std::string_view::npos) unbalanced();
      append(out, {std::string(literal)});
      if (open == std::string_view::npos) break;
      const auto close = closing(text, open);
      append(out, group(text.substr(open + 1, close - open - 1), depth));
      position = close + 1;
    }
    return out;
  }

 private:
  [[noreturn]] void unbalanced() { fail("'{}': the braces are not balanced", pattern_); }

  size_t closing(std::string_view text, size_t open) {
    int depth = 0;
    for (auto i = open; i < text.size(); ++i) {
      if (text[i] == '{') ++depth;
      if (text[i] == '}' && --depth == 0) return i;
    }
    unbalanced();
  }

  /// out becomes every element of out followed by every one of tails.
  void append(std::vector<std::string>& out, const std::vector<std::string>& tails) {
    if (tails.size() == 1) {
      for (auto& head : out) head += tails.front();
      return check(out.size(), out.size() * out.front().size());
    }
    size_t heads_bytes = 0, tails_bytes = 0;
    for (const auto& head : out) heads_bytes += head.size();
    for (const auto& tail : tails) tails_bytes += tail.size();
    check(out.size() * tails.size(), heads_bytes * tails.size() + tails_bytes * out.size());
    std::vector<std::string> product;
    product.reserve(out.size() * tails.size());
    for (const auto& head : out)
      for (const auto& tail : tails) product.push_back(head + tail);
    out = std::move(product);
  }

  void check(size_t count, size_t bytes) {
    if (count > max_count_) fail("'{}': names more than {} files", pattern_, max_count_);
    if (bytes > kMaxBytes) fail("'{}': the names take more than {} bytes", pattern_, kMaxBytes);
  }

  std::vector<std::string> group(std::string_view inner, int depth) {
    std::vector<std::string_view> parts;
    int open = 0;
    size_t start = 0;
    for (size_t i = 0; i < inner.size(); ++i) {
      if (inner[i] == '{') ++open;
      if (inner[i] == '}') --open;
      if (inner[i] == ',' && open == 0) {
        parts.push_back(inner.substr(start, i - start));
        start = i + 1;
      }
    }
    parts.push_back(inner.substr(start));
    std::vector<std::string> out;
    if (parts.size() == 1) {
      if (auto values = range(inner)) return std::move(*values);
      for (auto& text : expand(inner, depth + 1)) out.push_back("{" + text + "}");
      return out;
    }
    size_t bytes = 0;
    for (const auto part : parts) {
      for (auto& text : expand(part, depth + 1)) {
        bytes += text.size();
        out.push_back(std::move(text));
      }
      check(out.size(), bytes);
    }
    return out;
  }

  /// "000..120", "a..f", "0..10..2"; nothing where the text is no range.
  std::optional<std::vector<std::string>> range(std::string_view text) {
    const auto dots = text.find("..");
    if (dots == std::string_view::npos) return std::nullopt;
    auto first = text.substr(0, dots), last = text.substr(dots + 2);
    int64_t step = 1;
    if (const auto more = last.find(".."); more != std::string_view::npos) {
      const auto value = number(last.substr(more + 2));
      if (!value) return std::nullopt;
      step = *value < 0 ? -*value : *value;
      last = last.substr(0, more);
    }
    if (step == 0) fail("'{}': the range '{}' has the step 0", pattern_, text);
    const auto letter = [](std::string_view s) {
      return s.size() == 1 && ((s[0] >= 'a' && s[0] <= 'z') || (s[0] >= 'A' && s[0] <= 'Z'));
    };
    const bool letters = letter(first) && letter(last);
    const auto from = letters ? std::optional<int64_t>(first[0]) : number(first);
    const auto to = letters ? std::optional<int64_t>(last[0]) : number(last);
    if (!from || !to) return std::nullopt;
    const auto count = static_cast<uint64_t>(*from < *to ? *to - *from : *from - *to) /
                           static_cast<uint64_t>(step) +
                       1;
    const auto padded = [](std::string_view s) {
      if (s.starts_with('-')) s.remove_prefix(1);
      return s.size() > 1 && s[0] == '0';
    };
    const size_t width = padded(first) || padded(last) ? std::max(first.size(), last.size()) : 0;
    if (count > max_count_) check(count, 0);
    check(count, count * std::max<size_t>(width, 1));
    std::vector<std::string> out;
    for (uint64_t i = 0; i < count; ++i) {
      const auto offset = static_cast<int64_t>(i) * step;
      const auto value = *from < *to ? *from + offset : *from - offset;
      out.push_back(letters ? std::string(1, static_cast<char>(value))
                            : fmt::format("{:0{}}", value, width));
    }
    return out;
  }

  static std::optional<int64_t> number(std::string_view text) {
    // 15 digits keep every sum of two numbers within 64 bits.
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc() || end != text.data() + text.size() ||
        value > 999'999'999'999'999 || value < -999'999'999'999'999)
      return std::nullopt;
    return value;
  }

  std::string_view pattern_;
  size_t max_count_;
};

bool has_wildcard(std::string_view text) {
  return text.find_first_of("*?") != std::string_view::npos;
}

/// '*' and '?' over one component; goes back to the last '*' only, which suffices.
bool matches(std::string_view pattern, std::string_view name) {
  if (name.starts_with('.') && !pattern.starts_with('.')) return false;
  size_t p = 0, n = 0, star = std::string_view::npos, star_end = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_end = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p, ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++star_end;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

/// Appends what matches `rest` (components) below `folder`, whose text is a prefix of results.
void glob(const std::string& folder, std::string_view rest, std::string_view pattern,
          size_t max_count, std::vector<std::string>& out) {
  const auto slash = rest.find('/');
  const auto component = rest.substr(0, slash);
  const bool last = slash == std::string_view::npos;
  const auto descend = [&](const std::string& name) {
    const auto path = folder + name;
    std::error_code ignored;
    if (!last) {
      glob(path + "/", rest.substr(slash + 1), pattern, max_count, out);
    } else if (fs::exists(path, ignored)) {
      if (out.size() == max_count) fail("'{}': names more than {} files", pattern, max_count);
      out.push_back(path);
    }
  };
  if (!has_wildcard(component)) return descend(std::string(component));
  std::vector<std::string> names;
  std::error_code ignored;
  for (fs::directory_iterator it(folder.empty() ? "." : folder, ignored), end;
       !ignored && it != end; it.increment(ignored)) {
    auto name = it->path().filename().string();
    if (matches(component, name)) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  for (const auto& name : names) descend(name);
}

}  // namespace

std::vector<std::string> expand_braces(std::string_view pattern, size_t max_count) {
  return Braces(pattern, max_count).expand(pattern);
}

std::vector<std::string> expand_paths(std::string_view pattern, size_t max_count) {
  std::vector<std::string> out;
  for (size_t start = 0; start <= pattern.size();) {
    const auto end = std::min(pattern.find("::", start), pattern.size());
    const auto part = pattern.substr(start, end - start);
    start = end + 2;
    if (part.empty()) fail("'{}': expected a path, found an empty pattern", pattern);
    const auto first = out.size();
    bool listed = false;
    for (auto& name : expand_braces(part, max_count)) {
      const auto before = out.size();
      if (!has_wildcard(name)) {
        if (out.size() == max_count) fail("'{}': names more than {} files", pattern, max_count);
        out.push_back(std::move(name));
        continue;
      }
      const bool absolute = name.starts_with('/');
      glob(absolute ? "/" : "", std::string_view(name).substr(absolute), pattern, max_count, out);
      if (out.size() == before) fail("'{}': no file matches '{}'", pattern, name);
      listed = true;
    }
    const auto exists = [](const std::string& name) {
      std::error_code ignored;
      return fs::exists(name, ignored);
    };
    if (!listed &&
        std::none_of(out.begin() + static_cast<std::ptrdiff_t>(first), out.end(), exists))
      fail("'{}': no such file{}", part, out.size() - first > 1 ? "s" : "");
  }
  return out;
}

}  // namespace weft::io
