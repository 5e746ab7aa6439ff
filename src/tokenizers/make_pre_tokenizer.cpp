#include <fmt/format.h>

#include "tokenizers/bert.hpp"
#include "tokenizers/byte_level.hpp"
#include "tokenizers/clip_split.hpp"
#include "tokenizers/metaspace.hpp"
#include "tokenizers/pattern.hpp"
#include "tokenizers/split.hpp"
#include "tokenizers/unicode.hpp"
#include "tokenizers/word_split.hpp"

namespace weft::tokenizers {
namespace {

std::unique_ptr<PreTokenizer> split_at(bool (*matches)(char32_t), Behavior behavior) {
  return std::make_unique<Split>(std::make_unique<CharacterPattern>(matches), behavior, false);
}

std::unique_ptr<PreTokenizer> make_split(const json& component, const Where& where) {
  auto pattern = read_pattern(component, where);
  const auto behavior =
      read_behavior(text_member(component, "behavior", "", where), where.at("behavior"));
  const bool invert = flag(component, "invert", false, where);
  if (!pattern.regex)
    return std::make_unique<Split>(std::make_unique<StringPattern>(std::move(pattern.text)),
                                   behavior, invert);
  if (behavior == Behavior::removed && invert) {
    if (auto specials = clip_specials(pattern.text))
      return std::make_unique<ClipSplit>(ClipSplitOptions{.specials = std::move(*specials)});
  }
  // A pattern that matches everything leaves nothing in between to remove.
  if (behavior == Behavior::isolated || (behavior == Behavior::removed && invert)) {
    if (const auto known = known_word_pattern(pattern.text))
      return std::make_unique<WordSplit>(*known);
    if (pattern.text == kGpt2Pattern) return std::make_unique<ByteLevelSplit>();
  }
  return std::make_unique<Split>(
      std::make_unique<RegexPattern>(Regex(pattern.text, where.at("pattern"))), behavior, invert);
}

std::unique_ptr<PreTokenizer> make_delimiter_split(const json& component, const Where& where) {
  auto delimiter = text_member(component, "delimiter", "", where);
  if (count_code_points(delimiter) != 1) fail_at(where.at("delimiter"), "expected one character");
  return std::make_unique<Split>(std::make_unique<StringPattern>(std::move(delimiter)),
                                 Behavior::removed, false);
}

std::unique_ptr<PreTokenizer> make_sequence(const json& component, const Where& where) {
  const auto& list = parts_of(component, "pretokenizers", where);
  std::vector<std::unique_ptr<PreTokenizer>> parts;
  for (size_t i = 0; i < list.size(); ++i) {
    const auto here = where.at("pretokenizers").at(i);
    if (!parts.empty() && parts.back()->gives_bytes())
      fail_unsupported(here, "a pre-tokenizer behind ByteLevel");
    auto part = make_pre_tokenizer(list[i], here);
    if (!part) continue;
    const auto* split = parts.empty() ? nullptr : dynamic_cast<ClipSplit*>(parts.back().get());
    const auto* byte_level = dynamic_cast<ByteLevel*>(part.get());
    if (split && byte_level && byte_level->splits_only()) {
      parts.back() = std::make_unique<ClipSplit>(
          ClipSplitOptions{.specials = split->options().specials, .split_specials = true});
    } else {
      parts.push_back(std::move(part));
    }
  }
  return std::make_unique<PreTokenizerSequence>(std::move(parts));
}

}  // namespace

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const json& component, const Where& where) {
  if (component.is_null()) return nullptr;
  const auto type = type_of(component, where);
  if (type == "BertPreTokenizer") return std::make_unique<BertPreTokenizer>();
  if (type == "ByteLevel") {
    return std::make_unique<ByteLevel>(flag(component, "add_prefix_space", true, where),
                                       flag(component, "use_regex", true, where));
  }
  if (type == "Digits")
    return std::make_unique<Digits>(flag(component, "individual_digits", false, where));
  if (type == "Split") return make_split(component, where);
  if (type == "Metaspace")
    return std::make_unique<Metaspace>(read_replacement(component, where),
                                       read_prepend_scheme(component, where),
                                       flag(component, "split", true, where));
  if (type == "Whitespace")
    return std::make_unique<Split>(std::make_unique<WordPattern>(), Behavior::removed, true);
  if (type == "WhitespaceSplit") return split_at(is_white_space, Behavior::removed);
  if (type == "Punctuation") {
    const auto behavior = text_member(component, "behavior", "Isolated", where);
    return split_at(is_bert_punctuation, read_behavior(behavior, where.at("behavior")));
  }
  if (type == "CharDelimiterSplit") return make_delimiter_split(component, where);
  if (type == "Sequence") return make_sequence(component, where);
  fail_unsupported(where, fmt::format("the pre-tokenizer '{}'", type));
}

}  // namespace weft::tokenizers
