#include "tokenizers/regex.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "core/fail.hpp"
#include "tokenizers/regex_syntax.hpp"

namespace weft::tokenizers {
namespace {

constexpr size_t kMaxPattern = 1 << 16;
constexpr uint32_t kMatchLimit = 1'000'000;

std::string message(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

// What a thread matches with.
struct Scratch {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  Scratch() {
    if (context) pcre2_set_match_limit(context, kMatchLimit);
  }
  ~Scratch() {
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
};

}  // namespace

struct Regex::Code {
  pcre2_code* code = nullptr;
  std::string pattern;
  ~Code() { pcre2_code_free(code); }
};

Regex::Regex(std::string_view pattern, const Where& where) : code_(std::make_unique<Code>()) {
  if (pattern.size() > kMaxPattern)
    fail_at(where, fmt::format("a pattern of {} bytes, more than the limit of {}", pattern.size(),
                               kMaxPattern));
  code_->pattern = pattern;
  const auto ours = translate_pattern(pattern, where);
  int error = 0;
  PCRE2_SIZE at = 0;
  const auto* text = reinterpret_cast<PCRE2_SPTR>(ours.data());
  code_->code = pcre2_compile(text, ours.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                              &error, &at, nullptr);
  if (!code_->code) fail_at(where, fmt::format("the pattern '{}': {}", pattern, message(error)));
  // Without JIT the pattern is interpreted.
  pcre2_jit_compile(code_->code, PCRE2_JIT_COMPLETE);
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;

bool Regex::find(std::string_view text, size_t from, Piece& match) const {
  static thread_local Scratch scratch;
  if (!scratch.data || !scratch.context) fail("PCRE2 has no memory for a match");
  const auto run = [&](uint32_t options) {
    return pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                       PCRE2_NO_UTF_CHECK | options, scratch.data, scratch.context);
  };
  auto result = run(0);
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = run(PCRE2_NO_JIT);
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result < 0)
    fail("the pattern '{}' on a text of {} bytes: {}", code_->pattern, text.size(),
         message(result));
  const auto* span = pcre2_get_ovector_pointer(scratch.data);
  // \K may set the beginning behind the end, or before the place that was asked for.
  match = {std::max(span[0], from), std::max(span[1], from)};
  if (match.begin > match.end) match.begin = match.end;
  return true;
}

std::string escape_regex(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\^$.|?*+()[]{}-#&~ ").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace weft::tokenizers
