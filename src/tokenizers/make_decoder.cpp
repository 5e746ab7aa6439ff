#include <fmt/format.h>

#include "tokenizers/byte_level.hpp"
#include "tokenizers/decoders.hpp"
#include "tokenizers/metaspace.hpp"
#include "tokenizers/pattern.hpp"
#include "tokenizers/unicode.hpp"
#include "tokenizers/wordpiece.hpp"

namespace weft::tokenizers {
namespace {

std::unique_ptr<Decoder> make_replace(const json& component, const Where& where) {
  const auto pattern = read_pattern(component, where);
  // An empty string is found nowhere.
  const auto regex = pattern.regex          ? pattern.text
                     : pattern.text.empty() ? std::string("(?!)")
                                            : escape_regex(pattern.text);
  return std::make_unique<ReplaceDecoder>(Regex(regex, where.at("pattern")),
                                          text_member(component, "content", "", where));
}

std::unique_ptr<Decoder> make_strip(const json& component, const Where& where) {
  auto content = text_member(component, "content", "", where);
  if (count_code_points(content) != 1)
    fail_at(where.at("content"), fmt::format("expected one character, found '{}'", content));
  return std::make_unique<StripDecoder>(std::move(content),
                                        int_member(component, "start", 0, 1 << 20, where),
                                        int_member(component, "stop", 0, 1 << 20, where));
}

std::unique_ptr<Decoder> make_sequence(const json& component, const Where& where) {
  const auto& list = parts_of(component, "decoders", where);
  std::vector<std::unique_ptr<Decoder>> parts;
  for (size_t i = 0; i < list.size(); ++i) {
    if (auto part = make_decoder(list[i], where.at("decoders").at(i)))
      parts.push_back(std::move(part));
  }
  return std::make_unique<DecoderSequence>(std::move(parts));
}

}  // namespace

std::unique_ptr<Decoder> make_decoder(const json& component, const Where& where) {
  if (component.is_null()) return nullptr;
  const auto type = type_of(component, where);
  if (type == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  if (type == "WordPiece") {
    return std::make_unique<WordPieceDecoder>(text_member(component, "prefix", "##", where),
                                              flag(component, "cleanup", true, where));
  }
  if (type == "Metaspace") {
    return std::make_unique<MetaspaceDecoder>(
        read_replacement(component, where),
        read_prepend_scheme(component, where) != PrependScheme::never);
  }
  if (type == "BPEDecoder")
    return std::make_unique<BpeDecoder>(text_member(component, "suffix", "</w>", where));
  if (type == "ByteFallback") return std::make_unique<ByteFallbackDecoder>();
  if (type == "Fuse") return std::make_unique<FuseDecoder>();
  if (type == "Replace") return make_replace(component, where);
  if (type == "Strip") return make_strip(component, where);
  if (type == "Sequence") return make_sequence(component, where);
  fail_unsupported(where, fmt::format("the decoder '{}'", type));
}

}  // namespace weft::tokenizers
