#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <weft/tokenizers/tokenizer.hpp>

/// Encodings that other implementations recorded (the README of the shared data).
namespace weft::test {

inline std::filesystem::path shared_tokenizers() {
  return std::filesystem::path(WEFT_SHARED_DIR) / "data/tokenizers";
}

inline std::vector<nlohmann::json> read_golden(const std::filesystem::path& path) {
  std::vector<nlohmann::json> rows;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) rows.push_back(nlohmann::json::parse(line));
  return rows;
}

/// Ids (with and without special tokens), offsets, decoded text, the lean path and the stream.
inline void expect_golden(const tokenizers::Tokenizer& tokenizer, const nlohmann::json& row) {
  const auto text = row["text"].get<std::string>();
  SCOPED_TRACE(text);
  const auto full = tokenizer.encode(text);
  EXPECT_EQ(full.ids, row["ids"].get<std::vector<int64_t>>());
  const auto plain = tokenizer.encode(text, {.add_special_tokens = false});
  EXPECT_EQ(plain.ids, row["ids_no_special"].get<std::vector<int64_t>>());
  std::vector<int64_t> lean;
  tokenizer.encode_ids(text, {}, lean);
  EXPECT_EQ(lean, full.ids);
  if (row.contains("tokens_no_special")) {
    EXPECT_EQ(plain.tokens, row["tokens_no_special"].get<std::vector<std::string>>());
  }
  if (row["offsets_no_special"].is_array()) {
    std::vector<std::vector<int64_t>> offsets;
    for (const auto& offset : plain.offsets) offsets.push_back({offset.begin, offset.end});
    EXPECT_EQ(offsets, row["offsets_no_special"].get<std::vector<std::vector<int64_t>>>());
  }
  const auto decoded = tokenizer.decode(plain.ids, false);
  EXPECT_EQ(decoded, row["decoded"].get<std::string>());
  const auto stream = tokenizer.stream(false);
  std::string streamed;
  for (const auto id : plain.ids) streamed += stream->push(id);
  streamed += stream->flush();
  EXPECT_EQ(streamed, decoded);
}

}  // namespace weft::test
