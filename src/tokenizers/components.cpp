#include "tokenizers/components.hpp"

#include <algorithm>

#include "core/fail.hpp"
#include "tokenizers/bert.hpp"
#include "tokenizers/bpe.hpp"
#include "tokenizers/byte_level.hpp"
#include "tokenizers/clip_split.hpp"
#include "tokenizers/normalizers.hpp"
#include "tokenizers/unicode.hpp"
#include "tokenizers/wordpiece.hpp"

namespace weft::tokenizers {

void Text::append(char32_t code_point, Offset from) {
  append_utf8(code_point, bytes);
  if (tracked) source.resize(bytes.size(), from);
}

void fail_at(const Where& where, std::string_view what) {
  fail("{}: {}: {}", where.file, where.key, what);
}

void fail_unsupported(const Where& where, std::string_view what) {
  fail("{}: {}: {} is not supported", where.file, where.key, what);
}

const json& member(const json& object, const char* key, const Where& where) {
  if (!object.is_object())
    fail_at(where, fmt::format("expected an object, found {}", object.type_name()));
  const auto found = object.find(key);
  if (found == object.end()) fail_at(where, fmt::format("the key '{}' is missing", key));
  return *found;
}

static const json* optional_member(const json& object, const char* key, const Where& where) {
  if (!object.is_object())
    fail_at(where, fmt::format("expected an object, found {}", object.type_name()));
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

bool flag(const json& object, const char* key, bool otherwise, const Where& where) {
  const auto* value = optional_member(object, key, where);
  if (!value) return otherwise;
  if (!value->is_boolean())
    fail_at(where.at(key), fmt::format("expected true or false, found {}", value->type_name()));
  return value->get<bool>();
}

std::string text_member(const json& object, const char* key, const std::string& otherwise,
                        const Where& where) {
  const auto* value = optional_member(object, key, where);
  if (!value) return otherwise;
  if (!value->is_string())
    fail_at(where.at(key), fmt::format("expected a string, found {}", value->type_name()));
  return value->get<std::string>();
}

int64_t int_member(const json& object, const char* key, int64_t low, int64_t high,
                   const Where& where) {
  return int_value(member(object, key, where), low, high, where.at(key));
}

int64_t int_value(const json& value, int64_t low, int64_t high, const Where& where) {
  if (!value.is_number_integer())
    fail_at(where, fmt::format("expected an integer, found {}", value.type_name()));
  const auto number = value.get<int64_t>();
  if (number < low || number > high)
    fail_at(where, fmt::format("expected {} to {}, found {}", low, high, number));
  return number;
}

std::string type_of(const json& component, const Where& where) {
  const auto& type = member(component, "type", where);
  if (!type.is_string())
    fail_at(where.at("type"), fmt::format("expected a string, found {}", type.type_name()));
  return type.get<std::string>();
}

std::vector<std::pair<std::string, int64_t>> read_vocab(const json& object, const Where& where) {
  if (!object.is_object())
    fail_at(where, fmt::format("expected an object, found {}", object.type_name()));
  if (object.size() > static_cast<size_t>(kMaxTokens))
    fail_at(where, fmt::format("{} tokens, more than the limit of {}", object.size(), kMaxTokens));
  std::vector<std::pair<std::string, int64_t>> tokens;
  tokens.reserve(object.size());
  for (const auto& [token, id] : object.items())
    tokens.emplace_back(token, int_value(id, 0, kMaxTokens - 1, where.at(token)));
  std::sort(tokens.begin(), tokens.end(),
            [](const auto& a, const auto& b) { return a.second < b.second; });
  for (size_t i = 1; i < tokens.size(); ++i) {
    if (tokens[i].second == tokens[i - 1].second)
      fail_at(where, fmt::format("'{}' and '{}' have the same id {}", tokens[i - 1].first,
                                 tokens[i].first, tokens[i].second));
  }
  return tokens;
}

// The parts of a Sequence.
static const json& parts_of(const json& component, const char* key, const Where& where) {
  const auto& list = member(component, key, where);
  if (!list.is_array()) fail_at(where.at(key), "expected an array");
  return list;
}

// {"Regex": ".."} of a Replace or Split.
static std::string pattern_of(const json& component, const Where& where) {
  const auto& pattern = member(component, "pattern", where);
  if (!pattern.is_object() || !pattern.contains("Regex"))
    fail_unsupported(where.at("pattern"), "a pattern other than {\"Regex\": ..}");
  return text_member(pattern, "Regex", "", where.at("pattern"));
}

std::unique_ptr<Normalizer> make_normalizer(const json& component, const Where& where) {
  if (component.is_null()) return nullptr;
  const auto type = type_of(component, where);
  if (type == "BertNormalizer") {
    BertNormalizerOptions options;
    options.clean_text = flag(component, "clean_text", true, where);
    options.handle_chinese_chars = flag(component, "handle_chinese_chars", true, where);
    options.lowercase = flag(component, "lowercase", true, where);
    options.strip_accents = flag(component, "strip_accents", options.lowercase, where);
    return std::make_unique<BertNormalizer>(options);
  }
  if (type == "NFC") return std::make_unique<NfcNormalizer>();
  if (type == "Lowercase") return std::make_unique<LowercaseNormalizer>();
  if (type == "Replace") {
    const auto pattern = pattern_of(component, where);
    const auto content = text_member(component, "content", "", where);
    if (pattern != "\\s+" || content != " ")
      fail_unsupported(
          where, fmt::format("Replace of '{}' by '{}', other than that of \\s+ by ' ',", pattern,
                             content));
    return std::make_unique<WhiteSpaceNormalizer>();
  }
  if (type == "Sequence") {
    const auto& list = parts_of(component, "normalizers", where);
    std::vector<std::unique_ptr<Normalizer>> parts;
    for (size_t i = 0; i < list.size(); ++i) {
      if (auto part = make_normalizer(list[i], where.at("normalizers").at(i)))
        parts.push_back(std::move(part));
    }
    return std::make_unique<NormalizerSequence>(std::move(parts));
  }
  fail_unsupported(where, fmt::format("the normalizer '{}'", type));
}

static std::unique_ptr<PreTokenizer> make_clip_split(const json& component, const Where& where) {
  const auto pattern = pattern_of(component, where);
  auto specials = clip_specials(pattern);
  if (!specials) fail_unsupported(where.at("pattern"), fmt::format("the pattern '{}'", pattern));
  const auto behavior = text_member(component, "behavior", "", where);
  if (behavior != "Removed" || !flag(component, "invert", false, where))
    fail_unsupported(where, "CLIP's pattern other than with 'Removed' and invert");
  return std::make_unique<ClipSplit>(ClipSplitOptions{.specials = std::move(*specials)});
}

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
  if (type == "Split") return make_clip_split(component, where);
  if (type == "Sequence") {
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
  fail_unsupported(where, fmt::format("the pre-tokenizer '{}'", type));
}

static std::unique_ptr<Model> make_bpe(const json& component, bool bytes, const Where& where) {
  if (!bytes) fail_unsupported(where, "BPE without a ByteLevel pre-tokenizer at the end");
  if (!text_member(component, "continuing_subword_prefix", "", where).empty())
    fail_unsupported(where.at("continuing_subword_prefix"), "a value other than \"\"");
  if (flag(component, "byte_fallback", false, where))
    fail_unsupported(where.at("byte_fallback"), "true");
  if (component.contains("dropout") && !component["dropout"].is_null())
    fail_unsupported(where.at("dropout"), "a value other than null");
  BpeOptions options;
  if (component.contains("unk_token") && !component["unk_token"].is_null())
    options.unk_token = text_member(component, "unk_token", "", where);
  options.end_of_word_suffix = text_member(component, "end_of_word_suffix", "", where);
  options.fuse_unk = flag(component, "fuse_unk", false, where);
  options.ignore_merges = flag(component, "ignore_merges", false, where);
  return std::make_unique<Bpe>(
      options, read_vocab(member(component, "vocab", where), where.at("vocab")),
      read_merges(member(component, "merges", where), where.at("merges")), where);
}

std::unique_ptr<Model> make_model(const json& component, bool bytes, const Where& where) {
  // Files written before the models had names are told by their keys.
  if (component.is_object() && !component.contains("type") && component.contains("merges"))
    return make_bpe(component, bytes, where);
  const auto type = type_of(component, where);
  if (type == "BPE") return make_bpe(component, bytes, where);
  if (type == "WordPiece") {
    WordPieceOptions options;
    options.unk_token = text_member(component, "unk_token", options.unk_token, where);
    options.continuing_subword_prefix =
        text_member(component, "continuing_subword_prefix", "##", where);
    if (component.contains("max_input_chars_per_word"))
      options.max_input_chars_per_word =
          int_member(component, "max_input_chars_per_word", 1, 1'000'000, where);
    return std::make_unique<WordPiece>(
        options, read_vocab(member(component, "vocab", where), where.at("vocab")), where);
  }
  fail_unsupported(where, fmt::format("the model '{}'", type));
}

// ["[SEP]", 102]
static int64_t named_id(const json& component, const char* key, const Where& where) {
  const auto& pair = member(component, key, where);
  if (!pair.is_array() || pair.size() != 2)
    fail_at(where.at(key), "expected a pair of a token and its id");
  return int_value(pair[1], 0, kMaxTokens - 1, where.at(key));
}

static std::vector<int64_t> read_template(const json& component, const Where& where) {
  const auto& parts = member(component, "single", where);
  const auto& specials = member(component, "special_tokens", where);
  if (!parts.is_array()) fail_at(where.at("single"), "expected an array");
  std::vector<int64_t> ids;
  int texts = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto here = where.at("single").at(i);
    const auto& part = parts[i];
    if (part.is_object() && part.contains("Sequence")) {
      ++texts;
      ids.push_back(PostProcessor::kText);
      continue;
    }
    const auto& name = member(member(part, "SpecialToken", here), "id", here);
    if (!name.is_string()) fail_at(here, "expected the name of a special token");
    const auto key = name.get<std::string>();
    const auto there = where.at("special_tokens");
    const auto& list = member(member(specials, key.c_str(), there), "ids", there.at(key));
    if (!list.is_array()) fail_at(there.at(key), "expected an array of ids");
    for (const auto& id : list) ids.push_back(int_value(id, 0, kMaxTokens - 1, there.at(key)));
  }
  if (texts != 1)
    fail_at(where.at("single"), fmt::format("expected the text once, found it {} times", texts));
  return ids;
}

PostProcessor make_post_processor(const json& component, const Where& where) {
  PostProcessor out;
  if (component.is_null()) return out;
  const auto type = type_of(component, where);
  if (type == "TemplateProcessing") {
    out.single = read_template(component, where);
  } else if (type == "BertProcessing") {
    out.single = {named_id(component, "cls", where), PostProcessor::kText,
                  named_id(component, "sep", where)};
  } else if (type == "RobertaProcessing") {
    out.single = {named_id(component, "cls", where), PostProcessor::kText,
                  named_id(component, "sep", where)};
    out.trim_offsets = flag(component, "trim_offsets", true, where);
    out.add_prefix_space = flag(component, "add_prefix_space", true, where);
  } else if (type == "ByteLevel") {
    out.trim_offsets = flag(component, "trim_offsets", true, where);
    out.add_prefix_space = flag(component, "add_prefix_space", true, where);
  } else if (type == "Sequence") {
    const auto& parts = parts_of(component, "processors", where);
    for (size_t i = 0; i < parts.size(); ++i) {
      auto next = make_post_processor(parts[i], where.at("processors").at(i));
      if (next.added() > 0) out.single = std::move(next.single);
      if (next.trim_offsets) {
        out.trim_offsets = true;
        out.add_prefix_space = next.add_prefix_space;
      }
    }
  } else {
    fail_unsupported(where, fmt::format("the post-processor '{}'", type));
  }
  return out;
}

std::unique_ptr<Decoder> make_decoder(const json& component, const Where& where) {
  if (component.is_null()) return nullptr;
  const auto type = type_of(component, where);
  if (type == "WordPiece") {
    return std::make_unique<WordPieceDecoder>(text_member(component, "prefix", "##", where),
                                              flag(component, "cleanup", true, where));
  }
  if (type == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  fail_unsupported(where, fmt::format("the decoder '{}'", type));
}

}  // namespace weft::tokenizers
