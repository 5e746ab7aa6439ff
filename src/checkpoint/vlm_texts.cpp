#include "checkpoint/vlm_texts.hpp"

#include <algorithm>
#include <iterator>

#include <weft/io/file.hpp>

namespace weft::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kVocabulary[] = {"merges.txt", "added_tokens.json"};
constexpr std::string_view kBeside[] = {"tokenizer_config.json", "special_tokens_map.json"};
constexpr std::string_view kTemplates[] = {"chat_template.jinja", "chat_template.json"};

template <size_t N>
bool among(const std::string_view (&names)[N], std::string_view name) {
  return std::ranges::find(names, name) != std::end(names);
}

}  // namespace

void read_texts(VlmFolder& model, const fs::path& folder) {
  if (tokenizers::find_tokenizer(folder).empty()) return;
  model.tokenizer = tokenizers::load_tokenizer(folder);
  model.chat = tokenizers::find_chat_template(folder);
  model.texts = folder;
}

void write_texts(const VlmFolder& model, const fs::path& target, bool chat) {
  if (!model.texts.empty())
    for (const auto& entry : fs::directory_iterator(model.texts)) {
      const auto name = entry.path().filename().string();
      const bool vocabulary = among(tokenizers::kTokenizerFiles, name) || among(kVocabulary, name);
      if (model.own_tokenizer ? among(kBeside, name) : vocabulary || among(kBeside, name))
        io::write_file(target / name, io::read_file(entry.path(), uint64_t{1} << 30));
    }
  if (model.own_tokenizer) model.tokenizer->save(target / model.tokenizer->file_name());
  if (chat && model.chat) io::write_file(target / "chat_template.jinja", model.chat->source());
}

bool is_text_file(std::string_view name) {
  return among(tokenizers::kTokenizerFiles, name) || among(kVocabulary, name) ||
         among(kBeside, name) || among(kTemplates, name);
}

}  // namespace weft::checkpoint
