#include <weft/checkpoint/vocabulary.hpp>

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

}  // namespace weft::checkpoint
