#include <algorithm>
#include <set>
#include <tuple>

#include "core/fail.hpp"
#include "tokenizers/base64.hpp"
#include "tokenizers/documents.hpp"
#include "tokenizers/metaspace.hpp"
#include "tokenizers/spm_tokenizer.hpp"
#include "tokenizers/unicode.hpp"
#include "tokenizers/vocab.hpp"

namespace weft::tokenizers {
namespace {

json metaspace(const std::string& scheme, bool split) {
  return {{"type", "Metaspace"},
          {"replacement", kMetaspace},
          {"prepend_scheme", scheme},
          {"split", split}};
}

json precompiled(const SpmFile& model) {
  return {{"type", "Precompiled"},
          {"precompiled_charsmap", encode_base64(model.normalizer.charsmap)}};
}

int64_t unknown_id(const SpmFile& model) {
  const auto found = std::ranges::find(model.pieces, SpmPiece::unknown, &SpmPiece::type);
  return found - model.pieces.begin();
}

json unigram_model(const SpmFile& model) {
  auto vocab = json::array();
  for (const auto& piece : model.pieces)
    vocab.push_back({piece.piece, static_cast<double>(piece.score)});
  return {{"type", "Unigram"},
          {"unk_id", unknown_id(model)},
          {"vocab", std::move(vocab)},
          {"byte_fallback", model.byte_fallback}};
}

// Every way to put a piece together of two; those of the highest score first, or, as LlamaTokenizer
// has it, those of the lowest id.
json bpe_model(const SpmFile& model, bool by_id) {
  struct Merge {
    float score;
    size_t id;
    int64_t left, right;  // lengths in code points
    size_t middle;
    const std::string* piece;
  };
  TextTable ids;
  ids.reserve(model.pieces.size());
  auto vocab = json::object();
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    ids.insert(model.pieces[id].piece, static_cast<int32_t>(id));
    vocab[model.pieces[id].piece] = id;
  }
  std::vector<Merge> merges;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const auto& piece = model.pieces[id];
    const std::string_view text = piece.piece;
    std::vector<std::pair<std::pair<int32_t, int32_t>, Merge>> found;
    for (size_t at = 1; at < text.size(); ++at) {
      const auto left = ids.find(text.substr(0, at)), right = ids.find(text.substr(at));
      if (left >= 0 && right >= 0)
        found.push_back({{left, right},
                         {piece.score, id, count_code_points(text.substr(0, at)),
                          count_code_points(text.substr(at)), at, &piece.piece}});
    }
    std::ranges::sort(found, {}, &decltype(found)::value_type::first);
    for (const auto& [order, merge] : found) merges.push_back(merge);
  }
  std::stable_sort(merges.begin(), merges.end(), [&](const Merge& a, const Merge& b) {
    return by_id ? std::tie(a.id, a.left, a.right) < std::tie(b.id, b.left, b.right)
                 : std::tie(a.score, a.left, a.right) > std::tie(b.score, b.left, b.right);
  });
  auto list = json::array();
  for (const auto& merge : merges)
    list.push_back({merge.piece->substr(0, merge.middle), merge.piece->substr(merge.middle)});
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", model.pieces[unknown_id(model)].piece},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", true},
          {"byte_fallback", model.byte_fallback},
          {"ignore_merges", false},
          {"vocab", std::move(vocab)},
          {"merges", std::move(list)}};
}

json bare_document(json model) {
  return {{"version", "1.0"},          {"truncation", nullptr},
          {"padding", nullptr},        {"added_tokens", json::array()},
          {"normalizer", nullptr},     {"pre_tokenizer", nullptr},
          {"post_processor", nullptr}, {"decoder", nullptr},
          {"model", std::move(model)}};
}

// Pieces that stand for no text are added tokens.
json control_tokens(const SpmFile& model) {
  auto out = json::array();
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const auto& piece = model.pieces[id];
    if (piece.type == SpmPiece::control || piece.type == SpmPiece::unknown) {
      out.push_back(special_token(static_cast<int64_t>(id), piece.piece));
    } else if (piece.type == SpmPiece::user_defined) {
      out.push_back(special_token(static_cast<int64_t>(id), piece.piece));
      out.back()["special"] = false;
    }
  }
  return out;
}

json llama_decoder(bool strip) {
  auto decoders =
      json::array({{{"type", "Replace"}, {"pattern", {{"String", kMetaspace}}}, {"content", " "}},
                   {{"type", "ByteFallback"}},
                   {{"type", "Fuse"}}});
  if (strip) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return {{"type", "Sequence"}, {"decoders", std::move(decoders)}};
}

}  // namespace

json spm_document(const SpmFile& model) {
  const bool bpe = model.model == SpmFile::bpe;
  auto document = bare_document(bpe ? bpe_model(model, false) : unigram_model(model));
  const bool prefix = model.normalizer.add_dummy_prefix;
  auto normalizers = json::array();
  if (!model.normalizer.charsmap.empty()) normalizers.push_back(precompiled(model));
  if (model.normalizer.remove_extra_whitespaces) {
    normalizers.push_back({{"type", "Strip"}, {"strip_left", false}, {"strip_right", true}});
    normalizers.push_back(
        {{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", kMetaspace}});
  }
  if (!normalizers.empty())
    document["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::move(normalizers)}};
  document["pre_tokenizer"] = metaspace(prefix ? "always" : "never", !bpe);
  document["decoder"] =
      model.byte_fallback ? llama_decoder(prefix) : metaspace(prefix ? "always" : "never", !bpe);
  document["added_tokens"] = control_tokens(model);
  return document;
}

namespace {

// A special token of the configuration and its id.
struct Named {
  std::string content;
  int64_t id = 0;
};

Named named(const SpmFile& model, const json& config, const char* key, const char* usual,
            const std::string& file) {
  const auto given = config.contains(key) ? token_content(config[key]) : std::string();
  const auto name = given.empty() ? std::string(usual) : given;
  const auto found = std::ranges::find(model.pieces, name, &SpmPiece::piece);
  if (found == model.pieces.end()) fail("{}: the {} '{}' is no piece of it", file, key, name);
  return {name, found - model.pieces.begin()};
}

json part(const Named& token) {
  return {{"SpecialToken", {{"id", token.content}, {"type_id", 0}}}};
}

json text_template(const std::vector<Named>& before, const std::vector<Named>& after) {
  auto single = json::array();
  auto specials = json::object();
  const auto add = [&](const Named& token) {
    single.push_back(part(token));
    specials[token.content] = {{"id", token.content},
                               {"ids", json::array({token.id})},
                               {"tokens", json::array({token.content})}};
  };
  for (const auto& token : before) add(token);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  for (const auto& token : after) add(token);
  auto pair = single;
  pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 0}}}});
  return {{"type", "TemplateProcessing"},
          {"single", std::move(single)},
          {"pair", std::move(pair)},
          {"special_tokens", std::move(specials)}};
}

// Those of the configuration, `usual` ones, and the pieces that stand for no text.
json added_tokens(const SpmFile& model, const json& config, const std::vector<Named>& usual,
                  const Where& where) {
  auto out = read_added_tokens_decoder(config, where);
  std::set<std::string> names;
  for (const auto& token : out) names.insert(token_content(token));
  const auto add = [&](const json& token) {
    if (names.insert(token_content(token)).second) out.push_back(token);
  };
  for (const auto& token : usual) add(special_token(token.id, token.content));
  for (const auto& token : control_tokens(model)) add(token);
  return out;
}

json t5_document(const SpmFile& model, const json& config, const std::string& file) {
  const Where where{file, "tokenizer_config.json"};
  if (model.model != SpmFile::unigram)
    fail("{}: T5Tokenizer asks for a unigram model, found BPE", file);
  auto document = bare_document(unigram_model(model));
  auto& vocab = document["model"]["vocab"];
  const auto pad = named(model, config, "pad_token", "<pad>", file);
  const auto eos = named(model, config, "eos_token", "</s>", file);
  const auto unk = named(model, config, "unk_token", "<unk>", file);
  std::vector<Named> usual = {pad, eos, unk};
  const auto extra =
      config.contains("extra_ids") ? int_member(config, "extra_ids", 0, 10'000, where) : 100;
  for (auto i = extra; i-- > 0;) {
    usual.push_back({fmt::format("<extra_id_{}>", i), static_cast<int64_t>(vocab.size())});
    vocab.push_back({usual.back().content, 0.0});
  }
  if (!model.normalizer.charsmap.empty()) document["normalizer"] = precompiled(model);
  document["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers", {{{"type", "WhitespaceSplit"}}, metaspace("always", true)}}};
  document["decoder"] = metaspace("always", true);
  document["post_processor"] = text_template({}, {eos});
  document["added_tokens"] = added_tokens(model, config, usual, where);
  return document;
}

json llama_document(const SpmFile& model, const json& config, const std::string& file) {
  const Where where{file, "tokenizer_config.json"};
  if (model.model != SpmFile::bpe)
    fail("{}: LlamaTokenizer asks for a BPE model, found unigram", file);
  auto document = bare_document(bpe_model(model, true));
  const bool prefix = flag(config, "add_prefix_space", true, where);
  const bool legacy = flag(config, "legacy", false, where);
  document["pre_tokenizer"] = metaspace(!prefix ? "never" : legacy ? "always" : "first", false);
  document["decoder"] = llama_decoder(prefix);
  const auto unk = named(model, config, "unk_token", "<unk>", file);
  const auto bos = named(model, config, "bos_token", "<s>", file);
  const auto eos = named(model, config, "eos_token", "</s>", file);
  std::vector<Named> before, after;
  if (flag(config, "add_bos_token", false, where)) before.push_back(bos);
  if (flag(config, "add_eos_token", false, where)) after.push_back(eos);
  document["post_processor"] = text_template(before, after);
  document["added_tokens"] = added_tokens(model, config, {unk, bos, eos}, where);
  return document;
}

}  // namespace

json spm_document(const SpmFile& model, const json& config, const std::string& file) {
  const Where where{file, "tokenizer_config.json"};
  auto kind = text_member(config, "tokenizer_class", "", where);
  if (kind.ends_with("Fast")) kind.resize(kind.size() - 4);
  if (kind == "T5Tokenizer") return t5_document(model, config, file);
  if (kind == "LlamaTokenizer") return llama_document(model, config, file);
  fail(
      "{}: a SentencePiece model is read for the tokenizer_class T5Tokenizer, LlamaTokenizer or "
      "SiglipTokenizer, found '{}' in tokenizer_config.json; save the tokenizer with its "
      "tokenizer.json, or give the file itself to read it as sentencepiece does",
      file, kind);
}

}  // namespace weft::tokenizers
