#include <fmt/format.h>

#include "tokenizers/bpe.hpp"
#include "tokenizers/unigram.hpp"
#include "tokenizers/wordpiece.hpp"

namespace weft::tokenizers {
namespace {

std::unique_ptr<Model> make_bpe(const json& component, bool bytes, const Where& where) {
  if (const auto* dropout = optional_member(component, "dropout", where);
      dropout && (!dropout->is_number() || dropout->get<double>() != 0))
    fail_unsupported(where.at("dropout"), "a value other than null");
  BpeOptions options;
  options.bytes = bytes;
  if (optional_member(component, "unk_token", where))
    options.unk_token = text_member(component, "unk_token", "", where);
  options.continuing_subword_prefix =
      text_member(component, "continuing_subword_prefix", "", where);
  options.end_of_word_suffix = text_member(component, "end_of_word_suffix", "", where);
  options.fuse_unk = flag(component, "fuse_unk", false, where);
  options.byte_fallback = flag(component, "byte_fallback", false, where);
  options.ignore_merges = flag(component, "ignore_merges", false, where);
  if (bytes && !options.continuing_subword_prefix.empty())
    fail_unsupported(where.at("continuing_subword_prefix"), "a value with ByteLevel");
  return std::make_unique<Bpe>(
      options, read_vocab(member(component, "vocab", where), where.at("vocab")),
      read_merges(member(component, "merges", where), where.at("merges")), where);
}

std::unique_ptr<Model> make_wordpiece(const json& component, const Where& where) {
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

std::unique_ptr<Model> make_unigram(const json& component, const Where& where) {
  const auto& list = member(component, "vocab", where);
  const auto here = where.at("vocab");
  if (!list.is_array() || list.empty()) fail_at(here, "expected an array of [token, score]");
  if (list.size() > static_cast<size_t>(kMaxTokens))
    fail_at(here, fmt::format("{} tokens, more than the limit of {}", list.size(), kMaxTokens));
  std::vector<ScoredToken> tokens;
  tokens.reserve(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    const auto& pair = list[i];
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_number())
      fail_at(here.at(i), "expected [token, score]");
    tokens.push_back({pair[0].get<std::string>(), pair[1].get<double>()});
  }
  const auto unk = optional_member(component, "unk_id", where)
                       ? int_member(component, "unk_id", 0, kMaxTokens - 1, where)
                       : -1;
  return std::make_unique<Unigram>(std::move(tokens), unk,
                                   flag(component, "byte_fallback", false, where), where);
}

}  // namespace

std::unique_ptr<Model> make_model(const json& component, bool bytes, const Where& where) {
  // Files written before the models had names are told by their keys.
  if (component.is_object() && !component.contains("type")) {
    if (component.contains("merges")) return make_bpe(component, bytes, where);
    if (component.contains("unk_id")) return make_unigram(component, where);
  }
  const auto type = type_of(component, where);
  if (type == "BPE") return make_bpe(component, bytes, where);
  if (bytes) fail_unsupported(where, fmt::format("the model '{}' behind ByteLevel", type));
  if (type == "WordPiece") return make_wordpiece(component, where);
  if (type == "Unigram") return make_unigram(component, where);
  fail_unsupported(where, fmt::format("the model '{}'", type));
}

}  // namespace weft::tokenizers
