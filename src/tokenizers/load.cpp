#include <filesystem>

#include <weft/io/file.hpp>

#include "core/fail.hpp"
#include "core/json_impl.hpp"
#include "tokenizers/documents.hpp"
#include "tokenizers/open_clip.hpp"
#include "tokenizers/pipeline.hpp"

namespace weft::tokenizers {
namespace fs = std::filesystem;
namespace {

json read_document(const fs::path& path) {
  return parse_sorted_json(io::read_file(path), path.string());
}

}  // namespace

fs::path find_tokenizer(const fs::path& folder) {
  for (const auto name : kTokenizerFiles)
    if (fs::exists(folder / name)) return folder / name;
  return {};
}

std::shared_ptr<Tokenizer> load_tokenizer(const fs::path& path) {
  const auto file = fs::is_directory(path) ? find_tokenizer(path) : path;
  if (file.empty())
    fail(
        "{}: no tokenizer.json, no vocab.txt, no vocab.json with merges.txt and no {} in this "
        "folder",
        path.string(), kOpenAiFile);
  if (file.extension() == ".gz")
    return std::make_shared<OpenClipTokenizer>(read_openai_merges(file), file.string());
  const auto beside = file.parent_path() / "tokenizer_config.json";
  auto config = fs::exists(beside) ? read_document(beside) : json::object();
  if (!config.is_object())
    fail("{}: expected an object, found {}", beside.string(), config.type_name());
  auto document = file.extension() == ".txt" ? bert_document(file, config)
                  : file.filename() == "vocab.json"
                      ? gpt2_document(file, read_document(file), config)
                      : read_document(file);
  return std::make_shared<Pipeline>(std::move(document), config, file.string());
}

}  // namespace weft::tokenizers
