#include "tokenizers/tiktoken.hpp"

#include <algorithm>
#include <charconv>

#include <weft/io/file.hpp>

#include "core/fail.hpp"
#include "tokenizers/base64.hpp"
#include "tokenizers/byte_level.hpp"
#include "tokenizers/documents.hpp"
#include "tokenizers/word_split.hpp"

namespace weft::tokenizers {
namespace {

struct Special {
  std::string_view token;
  int64_t id;
};

std::string spelled(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += byte_symbol(static_cast<uint8_t>(c));
  return out;
}

const char* pattern_text(TiktokenPattern pattern) {
  switch (pattern) {
    case TiktokenPattern::gpt2:
      return kGpt2Pattern.data();
    case TiktokenPattern::cl100k:
      return kCl100kPattern;  // as Oniguruma has to be told it
    case TiktokenPattern::llama3:
      return kLlama3Pattern;
    case TiktokenPattern::qwen2:
      return kQwen2Pattern;
    case TiktokenPattern::o200k:
      break;
  }
  return kO200kPattern;
}

// The special tokens that an encoding of this pattern is known to have behind its ranks.
std::vector<Special> specials_of(TiktokenPattern pattern, const Ranks& ranks) {
  const auto taken = [&](int64_t id) {
    return std::ranges::any_of(ranks, [&](const auto& rank) { return rank.second == id; });
  };
  switch (pattern) {
    case TiktokenPattern::gpt2:  // Whisper's multilingual file has one token more
      return {{"<|endoftext|>", taken(50256) ? ranks.back().second + 1 : 50256}};
    case TiktokenPattern::cl100k:
      return {{"<|endoftext|>", 100257},
              {"<|fim_prefix|>", 100258},
              {"<|fim_middle|>", 100259},
              {"<|fim_suffix|>", 100260},
              {"<|endofprompt|>", 100276}};
    case TiktokenPattern::o200k:
      return {{"<|endoftext|>", 199999}, {"<|endofprompt|>", 200018}};
    default:
      return {};
  }
}

// Every way to put a token together of two, in the order of the ranks.
Bpe::Merges merges_of(const Ranks& ranks) {
  TextTable ids;
  ids.reserve(ranks.size());
  for (const auto& [token, rank] : ranks) ids.insert(token, static_cast<int32_t>(rank));
  Bpe::Merges out;
  for (const auto& [token, rank] : ranks) {
    const std::string_view text = token;
    std::vector<std::pair<std::pair<int32_t, int32_t>, size_t>> found;
    for (size_t at = 1; at < text.size(); ++at) {
      const auto left = ids.find(text.substr(0, at)), right = ids.find(text.substr(at));
      if (left >= 0 && right >= 0) found.push_back({{left, right}, at});
    }
    std::ranges::sort(found);
    for (const auto& [order, at] : found)
      out.emplace_back(spelled(text.substr(0, at)), spelled(text.substr(at)));
  }
  return out;
}

PipelineParts parts_of(const Ranks& ranks, TiktokenPattern pattern, const std::string& file) {
  PipelineParts parts;
  if (pattern == TiktokenPattern::gpt2) {
    parts.pre_tokenizer = std::make_unique<ByteLevelSplit>();
  } else {
    parts.pre_tokenizer = std::make_unique<WordSplit>(*known_word_pattern(pattern_text(pattern)));
  }
  std::vector<std::pair<std::string, int64_t>> tokens;
  for (const auto& [token, rank] : ranks) tokens.emplace_back(spelled(token), rank);
  const auto last = ranks.back().second;
  for (const auto& [token, id] : specials_of(pattern, ranks)) {
    if (id <= last && pattern != TiktokenPattern::gpt2) continue;  // another encoding
    tokens.emplace_back(token, id);
    parts.specials.push_back(id);
  }
  parts.model = std::make_unique<Bpe>(BpeOptions{.ignore_merges = true, .ranks_by_id = true},
                                      tokens, merges_of(ranks), Where{file, "ranks"});
  parts.decoder = std::make_unique<ByteLevelDecoder>();
  return parts;
}

}  // namespace

Ranks parse_tiktoken(std::string_view text, const std::string& name) {
  Ranks out;
  auto rest = text;
  for (int64_t number = 1; !rest.empty(); ++number) {
    auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const Where where{name, fmt::format("line {}", number)};
    const auto space = line.find(' ');
    int64_t rank = -1;
    if (space != std::string_view::npos) {
      const auto [end, code] =
          std::from_chars(line.data() + space + 1, line.data() + line.size(), rank);
      if (code != std::errc() || end != line.data() + line.size()) rank = -1;
    }
    if (rank < 0 || rank >= kMaxTokens || space == 0)
      fail_at(where, fmt::format("expected base64, a space and a rank below {}", kMaxTokens));
    out.emplace_back(decode_base64(line.substr(0, space), where), rank);
  }
  std::ranges::sort(out, {}, &Ranks::value_type::second);
  TextTable seen;
  seen.reserve(out.size());
  std::array<bool, 256> bytes{};
  for (size_t i = 0; i < out.size(); ++i) {
    const auto& [token, rank] = out[i];
    if (i > 0 && out[i - 1].second == rank) fail("{}: the rank {} stands there twice", name, rank);
    if (seen.find(token) >= 0) fail("{}: the token of rank {} has another rank too", name, rank);
    seen.insert(token, static_cast<int32_t>(rank));
    if (token.size() == 1) bytes[static_cast<uint8_t>(token[0])] = true;
  }
  for (int byte = 0; byte < 256; ++byte)
    if (!bytes[byte]) fail("{}: the byte 0x{:02X} has no rank; is the file whole?", name, byte);
  return out;
}

TiktokenTokenizer::TiktokenTokenizer(Ranks ranks, TiktokenPattern pattern, const std::string& file)
    : Pipeline(parts_of(ranks, pattern, file), file), pattern_(pattern) {}

void TiktokenTokenizer::save(const std::filesystem::path& path) const {
  const auto& bpe = static_cast<const Bpe&>(model());
  if (path.extension() == ".tiktoken") {
    std::string text;
    for (int64_t id = 0, left = bpe.size(); left > 0; ++id) {
      const auto* token = bpe.token(id);
      if (!token) continue;
      --left;
      std::string bytes;
      if (!is_special(id) && append_symbol_bytes(*token, bytes))
        text += (bytes.empty() ? "=" : encode_base64(bytes)) + ' ' + std::to_string(id) + '\n';
    }
    return io::write_file(path, text);
  }
  auto model = bpe.to_json();
  auto added = json::array();
  for (int64_t id = 0, left = bpe.size(); left > 0; ++id) {
    const auto* token = bpe.token(id);
    if (!token) continue;
    --left;
    if (!is_special(id)) continue;
    added.push_back(special_token(id, *token));
    model["vocab"].erase(*token);
  }
  auto document =
      byte_level_document(json::object(), json::array(), std::move(added), false, nullptr);
  document["model"] = std::move(model);
  document["pre_tokenizer"] = {{"type", "Sequence"},
                               {"pretokenizers",
                                {{{"type", "Split"},
                                  {"pattern", {{"Regex", pattern_text(pattern_)}}},
                                  {"behavior", "Isolated"},
                                  {"invert", false}},
                                 {{"type", "ByteLevel"},
                                  {"add_prefix_space", false},
                                  {"trim_offsets", true},
                                  {"use_regex", false}}}}};
  io::write_file(path, document.dump(2) + "\n");
}

}  // namespace weft::tokenizers
