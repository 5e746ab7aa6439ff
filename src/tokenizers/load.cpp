#include <filesystem>
#include <sstream>

#include <weft/io/file.hpp>

#include "core/fail.hpp"
#include "core/json_impl.hpp"
#include "tokenizers/pipeline.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {
namespace fs = std::filesystem;
namespace {

json read_document(const fs::path& path) {
  return parse_sorted_json(io::read_file(path), path.string());
}

// The tokenizer.json that a BERT vocab.txt stands for.
json bert_document(const fs::path& path, const json& config) {
  std::istringstream lines(io::read_file(path));
  auto vocab = json::object();
  int64_t id = 0;
  for (std::string line; std::getline(lines, line); ++id) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (valid_utf8_prefix(line) != line.size())
      fail("{}: line {}: not valid UTF-8", path.string(), id + 1);
    if (!vocab.emplace(line, id).second)
      fail("{}: line {}: the token '{}' stands there twice", path.string(), id + 1, line);
  }
  const Where where{path.string(), "tokenizer_config.json"};
  const auto lower = flag(config, "do_lower_case", true, where);
  auto added = json::array();
  auto special = [&](const char* key, const char* usual) {
    const auto given = config.contains(key) ? token_content(config[key]) : std::string();
    const auto name = given.empty() ? std::string(usual) : given;
    const auto found = vocab.find(name);
    if (found == vocab.end()) fail("{}: the {} '{}' is not a line of it", path.string(), key, name);
    added.push_back({{"id", *found},
                     {"content", name},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
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

}  // namespace

std::shared_ptr<Tokenizer> load_tokenizer(const fs::path& path) {
  auto file = path;
  if (fs::is_directory(path)) {
    file = path / "tokenizer.json";
    if (!fs::exists(file)) file = path / "vocab.txt";
    if (!fs::exists(file))
      fail("{}: no tokenizer.json and no vocab.txt in this folder", path.string());
  }
  const auto beside = file.parent_path() / "tokenizer_config.json";
  auto config = fs::exists(beside) ? read_document(beside) : json::object();
  if (!config.is_object())
    fail("{}: expected an object, found {}", beside.string(), config.type_name());
  auto document = file.extension() == ".txt" ? bert_document(file, config) : read_document(file);
  return std::make_shared<Pipeline>(std::move(document), config, file.string());
}

}  // namespace weft::tokenizers
