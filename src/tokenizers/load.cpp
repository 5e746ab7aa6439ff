#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/fail.hpp"
#include "core/json_impl.hpp"
#include "tokenizers/pipeline.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMaxFileBytes = 100'000'000;

std::string read_text(const fs::path& path) {
  std::error_code code;
  const auto size = fs::file_size(path, code);
  if (code) fail("{}: cannot be read: {}", path.string(), code.message());
  if (size > kMaxFileBytes)
    fail("{}: {} bytes, more than the limit of {}", path.string(), size, kMaxFileBytes);
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) fail("{}: cannot be read", path.string());
  return std::move(text).str();
}

json read_document(const fs::path& path) {
  return parse_sorted_json(read_text(path), path.string());
}

std::string content_of(const json& token) {
  if (token.is_string()) return token.get<std::string>();
  if (token.is_object() && token.contains("content") && token["content"].is_string())
    return token["content"].get<std::string>();
  return {};
}

// The tokenizer.json that a BERT vocab.txt stands for.
json bert_document(const fs::path& path, const json& config) {
  std::istringstream lines(read_text(path));
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
    const auto given = config.contains(key) ? content_of(config[key]) : std::string();
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

Pipeline::Pipeline(json document, const json& config, const std::string& file) : file_(file) {
  const Where root{file, "tokenizer"};
  if (!document.is_object())
    fail("{}: expected an object with the key 'model', found {}", file, document.type_name());
  const auto part = [&](const char* key) -> const json& { return document[key]; };
  const auto here = [&](const char* key) { return Where{file, key}; };
  normalizer_ = make_normalizer(part("normalizer"), here("normalizer"));
  pre_tokenizer_ = make_pre_tokenizer(part("pre_tokenizer"), here("pre_tokenizer"));
  post_ = make_post_processor(part("post_processor"), here("post_processor"));
  decoder_ = make_decoder(part("decoder"), here("decoder"));
  member(document, "model", root);
  model_ = make_model(part("model"), here("model"));
  document_ = std::move(document);
  document_["model"] = nullptr;
  read_added_tokens(here("added_tokens"));
  for (const auto id : post_.single) {
    if (id != PostProcessor::kText && !find_token(id))
      fail_at(here("post_processor"), fmt::format("no token has the id {}", id));
  }
  read_pad(config, here("padding"));
}

void Pipeline::read_added_tokens(const Where& where) {
  const auto& list = document_["added_tokens"];
  size_ = model_->size();
  if (list.is_null()) return;
  if (!list.is_array())
    fail_at(where, fmt::format("expected an array, found {}", list.type_name()));
  std::vector<AddedToken> raw, normalized;
  std::vector<std::string> raw_texts, normalized_texts;
  for (size_t i = 0; i < list.size(); ++i) {
    const auto here = where.at(i);
    AddedToken token;
    const auto& content = member(list[i], "content", here);
    if (!content.is_string()) fail_at(here.at("content"), "expected a string");
    token.content = content.get<std::string>();
    token.id = int_member(list[i], "id", 0, kMaxTokens - 1, here);
    token.single_word = flag(list[i], "single_word", false, here);
    token.lstrip = flag(list[i], "lstrip", false, here);
    token.rstrip = flag(list[i], "rstrip", false, here);
    token.special = flag(list[i], "special", false, here);
    token.normalized = flag(list[i], "normalized", !token.special, here);
    if (const auto in_model = model_->id(token.content)) {
      token.id = *in_model;
    } else if (const auto* other = find_token(token.id)) {
      fail_at(here,
              fmt::format("the id {} of '{}' belongs to '{}'", token.id, token.content, *other));
    } else {
      ++size_;
    }
    if (!added_ids_.emplace(token.content, token.id).second) continue;
    added_[token.id] = token;
    auto text = token.content;
    if (token.normalized && normalizer_) {
      Text form;
      form.bytes = text;
      normalizer_->apply(form);
      text = form.bytes;
    }
    (token.normalized ? normalized_texts : raw_texts).push_back(std::move(text));
    (token.normalized ? normalized : raw).push_back(std::move(token));
  }
  raw_ = AddedTokenMatcher(std::move(raw), raw_texts);
  normalized_ = AddedTokenMatcher(std::move(normalized), normalized_texts);
}

void Pipeline::read_pad(const json& config, const Where& where) {
  const auto& padding = document_["padding"];
  if (!padding.is_null()) {
    pad_ = int_member(padding, "pad_id", 0, kMaxTokens - 1, where);
    if (!find_token(*pad_))
      fail_at(where.at("pad_id"), fmt::format("no token has the id {}", *pad_));
    return;
  }
  if (config.is_object() && config.contains("pad_token"))
    pad_ = id(content_of(config["pad_token"]));
  for (const auto* name : {"[PAD]", "<pad>", "<|pad|>"}) {
    if (!pad_) pad_ = id(name);
  }
}

void Pipeline::save(const fs::path& path) const {
  auto document = document_;
  document["model"] = model_->to_json();
  const auto temporary = path.string() + ".tmp";
  {
    std::ofstream out(temporary, std::ios::binary);
    out << document.dump(2) << '\n';
    if (!out.flush()) fail("{}: cannot be written", temporary);
  }
  fs::rename(temporary, path);
}

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
