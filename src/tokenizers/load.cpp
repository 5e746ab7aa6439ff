#include <filesystem>

#include <weft/io/file.hpp>

#include "core/fail.hpp"
#include "core/json_impl.hpp"
#include "tokenizers/documents.hpp"
#include "tokenizers/open_clip.hpp"
#include "tokenizers/pipeline.hpp"
#include "tokenizers/siglip.hpp"
#include "tokenizers/spm_tokenizer.hpp"
#include "tokenizers/tiktoken.hpp"

namespace weft::tokenizers {
namespace fs = std::filesystem;
namespace {

json read_document(const fs::path& path) {
  return parse_sorted_json(io::read_file(path), path.string());
}

bool is_siglip(const json& config) {
  return config.value("tokenizer_class", json()) == "SiglipTokenizer";
}

// Beside a tokenizer_config.json a model is read as transformers does, alone as sentencepiece does.
std::shared_ptr<Tokenizer> load_spm(const fs::path& file, const json& config) {
  auto bytes = io::read_file(file);
  if (config.is_null() || config.empty())
    return std::make_shared<SpmTokenizer>(std::move(bytes), file.string());
  if (is_siglip(config))
    return std::make_shared<SiglipTokenizer>(std::move(bytes), config, file.string());
  return std::make_shared<Pipeline>(
      spm_document(parse_spm(bytes, file.string()), config, file.string()), config, file.string());
}

TiktokenPattern pattern_of(const fs::path& file) {
  static constexpr std::pair<std::string_view, TiktokenPattern> kNames[] = {
      {"cl100k", TiktokenPattern::cl100k}, {"o200k", TiktokenPattern::o200k},
      {"gpt2", TiktokenPattern::gpt2},     {"r50k", TiktokenPattern::gpt2},
      {"p50k", TiktokenPattern::gpt2},     {"multilingual", TiktokenPattern::gpt2}};
  const auto name = file.filename().string();
  for (const auto& [part, pattern] : kNames)
    if (name.find(part) != std::string::npos) return pattern;
  fail(
      "{}: its name tells no pattern (gpt2, r50k, p50k, multilingual, cl100k or o200k); read it by "
      "load_tiktoken()",
      file.string());
}

}  // namespace

std::shared_ptr<Tokenizer> load_tiktoken(const fs::path& path, TiktokenPattern pattern) {
  return std::make_shared<TiktokenTokenizer>(parse_tiktoken(io::read_file(path), path.string()),
                                             pattern, path.string());
}

fs::path find_tokenizer(const fs::path& folder) {
  for (const auto name : kTokenizerFiles)
    if (fs::exists(folder / name)) return folder / name;
  return {};
}

std::shared_ptr<Tokenizer> load_tokenizer(const fs::path& path) {
  const bool folder = fs::is_directory(path);
  auto file = folder ? find_tokenizer(path) : path;
  if (file.empty())
    fail(
        "{}: no tokenizer.json, no vocab.txt, no vocab.json with merges.txt, no tokenizer.model, "
        "no "
        "spiece.model and no {} in this folder",
        path.string(), kOpenAiFile);
  if (file.extension() == ".gz")
    return std::make_shared<OpenClipTokenizer>(read_openai_merges(file), file.string());
  if (file.extension() == ".tiktoken") return load_tiktoken(file, pattern_of(file));
  const auto beside = file.parent_path() / "tokenizer_config.json";
  auto config = fs::exists(beside) ? read_document(beside) : json::object();
  if (!config.is_object())
    fail("{}: expected an object, found {}", beside.string(), config.type_name());
  // A tokenizer.json cannot express how SigLIP cleans texts.
  if (folder && is_siglip(config) && fs::exists(path / "spiece.model"))
    file = path / "spiece.model";
  if (file.extension() == ".model") return load_spm(file, folder ? config : json());
  auto document = file.extension() == ".txt" ? bert_document(file, config)
                  : file.filename() == "vocab.json"
                      ? gpt2_document(file, read_document(file), config)
                      : read_document(file);
  return std::make_shared<Pipeline>(std::move(document), config, file.string());
}

}  // namespace weft::tokenizers
