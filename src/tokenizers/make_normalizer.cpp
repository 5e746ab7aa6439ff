#include <fmt/format.h>

#include "tokenizers/base64.hpp"
#include "tokenizers/bert.hpp"
#include "tokenizers/charsmap.hpp"
#include "tokenizers/normalizers.hpp"
#include "tokenizers/pattern.hpp"

namespace weft::tokenizers {
namespace {

std::unique_ptr<Normalizer> make_bert(const json& component, const Where& where) {
  BertNormalizerOptions options;
  options.clean_text = flag(component, "clean_text", true, where);
  options.handle_chinese_chars = flag(component, "handle_chinese_chars", true, where);
  options.lowercase = flag(component, "lowercase", true, where);
  options.strip_accents = flag(component, "strip_accents", options.lowercase, where);
  return std::make_unique<BertNormalizer>(options);
}

std::unique_ptr<Normalizer> make_replace(const json& component, const Where& where) {
  auto pattern = read_pattern(component, where);
  auto content = text_member(component, "content", "", where);
  if (!pattern.regex)
    return std::make_unique<ReplaceNormalizer>(std::move(pattern.text), std::move(content));
  if (pattern.text == "\\s+" && content == " ") return std::make_unique<WhiteSpaceNormalizer>();
  return std::make_unique<RegexNormalizer>(Regex(pattern.text, where.at("pattern")),
                                           std::move(content));
}

std::unique_ptr<Normalizer> make_precompiled(const json& component, const Where& where) {
  const auto map = text_member(component, "precompiled_charsmap", "", where);
  const auto here = where.at("precompiled_charsmap");
  return std::make_unique<PrecompiledNormalizer>(CharsMap(decode_base64(map, here), here));
}

std::unique_ptr<Normalizer> make_sequence(const json& component, const Where& where) {
  const auto& list = parts_of(component, "normalizers", where);
  std::vector<std::unique_ptr<Normalizer>> parts;
  for (size_t i = 0; i < list.size(); ++i) {
    if (auto part = make_normalizer(list[i], where.at("normalizers").at(i)))
      parts.push_back(std::move(part));
  }
  return std::make_unique<NormalizerSequence>(std::move(parts));
}

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const json& component, const Where& where) {
  if (component.is_null()) return nullptr;
  const auto type = type_of(component, where);
  if (type == "BertNormalizer") return make_bert(component, where);
  if (type == "NFC") return std::make_unique<FormNormalizer>(Form::nfc);
  if (type == "NFD") return std::make_unique<FormNormalizer>(Form::nfd);
  if (type == "NFKC") return std::make_unique<FormNormalizer>(Form::nfkc);
  if (type == "NFKD") return std::make_unique<FormNormalizer>(Form::nfkd);
  if (type == "Lowercase") return std::make_unique<LowercaseNormalizer>();
  if (type == "StripAccents") return std::make_unique<StripAccentsNormalizer>();
  if (type == "Nmt") return std::make_unique<NmtNormalizer>();
  if (type == "Strip")
    return std::make_unique<StripNormalizer>(flag(component, "strip_left", true, where),
                                             flag(component, "strip_right", true, where));
  if (type == "Prepend")
    return std::make_unique<PrependNormalizer>(text_member(component, "prepend", "", where));
  if (type == "Replace") return make_replace(component, where);
  if (type == "Precompiled") return make_precompiled(component, where);
  if (type == "Sequence") return make_sequence(component, where);
  fail_unsupported(where, fmt::format("the normalizer '{}'", type));
}

}  // namespace weft::tokenizers
