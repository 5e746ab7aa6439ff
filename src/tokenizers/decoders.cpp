#include "tokenizers/decoders.hpp"

#include <algorithm>

#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {
namespace {

class JoinStage final : public DecodeStage {
 public:
  using DecodeStage::DecodeStage;
  void push(std::string_view part, bool last) override {
    if (begins_ && !first_) next_->push(" ", true);
    next_->push(part, last);
    first_ = false;
    begins_ = last;
  }
  void finish() override {
    first_ = begins_ = true;
    next_->finish();
  }

 private:
  bool first_ = true, begins_ = true;
};

class FuseStage final : public DecodeStage {
 public:
  using DecodeStage::DecodeStage;
  void push(std::string_view part, bool) override { next_->push(part, false); }
  void finish() override {
    next_->push({}, true);
    next_->finish();
  }
};

class ByteFallbackStage final : public TokenStage {
 public:
  using TokenStage::TokenStage;
  void take(std::string& token) override {
    if (const auto byte = fallback_byte(token); byte >= 0) {
      bytes_ += static_cast<char>(byte);
      return;
    }
    flush();
    next_->push(token, true);
  }
  void finish() override {
    flush();
    next_->finish();
  }

 private:
  void flush() {
    if (bytes_.empty()) return;
    if (valid_utf8_prefix(bytes_) == bytes_.size()) {
      next_->push(bytes_, true);
    } else {
      for (size_t i = 0; i < bytes_.size(); ++i) next_->push("\xEF\xBF\xBD", true);
    }
    bytes_.clear();
  }
  std::string bytes_;
};

class ReplaceStage final : public TokenStage {
 public:
  ReplaceStage(DecodeStage* next, const Regex& pattern, const std::string& content)
      : TokenStage(next), pattern_(pattern), content_(content) {}
  void take(std::string& token) override {
    std::string out;
    size_t done = 0;
    pattern_.each_match(token, [&](size_t begin, size_t end) {
      out.append(token, done, begin - done);
      check_growth(out.size() + content_.size());
      out += content_;
      done = end;
    });
    out.append(token, done, std::string::npos);
    next_->push(out, true);
  }

 private:
  const Regex& pattern_;
  const std::string& content_;
};

class StripStage final : public DecodeStage {
 public:
  StripStage(DecodeStage* next, std::string_view content, int64_t begin, int64_t end)
      : DecodeStage(next), content_(content), begin_(begin), end_(end) {}
  void push(std::string_view part, bool last) override {
    if (end_ == 0) {  // nothing waits for the end of the token
      while (cut_ < begin_ && part.starts_with(content_))
        part.remove_prefix(content_.size()), ++cut_;
      if (!part.empty()) cut_ = begin_;
      next_->push(part, last);
      if (last) cut_ = 0;
      return;
    }
    token_ += part;
    if (!last) return;
    std::string_view rest = token_;
    for (; cut_ < begin_ && rest.starts_with(content_); ++cut_) rest.remove_prefix(content_.size());
    for (int64_t i = 0; i < end_ && rest.ends_with(content_); ++i)
      rest.remove_suffix(content_.size());
    next_->push(rest, true);
    token_.clear();
    cut_ = 0;
  }

 private:
  std::string_view content_;
  int64_t begin_, end_, cut_ = 0;
  std::string token_;
};

class MetaspaceStage final : public DecodeStage {
 public:
  MetaspaceStage(DecodeStage* next, std::string_view replacement, bool prepended)
      : DecodeStage(next), replacement_(replacement), prepended_(prepended) {}
  void push(std::string_view part, bool last) override {
    std::string out;
    for (size_t at = 0; at < part.size();) {
      const auto found = std::min(part.find(replacement_, at), part.size());
      out += part.substr(at, found - at);
      if (found < part.size() && !(first_ && prepended_)) out += ' ';
      at = found + replacement_.size();
    }
    next_->push(out, last);
    if (last) first_ = false;
  }
  void finish() override {
    first_ = true;
    next_->finish();
  }

 private:
  std::string_view replacement_;
  bool prepended_;
  bool first_ = true;
};

class BpeStage final : public TokenStage {
 public:
  BpeStage(DecodeStage* next, std::string_view suffix) : TokenStage(next), suffix_(suffix) {}
  void take(std::string& token) override {
    release(" ");
    waiting_ = true;
    held_.swap(token);
  }
  void finish() override {
    release("");
    next_->finish();
  }

 private:
  void release(std::string_view with) {
    if (!waiting_) return;
    std::string out;
    for (size_t at = 0; at < held_.size();) {
      const auto found =
          suffix_.empty() ? held_.size() : std::min(held_.find(suffix_, at), held_.size());
      out.append(held_, at, found - at);
      if (found < held_.size()) out += with;
      at = found + suffix_.size();
    }
    next_->push(out, true);
    waiting_ = false;
  }
  std::string_view suffix_;
  std::string held_;
  bool waiting_ = false;
};

class ChainStage final : public DecodeStage {
 public:
  ChainStage(DecodeStage* next, const std::vector<std::unique_ptr<Decoder>>& parts)
      : DecodeStage(next), first_(next) {
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
      stages_.push_back((*part)->start(first_));
      first_ = stages_.back().get();
    }
  }
  void push(std::string_view part, bool last) override { first_->push(part, last); }
  void finish() override { first_->finish(); }

 private:
  std::vector<std::unique_ptr<DecodeStage>> stages_;
  DecodeStage* first_;
};

}  // namespace

std::string take_characters(std::string& bytes) {
  // An unfinished sequence at the end waits for its other bytes; it is at most 3 long.
  size_t whole = bytes.size();
  for (size_t back = 1; back <= std::min<size_t>(3, bytes.size()); ++back) {
    const auto tail = std::string_view(bytes).substr(bytes.size() - back);
    if ((static_cast<uint8_t>(tail[0]) & 0xC0) == 0x80) continue;
    bool truncated = false;
    if (static_cast<uint8_t>(tail[0]) >= 0x80 && invalid_utf8_length(tail, truncated) == back &&
        truncated)
      whole -= back;
    break;
  }
  std::string out;
  append_lossy(std::string_view(bytes).substr(0, whole), out);
  bytes.erase(0, whole);
  return out;
}

void BytesStage::finish() {
  std::string rest;
  append_lossy(bytes_, rest);
  bytes_.clear();
  next_->push(rest, true);
  next_->finish();
}

int fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

std::unique_ptr<DecodeStage> JoinDecoder::start(DecodeStage* next) const {
  return std::make_unique<JoinStage>(next);
}
std::unique_ptr<DecodeStage> FuseDecoder::start(DecodeStage* next) const {
  return std::make_unique<FuseStage>(next);
}
std::unique_ptr<DecodeStage> ByteFallbackDecoder::start(DecodeStage* next) const {
  return std::make_unique<ByteFallbackStage>(next);
}
std::unique_ptr<DecodeStage> ReplaceDecoder::start(DecodeStage* next) const {
  return std::make_unique<ReplaceStage>(next, pattern_, content_);
}
std::unique_ptr<DecodeStage> StripDecoder::start(DecodeStage* next) const {
  return std::make_unique<StripStage>(next, content_, begin_, end_);
}
std::unique_ptr<DecodeStage> MetaspaceDecoder::start(DecodeStage* next) const {
  return std::make_unique<MetaspaceStage>(next, replacement_, prepended_);
}
std::unique_ptr<DecodeStage> BpeDecoder::start(DecodeStage* next) const {
  return std::make_unique<BpeStage>(next, suffix_);
}
std::unique_ptr<DecodeStage> DecoderSequence::start(DecodeStage* next) const {
  return std::make_unique<ChainStage>(next, parts_);
}

}  // namespace weft::tokenizers
