#pragma once

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <weft/tokenizers/tokenizer.hpp>

/// Aborts where the ways through a tokenizer differ.
inline void check_ways(const weft::tokenizers::Tokenizer& tokenizer, std::string_view text) {
  const auto encoding = tokenizer.encode(text, {});
  std::vector<int64_t> ids;
  tokenizer.encode_ids(text, {}, ids);
  if (ids != encoding.ids || ids.size() != encoding.offsets.size()) std::abort();
  const auto stream = tokenizer.stream(false);
  std::string streamed;
  for (const auto id : ids) streamed += stream->push(id);
  streamed += stream->flush();
  if (streamed != tokenizer.decode(ids, false)) std::abort();
}
