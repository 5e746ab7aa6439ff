#include <algorithm>

#include <weft/data/conversation_tokens.hpp>
#include <weft/data/sample.hpp>
#include <weft/ops/linear_cross_entropy.hpp>

#include "core/fail.hpp"
#include "data/image_marks.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::data {
namespace {

using tokenizers::Message;
using tokenizers::TextSpan;

/// For ascending places in code points, the same in bytes.
class ByteOffsets {
 public:
  explicit ByteOffsets(std::string_view text) : text_(text) {}
  size_t operator()(int64_t code_point) {
    if (code_point < at_) at_ = 0, byte_ = 0;
    for (; at_ < code_point && byte_ < text_.size(); ++at_)
      tokenizers::next_code_point(text_, byte_);
    return byte_;
  }

 private:
  std::string_view text_;
  int64_t at_ = 0;
  size_t byte_ = 0;
};

/// The placeholder as the vocabulary writes it, where it is a token of its own; "" = none.
std::string placeholder_of(const tokenizers::Tokenizer& tokenizer, int64_t id) {
  if (tokenizer.id(kImageMark) == id) return std::string(kImageMark);
  try {
    return id >= 0 && tokenizer.is_special(id) ? tokenizer.token(id) : "";
  } catch (const Error&) {
    return "";
  }
}

bool overlaps(const std::vector<TextSpan>& spans, size_t begin, size_t end) {
  return std::ranges::any_of(
      spans, [&](const TextSpan& span) { return begin < span.end && end > span.begin; });
}

void append_run(std::string& out, const std::string& text, bool learned, bool colour) {
  if (text.empty()) return;
  if (!learned)
    out += text;
  else
    out += colour ? "\x1b[32m" + text + "\x1b[0m" : "[[" + text + "]]";
}

}  // namespace

struct ConversationEncoder::Row {
  std::vector<int64_t> ids;
  std::vector<uint8_t> learned;
  size_t visual_end = 0;  // behind the last placeholder
  size_t prefix = 0;      // tokens in front of the first answer
  std::string text;

  void add(int64_t id, bool learn) {
    ids.push_back(id);
    learned.push_back(learn);
  }
  size_t first_learned() const {
    return static_cast<size_t>(std::ranges::find(learned, uint8_t{1}) - learned.begin());
  }
  /// Whether a token of the first `length` is to be predicted by another of them.
  bool learns(size_t length) const {
    const auto end = learned.begin() + static_cast<int64_t>(length);
    return length > 1 && std::find(learned.begin() + 1, end, 1) != end;
  }
};

ConversationEncoder::ConversationEncoder(std::shared_ptr<const tokenizers::Tokenizer> tokenizer,
                                         tokenizers::ChatTemplate chat,
                                         const ConversationEncoderOptions& options)
    : tokenizer_(std::move(tokenizer)),
      chat_(std::move(chat)),
      options_(options),
      placeholder_(placeholder_of(*tokenizer_, options.image_token)),
      parts_(tokenizers::reads_parts_only(chat_) ||
             tokenizers::writes_images(chat_, placeholder_)) {
  if (options.max_length < 2)
    fail(ErrorKind::usage, "max_length: expected at least 2, found {}", options.max_length);
  if (options.prefix_attention && options.turns == Turns::shared)
    fail(ErrorKind::usage,
         "turns: questions of a model with prefix_attention cannot share their images, which see "
         "the question too; take the turns 'alone'");
}

ConversationEncoder::Row ConversationEncoder::row(const std::vector<Message>& messages,
                                                  const std::vector<VisualTokens>& visual,
                                                  bool prompt, const std::string& id) const {
  check_image_marks(messages, visual.size(), id);
  if (!placeholder_.empty() && placeholder_ != kImageMark)
    for (const auto& message : messages)
      if (tokenizers::count_image_marks(message.content, placeholder_) > 0)
        throw BadSample(BadCause::image_count,
                        fmt::format("conversation '{}': its words hold {}, which the vocabulary "
                                    "reads as an image; expected {} where images stand",
                                    id, placeholder_, kImageMark));
  const auto rendered = chat_.render_chat(parts_ ? tokenizers::with_parts(messages) : messages,
                                          {.add_generation_prompt = prompt});
  const auto& text = rendered.text;
  const auto answers = rendered.assistant();
  const auto spans = prompt ? std::vector<TextSpan>() : answers;
  // The whole text at once, where all images stand in it as the vocabulary's placeholder.
  const bool one_text =
      !placeholder_.empty() && tokenizers::count_image_marks(text, placeholder_) == visual.size();
  if (!one_text && tokenizers::count_image_marks(text) != visual.size())
    fail("conversation '{}': the chat template writes {} of its {} image marks {}: {}", id,
         tokenizers::count_image_marks(text), visual.size(), kImageMark, text);

  Row out{.ids = {}, .learned = {}, .text = text};
  size_t image = 0;
  const auto add_image = [&] {
    const auto& [count, ids] = visual[image];
    for (const auto one : ids) out.add(one, false);
    for (int64_t i = 0; ids.empty() && i < count; ++i) out.add(options_.image_token, false);
    out.visual_end = out.ids.size();
    ++image;
  };
  const auto add_text = [&](size_t begin, size_t end) {
    const auto piece = std::string_view(text).substr(begin, end - begin);
    const auto encoding = tokenizer_->encode(piece, {.add_special_tokens = false});
    ByteOffsets first(piece), last(piece);
    for (size_t i = 0; i < encoding.ids.size(); ++i) {
      if (one_text && encoding.ids[i] == options_.image_token && image < visual.size()) {
        add_image();
        continue;
      }
      const auto& at = encoding.offsets[i];
      out.add(encoding.ids[i],
              at.end > at.begin && overlaps(spans, begin + first(at.begin), begin + last(at.end)));
    }
  };
  const auto add_part = [&](size_t begin, size_t end) {
    for (size_t mark; !one_text && (mark = text.find(kImageMark, begin)) < end;) {
      add_text(begin, mark);
      add_image();
      begin = mark + kImageMark.size();
    }
    add_text(begin, end);
  };
  size_t begin = 0;
  if (options_.prefix_attention)
    for (const auto& answer : answers) {
      add_part(begin, answer.begin);
      if (&answer == &answers.front()) out.prefix = out.ids.size();
      begin = answer.begin;
    }
  add_part(begin, text.size());
  if (options_.prefix_attention && answers.empty()) out.prefix = out.ids.size();
  int64_t expected = 0;
  for (const auto& one : visual)
    expected += one.ids.empty() ? one.count : std::ranges::count(one.ids, options_.image_token);
  // A tokenizer may read other words as the placeholder too, or not find it beside some.
  if (const auto found = std::ranges::count(out.ids, options_.image_token); found != expected)
    throw BadSample(BadCause::image_count,
                    fmt::format("conversation '{}': its text becomes {} placeholders of visual "
                                "tokens, its {} image(s) {}",
                                id, found, visual.size(), expected));
  return out;
}

void ConversationEncoder::check_learns(const Row& row, const Conversation& conversation) const {
  if (!row.learns(row.ids.size()))
    fail("conversation '{}': no token of it is learned, as the chat template writes no answer: {}",
         conversation.id, row.text);
}

ConversationTokens ConversationEncoder::finish(Row row, const Conversation& conversation) const {
  check_learns(row, conversation);
  const auto length = std::min(row.ids.size(), static_cast<size_t>(options_.max_length));
  if (length < row.visual_end || !row.learns(length))
    throw BadSample(BadCause::too_long,
                    fmt::format("conversation '{}': {} tokens, of which {} hold no answer yet; "
                                "raise --max-length",
                                conversation.id, row.ids.size(), options_.max_length));
  ConversationTokens out{.prefix = static_cast<int64_t>(row.prefix),
                         .images = conversation.images,
                         .cut = length < row.ids.size()};
  row.ids.resize(length);
  row.learned.resize(length);
  out.targets.assign(length, ops::kIgnoredLabel);
  for (size_t i = 0; i + 1 < length; ++i)
    if (row.learned[i + 1] != 0) out.targets[i] = row.ids[i + 1];
  out.ids = std::move(row.ids);
  return out;
}

ConversationTokens ConversationEncoder::merge(std::vector<Row> rows,
                                              const Conversation& conversation) const {
  auto trunk = rows.front().ids.size();
  for (const auto& row : rows) {
    // The token in front of an answer must stand in the answer's own branch.
    trunk = std::min({trunk, std::max<size_t>(row.first_learned(), 1) - 1, row.ids.size()});
    const auto [one, other] = std::ranges::mismatch(row.ids, rows.front().ids);
    trunk = std::min(trunk, static_cast<size_t>(one - row.ids.begin()));
  }
  ConversationTokens out{.copied = trunk < rows.front().visual_end};
  if (out.copied)
    for (const auto& row : rows) {
      const auto first = std::ranges::find(row.ids, options_.image_token);
      trunk = std::min(trunk, static_cast<size_t>(first - row.ids.begin()));
    }
  const auto add = [&](const ConversationTokens& one, size_t from, size_t to, int64_t branch) {
    const auto begin = static_cast<int64_t>(from), end = static_cast<int64_t>(to);
    out.ids.insert(out.ids.end(), one.ids.begin() + begin, one.ids.begin() + end);
    out.targets.insert(out.targets.end(), one.targets.begin() + begin, one.targets.begin() + end);
    out.branches.resize(out.ids.size(), branch);
  };
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto room = static_cast<size_t>(options_.max_length);
    if (i > 0 && out.ids.size() + rows[i].ids.size() - trunk > room) {
      out.cut = true;
      continue;
    }
    const auto one = finish(std::move(rows[i]), conversation);
    out.cut = out.cut || one.cut;
    if (i == 0) add(one, 0, trunk, 0);
    if (i == 0 || out.copied)
      out.images.insert(out.images.end(), conversation.images.begin(), conversation.images.end());
    add(one, trunk, one.ids.size(), static_cast<int64_t>(i) + 1);
  }
  return out;
}

ConversationTokens ConversationEncoder::encode(const Conversation& conversation,
                                               const std::vector<VisualTokens>& visual) const {
  const auto& id = conversation.id;
  if (options_.turns != Turns::shared)
    return finish(row(conversation.messages, visual, false, id), conversation);
  const auto turns = single_turns(conversation);
  std::vector<Row> rows;
  for (const auto& turn : turns) {
    rows.push_back(row(turn.messages, visual, false, id));
    check_learns(rows.back(), conversation);
  }
  return rows.size() == 1 ? finish(std::move(rows.front()), conversation)
                          : merge(std::move(rows), conversation);
}

ConversationTokens ConversationEncoder::encode_rejected(
    const Conversation& conversation, const std::vector<VisualTokens>& visual) const {
  auto other = conversation;
  if (other.rejected.empty())
    throw BadSample(BadCause::bad_conversation,
                    fmt::format("conversation '{}': has no rejected answer", other.id));
  other.messages.back().content = other.rejected;
  return finish(row(other.messages, visual, false, other.id), other);
}

ConversationTokens ConversationEncoder::prompt(const std::vector<Message>& messages,
                                               const std::vector<int64_t>& images,
                                               const std::vector<VisualTokens>& visual) const {
  auto made = row(messages, visual, true, "prompt");
  if (static_cast<int64_t>(made.ids.size()) > options_.max_length)
    throw BadSample(BadCause::too_long,
                    fmt::format("the prompt has {} tokens, more than the {} of --max-length",
                                made.ids.size(), options_.max_length));
  return {
      .ids = std::move(made.ids), .prefix = static_cast<int64_t>(made.prefix), .images = images};
}

std::vector<int64_t> ConversationEncoder::end_tokens() const {
  const auto made = row({{.role = "user", .content = "a"}, {.role = "assistant", .content = "b"}},
                        {}, false, "end of an answer");
  for (size_t i = made.ids.size(); i-- > 0;)
    if (made.learned[i] != 0)
      return tokenizer_->is_special(made.ids[i]) ? std::vector{made.ids[i]}
                                                 : std::vector<int64_t>();
  return {};
}

std::string ConversationEncoder::show(const ConversationTokens& tokens, bool colour) const {
  std::string out;
  const auto learned = [&](size_t i) {
    return i > 0 && tokens.targets.size() > i - 1 && tokens.targets[i - 1] == tokens.ids[i];
  };
  for (size_t i = 0; i < tokens.ids.size();) {
    size_t end = i;
    if (tokens.ids[i] == options_.image_token) {
      while (end < tokens.ids.size() && tokens.ids[end] == options_.image_token) ++end;
      out += fmt::format("<image: {} tokens>", end - i);
      i = end;
      continue;
    }
    const auto branch = [&](size_t k) { return tokens.branches.empty() ? 0 : tokens.branches[k]; };
    if (i > 0 && branch(i) != branch(i - 1)) out += "\n--- another question about the same:\n";
    while (end < tokens.ids.size() && tokens.ids[end] != options_.image_token &&
           learned(end) == learned(i) && branch(end) == branch(i))
      ++end;
    const std::vector<int64_t> run(tokens.ids.begin() + static_cast<int64_t>(i),
                                   tokens.ids.begin() + static_cast<int64_t>(end));
    append_run(out, tokenizer_->decode(run, false), learned(i), colour);
    i = end;
  }
  return out;
}

}  // namespace weft::data
