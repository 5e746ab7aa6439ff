#pragma once

#include <nlohmann/json.hpp>

#include "tokenizers/jinja/runtime.hpp"

namespace weft::tokenizers::jinja {

/// A JSON value as a template sees it. Strings carry `tag`; invalid UTF-8 becomes U+FFFD.
Value from_json(Runtime& runtime, const nlohmann::ordered_json& json, const Tag& tag = {});

/// "messages" of the context: contents carry the number of their message, whose turns are recorded.
Value messages_from_json(Runtime& runtime, const nlohmann::ordered_json& messages);

}  // namespace weft::tokenizers::jinja
