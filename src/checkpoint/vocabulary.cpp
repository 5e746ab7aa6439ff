#include <algorithm>

#include <weft/checkpoint/vocabulary.hpp>
#include <weft/tokenizers/added_tokens.hpp>

#include "core/fail.hpp"

namespace weft::checkpoint {

int64_t resize_vocabulary(LmFolder& folder, int64_t vocab_size,
                          const text::ResizeVocabularyOptions& options) {
  auto* model = dynamic_cast<text::DecoderLmImpl*>(folder.model.get());
  TORCH_CHECK_VALUE(model != nullptr, "resize_vocabulary: the language model is no DecoderLm, but ",
                    folder.model ? "'" + folder.family + "'" : std::string("missing"));
  const auto rows = text::resize_vocabulary(*model, vocab_size, options);
  // An absent field would be read as the family's default.
  if (folder.config.is_object() && folder.config.size() > 0) folder.config.set("vocab_size", rows);
  return rows;
}

int64_t resize_vocabulary(VlmFolder& folder, int64_t vocab_size,
                          const text::ResizeVocabularyOptions& options) {
  const auto rows = resize_vocabulary(folder.language, vocab_size, options);
  if (!folder.config.is_object()) return rows;
  if (const auto text = folder.config.get("text_config"); text.is_object())
    folder.config.set("text_config", Json(text).set("vocab_size", rows));
  if (folder.config.contains("vocab_size")) folder.config.set("vocab_size", rows);
  return rows;
}

int64_t add_tokens(VlmFolder& folder, const std::vector<std::string>& tokens,
                   const text::ResizeVocabularyOptions& options) {
  if (!folder.tokenizer)
    fail("{}: holds no tokenizer, to which tokens could be added", folder.path.string());
  std::vector<std::string> fresh;
  for (const auto& token : tokens) {
    // A vocabulary may hold it and yet never find it in a text.
    const auto id = folder.tokenizer->id(token);
    const auto ids = folder.tokenizer->encode(token, {.add_special_tokens = false}).ids;
    if (!id || ids != std::vector{*id}) fresh.push_back(token);
  }
  if (fresh.empty()) return 0;
  auto tokenizer = tokenizers::with_added_tokens(*folder.tokenizer, fresh);
  int64_t size = folder.model->language->info().vocab_size;
  for (const auto& token : fresh) {
    const auto id = tokenizer->id(token).value();
    if (id == folder.model->options.image_token)
      fail(
          "{}: '{}' would get the id {}, by which the model knows visual tokens; give its "
          "tokenizer "
          "a token for these first",
          folder.path.string(), token, id);
    size = std::max(size, id + 1);
  }
  if (size > folder.model->language->info().vocab_size) resize_vocabulary(folder, size, options);
  folder.tokenizer = std::move(tokenizer);
  folder.own_tokenizer = true;
  return static_cast<int64_t>(fresh.size());
}

}  // namespace weft::checkpoint
