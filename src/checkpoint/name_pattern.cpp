#include "checkpoint/name_pattern.hpp"

#include <weft/core/error.hpp>

namespace weft::checkpoint {
namespace {

struct Capture {
  std::string_view key;
  bool many;              // "{x...}"
  std::string_view rest;  // of the pattern
};

Capture read_capture(std::string_view pattern) {
  const auto end = pattern.find('}');
  if (end == std::string_view::npos)
    throw Error("key map: no } in the pattern '" + std::string(pattern) + "'");
  auto key = pattern.substr(1, end - 1);
  const bool many = key.ends_with("...");
  if (many) key.remove_suffix(3);
  return {key, many, pattern.substr(end + 1)};
}

bool match_rest(std::string_view pattern, std::string_view name, Captures& captures) {
  const auto open = pattern.find('{');
  const auto literal = pattern.substr(0, open);
  if (!name.starts_with(literal)) return false;
  name.remove_prefix(literal.size());
  if (open == std::string_view::npos) return name.empty();
  const auto capture = read_capture(pattern.substr(open));
  for (size_t length = 1; length <= name.size(); ++length) {
    if (!capture.many && name[length - 1] == '.') return false;
    const auto value = name.substr(0, length);
    const auto known = captures.find(capture.key);
    if (known != captures.end() && known->second != value) continue;
    auto attempt = captures;
    attempt.emplace(capture.key, value);
    if (match_rest(capture.rest, name.substr(length), attempt)) {
      captures = std::move(attempt);
      return true;
    }
  }
  return false;
}

}  // namespace

std::optional<Captures> match(std::string_view pattern, std::string_view name) {
  Captures captures;
  if (!match_rest(pattern, name, captures)) return std::nullopt;
  return captures;
}

std::string fill(std::string_view pattern, const Captures& captures) {
  std::string out;
  while (true) {
    const auto open = pattern.find('{');
    out += pattern.substr(0, open);
    if (open == std::string_view::npos) return out;
    const auto capture = read_capture(pattern.substr(open));
    const auto found = captures.find(capture.key);
    if (found == captures.end())
      throw Error("key map: '" + std::string(capture.key) + "' is captured on one side only");
    out += found->second;
    pattern = capture.rest;
  }
}

}  // namespace weft::checkpoint
