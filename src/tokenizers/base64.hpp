#pragma once

#include <string>
#include <string_view>

#include "tokenizers/components.hpp"

namespace weft::tokenizers {

/// The bytes of base64; Error where it is none.
std::string decode_base64(std::string_view text, const Where& where);
std::string encode_base64(std::string_view bytes);

}  // namespace weft::tokenizers
