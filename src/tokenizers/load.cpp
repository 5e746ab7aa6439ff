#include <filesystem>

#include <weft/io/file.hpp>

#include "core/fail.hpp"
#include "core/json_impl.hpp"
#include "tokenizers/documents.hpp"
#include "tokenizers/pipeline.hpp"

namespace weft::tokenizers {
namespace fs = std::filesystem;
namespace {

json read_document(const fs::path& path) {
  return parse_sorted_json(io::read_file(path), path.string());
}

}  // namespace

std::shared_ptr<Tokenizer> load_tokenizer(const fs::path& path) {
  auto file = path;
  if (fs::is_directory(path)) {
    file = path / "tokenizer.json";
    for (const auto* other : {"vocab.txt", "vocab.json"})
      if (!fs::exists(file)) file = path / other;
    if (!fs::exists(file))
      fail("{}: no tokenizer.json, no vocab.txt and no vocab.json with merges.txt in this folder",
           path.string());
  }
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
