#include "tokenizers/pipeline.hpp"

#include <algorithm>
#include <utility>

#include "core/fail.hpp"
#include "tokenizers/decoders.hpp"
#include "tokenizers/padding.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {
namespace {

// How many ids of the text itself stay, or -1 for all.
int64_t room(const EncodeOptions& options, const PostProcessor& post) {
  if (options.max_length < 0)
    fail(ErrorKind::usage, "max_length: expected 0 or more, found {}", options.max_length);
  if (options.max_length == 0) return -1;
  const auto added = options.add_special_tokens ? post.added() : 0;
  if (options.max_length < added)
    fail(ErrorKind::usage, "max_length: {} leaves no room for the {} special tokens",
         options.max_length, added);
  return options.max_length - added;
}

template <class T>
void truncate(std::vector<T>& values, int64_t count, Side side) {
  const auto size = static_cast<int64_t>(values.size());
  if (count < 0 || size <= count) return;
  if (side == Side::right) {
    values.resize(count);
  } else {
    values.erase(values.begin(), values.end() - count);
  }
}

std::string_view checked(std::string_view text, std::string& scratch) {
  if (static_cast<int64_t>(text.size()) > kMaxTextBytes)
    fail("a text of {} bytes is longer than the tokenizer's limit of {}", text.size(),
         kMaxTextBytes);
  if (is_ascii(text) || valid_utf8_prefix(text) == text.size()) return text;
  scratch.clear();
  append_lossy(text, scratch);
  return scratch;
}

class PipelineStream final : public DecodeStream {
 public:
  PipelineStream(const Pipeline& pipeline, const Decoder& decoder, bool skip_special)
      : pipeline_(pipeline), skip_special_(skip_special), first_(decoder.start(&last_)) {}

  std::string push(int64_t id) override {
    const auto* token = pipeline_.decoded_token(id, skip_special_);
    if (token) first_->push(*token, true);
    return std::exchange(last_.text, {});
  }

  std::string flush() override {
    first_->finish();
    return std::exchange(last_.text, {});
  }

 private:
  const Pipeline& pipeline_;
  bool skip_special_;
  CollectStage last_;
  std::unique_ptr<DecodeStage> first_;
};

}  // namespace

bool Pipeline::walk_plain(Text& text, const Sink& sink) const {
  static thread_local std::vector<Piece> pieces;
  static thread_local std::vector<Token> tokens;
  if (text.bytes.empty()) return true;
  pieces.assign(1, {0, text.bytes.size()});
  if (pre_tokenizer_) pre_tokenizer_->split(text, pieces);
  tokens.clear();
  for (const auto& piece : pieces) model_->tokenize(text.bytes, piece, tokens);
  return sink(text, tokens, false);
}

bool Pipeline::walk_normalized(Text& text, const Sink& sink) const {
  if (normalizer_) normalizer_->apply(text);
  if (normalized_.empty()) return walk_plain(text, sink);
  size_t at = 0;
  Text part;
  part.tracked = text.tracked;
  while (at < text.bytes.size()) {
    const auto found = normalized_.next(text.bytes, at);
    part.clear();
    part.append(text, at, found.begin);
    part.at_start = text.at_start && at == 0;
    if (!walk_plain(part, sink)) return false;
    if (found.id >= 0 && !sink(text, {found}, true)) return false;
    at = found.end;
  }
  return true;
}

void Pipeline::walk(std::string_view text, bool tracked, const Sink& sink) const {
  static thread_local Text part;
  part.tracked = tracked;
  int64_t code_point = 0;
  const auto take = [&](size_t begin, size_t end) {
    part.clear();
    part.at_start = begin == 0;
    part.bytes = text.substr(begin, end - begin);
    if (!tracked) return;
    part.source.reserve(end - begin);
    for (size_t i = begin; i < end; ++i) {
      code_point += (static_cast<uint8_t>(text[i]) & 0xC0) != 0x80;
      part.source.push_back({code_point - 1, code_point});
    }
  };
  size_t at = 0;
  while (at < text.size()) {
    const auto found = raw_.empty() ? Token{-1, text.size(), text.size()} : raw_.next(text, at);
    take(at, found.begin);
    if (!walk_normalized(part, sink)) return;
    if (found.id >= 0) {
      take(found.begin, found.end);
      if (!sink(part, {{found.id, 0, found.end - found.begin}}, true)) return;
    }
    at = found.end;
  }
}

Encoding Pipeline::encode(std::string_view input, const EncodeOptions& options) const {
  const auto keep = room(options, post_);
  std::string scratch;
  Encoding out;
  walk(checked(input, scratch), true,
       [&](const Text& text, const std::vector<Token>& tokens, bool added) {
         for (const auto& token : tokens) {
           out.ids.push_back(token.id);
           // An added token is written as it was found, white space that it takes in included.
           out.tokens.push_back(added ? text.bytes.substr(token.begin, token.end - token.begin)
                                      : model_->written(token, text.bytes));
           out.offsets.push_back(token.begin < token.end ? Offset{text.source[token.begin].begin,
                                                                  text.source[token.end - 1].end}
                                                         : Offset{});
         }
         return true;
       });
  truncate(out.ids, keep, options.truncation_side);
  truncate(out.tokens, keep, options.truncation_side);
  truncate(out.offsets, keep, options.truncation_side);
  post_.adjust(out);
  if (options.add_special_tokens) {
    size_t at = 0;
    for (const auto id : post_.single) {
      if (id == PostProcessor::kText) {
        at = out.ids.size();
        continue;
      }
      out.ids.insert(out.ids.begin() + at, id);
      out.tokens.insert(out.tokens.begin() + at, token(id));
      out.offsets.insert(out.offsets.begin() + at, Offset{});
      ++at;
    }
  }
  out.mask.assign(out.ids.size(), 1);
  if (options.padding == Padding::max_length)
    pad_encoding(out, options.max_length, *this, options.padding_side);
  return out;
}

void Pipeline::encode_ids(std::string_view input, const EncodeOptions& options,
                          std::vector<int64_t>& out) const {
  static thread_local std::string scratch;
  const auto keep = room(options, post_);
  out.clear();
  size_t before = 0;  // special tokens in front of the text
  if (options.add_special_tokens) {
    for (; post_.single[before] != PostProcessor::kText; ++before)
      out.push_back(post_.single[before]);
  }
  // Cut at the right end, what follows need not be read.
  const auto enough = keep >= 0 && options.truncation_side == Side::right
                          ? before + static_cast<size_t>(keep)
                          : std::string_view::npos;
  walk(checked(input, scratch), false, [&](const Text&, const std::vector<Token>& tokens, bool) {
    for (const auto& token : tokens) out.push_back(token.id);
    return out.size() < enough;
  });
  if (out.size() > enough) out.resize(enough);
  const auto size = static_cast<int64_t>(out.size() - before);
  if (keep >= 0 && size > keep)
    out.erase(out.begin() + before, out.begin() + before + (size - keep));
  if (options.add_special_tokens)
    out.insert(out.end(), post_.single.begin() + before + 1, post_.single.end());
  if (options.padding == Padding::max_length)
    pad_values(out, options.max_length, pad_id(), options.padding_side);
}

const std::string* Pipeline::find_token(int64_t id) const {
  const auto found = added_.find(id);
  return found == added_.end() ? model_->token(id) : &found->second.content;
}

std::optional<int64_t> Pipeline::id(std::string_view token) const {
  const auto found = added_ids_.find(token);
  return found == added_ids_.end() ? model_->id(token) : found->second;
}

std::string Pipeline::token(int64_t id) const {
  const auto* found = find_token(id);
  if (!found) fail("{}: no token has the id {}; the vocabulary has {}", file_, id, size_);
  return *found;
}

bool Pipeline::is_special(int64_t id) const {
  const auto found = added_.find(id);
  return found != added_.end() && found->second.special;
}

int64_t Pipeline::pad_id() const {
  if (!pad_)
    fail("{}: no padding token is known; name one as pad_token in tokenizer_config.json", file_);
  return *pad_;
}

const std::string* Pipeline::decoded_token(int64_t id, bool skip_special) const {
  return skip_special && is_special(id) ? nullptr : find_token(id);
}

std::string Pipeline::decode(const std::vector<int64_t>& ids, bool skip_special) const {
  CollectStage text;
  const auto first = decoder_->start(&text);
  for (const auto id : ids) {
    if (const auto* token = decoded_token(id, skip_special)) first->push(*token, true);
  }
  first->finish();
  return std::move(text.text);
}

std::unique_ptr<DecodeStream> Pipeline::stream(bool skip_special) const {
  return std::make_unique<PipelineStream>(*this, *decoder_, skip_special);
}

}  // namespace weft::tokenizers
