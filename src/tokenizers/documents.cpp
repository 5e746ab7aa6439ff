#include "tokenizers/documents.hpp"

#include <algorithm>
#include <charconv>
#include <sstream>

#include <weft/io/file.hpp>

#include "core/fail.hpp"
#include "tokenizers/clip_split.hpp"
#include "tokenizers/pipeline.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {
namespace fs = std::filesystem;
namespace {

/// Calls take(text, number from 1) for each line of a UTF-8 file.
template <class Line>
void each_line(const fs::path& path, Line&& take) {
  std::istringstream lines(io::read_file(path));
  int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (valid_utf8_prefix(line) != line.size())
      fail("{}: line {}: not valid UTF-8", path.string(), number);
    take(line, number);
  }
}

}  // namespace

json special_token(int64_t id, const std::string& content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

json byte_level_document(json vocab, json merges, json added_tokens, bool add_prefix_space,
                         json post_processor) {
  const json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", add_prefix_space},
                           {"trim_offsets", true},
                           {"use_regex", true}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", std::move(added_tokens)},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level},
          {"post_processor", std::move(post_processor)},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", std::move(vocab)},
            {"merges", std::move(merges)}}}};
}

json clip_document(json vocab, json merges) {
  const json start = {"<|startoftext|>", vocab["<|startoftext|>"]};
  const json end = {"<|endoftext|>", vocab["<|endoftext|>"]};
  auto document =
      byte_level_document(std::move(vocab), std::move(merges),
                          {special_token(start[1], start[0]), special_token(end[1], end[0])}, false,
                          {{"type", "RobertaProcessing"},
                           {"sep", end},
                           {"cls", start},
                           {"trim_offsets", false},
                           {"add_prefix_space", false}});
  document["added_tokens"][0]["normalized"] = true;
  document["normalizer"] = {
      {"type", "Sequence"},
      {"normalizers",
       {{{"type", "NFC"}},
        {{"type", "Replace"}, {"pattern", {{"Regex", "\\s+"}}}, {"content", " "}},
        {{"type", "Lowercase"}}}}};
  document["pre_tokenizer"] = {{"type", "Sequence"},
                               {"pretokenizers",
                                {{{"type", "Split"},
                                  {"pattern", {{"Regex", kClipPattern}}},
                                  {"behavior", "Removed"},
                                  {"invert", true}},
                                 document["pre_tokenizer"]}}};
  document["model"]["unk_token"] = end[0];
  document["model"]["end_of_word_suffix"] = "</w>";
  return document;
}

json bert_document(const fs::path& path, const json& config) {
  auto vocab = json::object();
  each_line(path, [&](const std::string& line, int64_t number) {
    if (!vocab.emplace(line, number - 1).second)
      fail("{}: line {}: the token '{}' stands there twice", path.string(), number, line);
  });
  const Where where{path.string(), "tokenizer_config.json"};
  const auto lower = flag(config, "do_lower_case", true, where);
  auto added = json::array();
  auto special = [&](const char* key, const char* usual) {
    const auto given = config.contains(key) ? token_content(config[key]) : std::string();
    const auto name = given.empty() ? std::string(usual) : given;
    const auto found = vocab.find(name);
    if (found == vocab.end()) fail("{}: the {} '{}' is not a line of it", path.string(), key, name);
    added.push_back(special_token(*found, name));
    return json::array({name, *found});
  };
  special("pad_token", "[PAD]");
  const auto unk = special("unk_token", "[UNK]");
  const auto cls = special("cls_token", "[CLS]");
  const auto sep = special("sep_token", "[SEP]");
  special("mask_token", "[MASK]");
  json normalizer = {{"type", "BertNormalizer"},
                     {"clean_text", true},
                     {"handle_chinese_chars", flag(config, "tokenize_chinese_chars", true, where)},
                     {"strip_accents", flag(config, "strip_accents", lower, where)},
                     {"lowercase", lower}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", std::move(added)},
          {"normalizer", std::move(normalizer)},
          {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
          {"post_processor", {{"type", "BertProcessing"}, {"sep", sep}, {"cls", cls}}},
          {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}},
          {"model",
           {{"type", "WordPiece"},
            {"unk_token", unk[0]},
            {"continuing_subword_prefix", "##"},
            {"max_input_chars_per_word", 100},
            {"vocab", std::move(vocab)}}}};
}

json read_added_tokens_decoder(const json& config, const Where& where) {
  auto added = json::array();
  const auto tokens = config.find("added_tokens_decoder");
  if (tokens == config.end()) return added;
  const auto here = where.at("added_tokens_decoder");
  if (!tokens->is_object()) fail_at(here, "expected an object");
  for (const auto& [key, token] : tokens->items()) {
    int64_t id = -1;
    const auto [end, code] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (code != std::errc() || end != key.data() + key.size() || !token.is_object())
      fail_at(here.at(key), "expected an id and its token");
    added.push_back(token);
    added.back()["id"] = id;
  }
  return added;
}

json gpt2_document(const fs::path& vocab_file, json vocab, const json& config) {
  if (!vocab.is_object())
    fail("{}: expected an object of tokens and ids, found {}", vocab_file.string(),
         vocab.type_name());
  const Where where{vocab_file.string(), "tokenizer_config.json"};
  const auto kind = text_member(config, "tokenizer_class", "GPT2Tokenizer", where);
  if (kind != "GPT2Tokenizer" && kind != "GPT2TokenizerFast")
    fail(
        "{}: vocab.json and merges.txt are read as GPT-2's, but tokenizer_class is '{}'; save the "
        "tokenizer with its tokenizer.json",
        vocab_file.string(), kind);
  if (flag(config, "add_bos_token", false, where))
    fail_unsupported(where.at("add_bos_token"), "true");
  auto added = read_added_tokens_decoder(config, where);
  for (const auto* key : {"unk_token", "bos_token", "eos_token", "pad_token"}) {
    const auto given = config.contains(key) ? token_content(config[key]) : std::string();
    if (given.empty() && key == std::string_view("pad_token")) continue;
    const auto name = given.empty() ? "<|endoftext|>" : given;
    const auto is_name = [&](const json& token) { return token_content(token) == name; };
    if (std::ranges::any_of(added, is_name)) continue;
    const auto found = vocab.find(name);
    if (found == vocab.end())
      fail(
          "{}: the {} '{}' is not in it; is it GPT-2's? Save the tokenizer with its tokenizer.json",
          vocab_file.string(), key, name);
    added.push_back(special_token(int_value(*found, 0, kMaxTokens - 1, where.at(key)), name));
  }
  auto merges = json::array();
  each_line(vocab_file.parent_path() / "merges.txt", [&](const std::string& line, int64_t number) {
    if (line.empty() || (number == 1 && line.starts_with("#version"))) return;
    merges.push_back(line);
  });
  return byte_level_document(std::move(vocab), std::move(merges), std::move(added),
                             flag(config, "add_prefix_space", false, where), nullptr);
}

}  // namespace weft::tokenizers
