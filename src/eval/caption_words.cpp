#include <algorithm>

#include <weft/eval/captions.hpp>

#include "tokenizers/python_text.hpp"

namespace weft::eval {
namespace {

constexpr std::string_view kSuffixes[] = {"n't", "'s", "'m", "'d", "'ll", "'re", "'ve"};
// Where Penn Treebank parts them.
constexpr std::pair<std::string_view, size_t> kCompounds[] = {
    {"cannot", 3}, {"gimme", 3}, {"gonna", 3}, {"gotta", 3}, {"lemme", 3}, {"wanna", 3}};

bool caption_digit(char c) { return c >= '0' && c <= '9'; }
// Bytes of other scripts count as letters.
bool caption_letter(char c) { return (c >= 'a' && c <= 'z') || static_cast<uint8_t>(c) >= 0x80; }
bool caption_alnum(char c) { return caption_digit(c) || caption_letter(c); }

// Typographic marks as the ASCII ones that Treebank text has.
std::string plain_marks(std::string_view text) {
  static constexpr std::pair<std::string_view, std::string_view> kMarks[] = {
      {"\u2018", "'"},   {"\u2019", "'"},   {"\u201c", "\""}, {"\u201d", "\""},
      {"\u2013", " - "}, {"\u2014", " - "}, {"\u2026", " "}};
  std::string out;
  while (!text.empty()) {
    const auto* mark = std::ranges::find_if(
        kMarks, [&](const auto& entry) { return text.starts_with(entry.first); });
    if (mark == std::end(kMarks)) {
      out += text[0];
      text.remove_prefix(1);
    } else {
      out += mark->second;
      text.remove_prefix(mark->first.size());
    }
  }
  return out;
}

// Whether the character inside a word does not end it.
bool joins(char before, char c, char after) {
  switch (c) {
    case ',':
    case ':':
      return caption_digit(before) && caption_digit(after);
    case '.':
    case '-':
    case '\'':
    case '/':
    case '_':
      return caption_alnum(before) && caption_alnum(after);
    default:
      return false;
  }
}

void push_word(std::string_view word, std::vector<std::string>& out) {
  for (const auto& [compound, cut] : kCompounds) {
    if (word != compound) continue;
    out.emplace_back(word.substr(0, cut));
    out.emplace_back(word.substr(cut));
    return;
  }
  for (const auto suffix : kSuffixes) {
    if (word.size() <= suffix.size() || !word.ends_with(suffix)) continue;
    push_word(word.substr(0, word.size() - suffix.size()), out);
    out.emplace_back(suffix);
    return;
  }
  if (!word.empty()) out.emplace_back(word);
}

void part_chunk(std::string_view chunk, std::vector<std::string>& out) {
  constexpr std::string_view kDropped = "'\"`.,:;?!()[]{}-";
  if (std::ranges::find(kSuffixes, chunk) != std::end(kSuffixes)) {
    out.emplace_back(chunk);
    return;
  }
  size_t begin = 0;
  const auto end_word = [&](size_t at) { push_word(chunk.substr(begin, at - begin), out); };
  for (size_t at = 0; at < chunk.size(); ++at) {
    const char c = chunk[at];
    if (caption_alnum(c)) continue;
    const char before = at > begin ? chunk[at - 1] : '\0';
    const char after = at + 1 < chunk.size() ? chunk[at + 1] : '\0';
    if (joins(before, c, after)) continue;
    end_word(at);
    begin = at + 1;
    if (kDropped.find(c) == std::string_view::npos && c > ' ' && c < 0x7f) out.emplace_back(1, c);
  }
  end_word(chunk.size());
}

}  // namespace

std::vector<std::string> caption_words(std::string_view caption) {
  std::vector<std::string> out;
  for (const auto& chunk : tokenizers::python_split(plain_marks(tokenizers::python_lower(caption))))
    part_chunk(chunk, out);
  return out;
}

}  // namespace weft::eval
