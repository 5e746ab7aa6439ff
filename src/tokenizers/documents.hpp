#pragma once

#include <filesystem>
#include <string>

#include "tokenizers/components.hpp"

/// The tokenizer.json that other formats stand for.
namespace weft::tokenizers {

/// An entry of "added_tokens".
json special_token(int64_t id, const std::string& content);

/// The "added_tokens" that the added_tokens_decoder of a tokenizer_config.json stands for.
json read_added_tokens_decoder(const json& config, const Where& where);

/// A byte-level BPE; `post_processor` may be null.
json byte_level_document(json vocab, json merges, json added_tokens, bool add_prefix_space,
                         json post_processor);

/// Hugging Face's CLIP.
json clip_document(json vocab, json merges);

/// BERT's vocab.txt; `config` is the tokenizer_config.json.
json bert_document(const std::filesystem::path& path, const json& config);

/// GPT-2's vocab.json, parsed, with the merges.txt beside it. Error where the configuration or the
/// vocabulary is that of another tokenizer with files of these names (CLIP, RoBERTa).
json gpt2_document(const std::filesystem::path& vocab_file, json vocab, const json& config);

}  // namespace weft::tokenizers
