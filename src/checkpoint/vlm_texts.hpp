#pragma once

#include <filesystem>
#include <string_view>

#include <weft/checkpoint/vlm_folder.hpp>

namespace weft::checkpoint {

/// Tokenizer and chat template of `folder`, where it has any.
void read_texts(VlmFolder& model, const std::filesystem::path& folder);
/// The tokenizer's files as they were, or its own, and with `chat` the chat template, into
/// `target`.
void write_texts(const VlmFolder& model, const std::filesystem::path& target, bool chat);
/// Whether a file of that name is one of those.
bool is_text_file(std::string_view name);

}  // namespace weft::checkpoint
