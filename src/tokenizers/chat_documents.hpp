#pragma once

#include <filesystem>

#include <weft/core/json.hpp>

namespace weft::tokenizers {

/// The tokens that a folder's tokenizer_config.json names ({"bos_token": ..., ...}), each a string
/// or an object that holds it; empty where there is no such file.
Json special_tokens_of(const std::filesystem::path& folder);

}  // namespace weft::tokenizers
