#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <weft/text/generation.hpp>

#include "text/beam_search.hpp"

namespace weft::text {
namespace {

void check_options(const GenerateOptions& o, const tokenizers::Tokenizer* tokenizer) {
  TORCH_CHECK_VALUE(o.max_new_tokens > 0, "generate: max_new_tokens must be positive, got ",
                    o.max_new_tokens);
  TORCH_CHECK_VALUE(o.temperature >= 0, "generate: temperature must not be negative, got ",
                    o.temperature);
  TORCH_CHECK_VALUE(o.top_k >= 0, "generate: top_k must not be negative, got ", o.top_k);
  TORCH_CHECK_VALUE(o.top_p > 0 && o.top_p <= 1, "generate: top_p must be in (0, 1], got ",
                    o.top_p);
  TORCH_CHECK_VALUE(o.min_p >= 0 && o.min_p <= 1, "generate: min_p must be in [0, 1], got ",
                    o.min_p);
  TORCH_CHECK_VALUE(o.repetition_penalty > 0, "generate: repetition_penalty must be positive, got ",
                    o.repetition_penalty);
  TORCH_CHECK_VALUE(o.num_beams > 0, "generate: num_beams must be positive, got ", o.num_beams);
  TORCH_CHECK_VALUE(o.num_beams == 1 || (o.temperature == 0 && o.stop.empty()),
                    "generate: beam search goes with temperature 0 and without stop texts");
  TORCH_CHECK_VALUE(o.stop.empty() || tokenizer != nullptr,
                    "generate: stop texts need a tokenizer");
}

bool is_end(const GenerateOptions& o, int64_t id) {
  return std::ranges::find(o.end_tokens, id) != o.end_tokens.end();
}

/// The text of a row while it grows, watched for stop texts.
class Watch {
 public:
  Watch(const tokenizers::Tokenizer* tokenizer, const std::vector<std::string>& stop)
      : stream_(tokenizer != nullptr ? tokenizer->stream() : nullptr), stop_(stop) {
    for (const auto& text : stop) longest_ = std::max(longest_, text.size());
  }

  /// Whether a stop text has appeared; it and what follows is cut off.
  bool push(int64_t id) {
    if (stream_ == nullptr) return false;
    const auto piece = stream_->push(id);
    const auto seen = text_.size() < longest_ ? 0 : text_.size() - longest_;
    text_ += piece;
    auto first = std::string::npos;
    for (const auto& text : stop_) first = std::min(first, text_.find(text, seen));
    if (first == std::string::npos) return false;
    text_.resize(first);
    stopped_ = true;
    return true;
  }
  std::string finish() {
    if (stream_ != nullptr && !stopped_) text_ += stream_->flush();
    return std::move(text_);
  }

 private:
  std::unique_ptr<tokenizers::DecodeStream> stream_;
  const std::vector<std::string>& stop_;
  std::string text_;
  size_t longest_ = 0;
  bool stopped_ = false;
};

}  // namespace

at::Tensor process_logits(const at::Tensor& logits, const GenerateOptions& o,
                          const std::vector<std::vector<int64_t>>& before) {
  TORCH_CHECK_VALUE(logits.dim() == 2 && (o.repetition_penalty == 1 ||
                                          static_cast<size_t>(logits.size(0)) == before.size()),
                    "process_logits: logits must be [B, V] with the tokens before each row, got ",
                    logits.sizes(), " and ", before.size(), " rows");
  constexpr auto kNever = -std::numeric_limits<float>::infinity();
  auto x = logits.to(at::kFloat);
  if (o.repetition_penalty != 1) {
    x = x.clone();
    for (size_t row = 0; row < before.size(); ++row) {
      if (before[row].empty()) continue;
      auto values = x[static_cast<int64_t>(row)];
      const auto ids = at::tensor(before[row], at::kLong).to(x.device());
      const auto seen = values.index_select(0, ids);
      values.index_copy_(
          0, ids, at::where(seen < 0, seen * o.repetition_penalty, seen / o.repetition_penalty));
    }
  }
  if (o.temperature == 0) return x;
  if (o.temperature != 1) x = x / o.temperature;
  if (o.top_k > 0) {
    const auto kept = std::min(o.top_k, x.size(1));
    const auto least = std::get<0>(x.topk(kept, 1)).narrow(1, kept - 1, 1);
    x = x.masked_fill(x < least, kNever);
  }
  if (o.top_p < 1) {
    const auto [sorted, order] = x.sort(1, /*descending=*/false);
    auto removed = sorted.softmax(1).cumsum(1) <= 1 - o.top_p;
    removed.narrow(1, x.size(1) - 1, 1).fill_(false);
    x = x.masked_fill(removed.scatter(1, order, removed), kNever);
  }
  if (o.min_p > 0) {
    const auto chances = x.softmax(1);
    x = x.masked_fill(chances < o.min_p * chances.amax(1, true), kNever);
  }
  return x;
}

Continuation::Continuation(LanguageModel& model, const LmInput& prompt, int64_t max_new_tokens,
                           int64_t copies)
    : model_(model) {
  TORCH_CHECK_VALUE(prompt.ids.defined() != prompt.embeddings.defined(),
                    "generate: the prompt must be ids or embeddings, ",
                    prompt.ids.defined() ? "not both" : "found neither");
  input_ = prompt;
  input_.hidden_layers = {};
  input_.logits = Logits::last;
  input_.cache = &cache_;
  const auto& data = prompt.ids.defined() ? prompt.ids : prompt.embeddings;
  const auto B = data.size(0), T = data.size(1);
  const auto limit = model.info().max_tokens;
  TORCH_CHECK_VALUE(limit == 0 || T < limit, "generate: the prompt's ", T,
                    " tokens leave no room among the ", limit, " of the model");
  cache_.reserve(model.info().num_layers, T + max_new_tokens);
  const auto padded =
      prompt.mask.defined() && (!prompt.mask.device().is_cpu() || !prompt.mask.all().item<bool>());
  if (!padded) input_.mask = at::Tensor();
  first_logits_ = model.forward(input_).logits.squeeze(1);
  if (copies > 1) {
    const auto rows = at::arange(B, at::TensorOptions().dtype(at::kLong).device(data.device()))
                          .repeat_interleave(copies);
    cache_.reorder(rows);
    first_logits_ = first_logits_.index_select(0, rows);
    if (padded) input_.mask = input_.mask.index_select(0, rows);
  }
  device_ = data.device();
  // From here on ids follow, one a row, at the positions behind the prompt's.
  if (prompt.positions.defined())
    next_position_ = prompt.positions.narrow(1, T - 1, 1)
                         .repeat_interleave(prompt.positions.size(0) == 1 ? 1 : copies, 0) +
                     1;
  input_.embeddings = input_.segments = input_.branches = input_.spans = at::Tensor();
}

at::Tensor Continuation::step(const std::vector<int64_t>& ids) {
  const auto rows = static_cast<int64_t>(ids.size());
  input_.ids = at::tensor(ids, at::kLong).to(device_).view({rows, 1});
  if (input_.mask.defined()) input_.mask = at::constant_pad_nd(input_.mask, {0, 1}, true);
  if (next_position_.defined()) {
    input_.positions = next_position_;
    next_position_ = next_position_ + 1;
  }
  return model_.forward(input_).logits.squeeze(1);
}

std::vector<std::vector<int64_t>> prompt_tokens(const LmInput& prompt, bool wanted) {
  const auto& data = prompt.ids.defined() ? prompt.ids : prompt.embeddings;
  std::vector<std::vector<int64_t>> out(static_cast<size_t>(data.size(0)));
  if (!wanted || !prompt.ids.defined()) return out;
  for (size_t row = 0; row < out.size(); ++row) {
    const auto i = static_cast<int64_t>(row);
    auto ids = prompt.ids[i];
    if (prompt.mask.defined()) ids = ids.masked_select(prompt.mask[i]);
    ids = ids.cpu().contiguous();
    out[row].assign(ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + ids.numel());
  }
  return out;
}

std::vector<Generated> generate(LanguageModel& model, const LmInput& prompt,
                                const GenerateOptions& options,
                                const tokenizers::Tokenizer* tokenizer, const OnToken& on_token) {
  check_options(options, tokenizer);
  const at::NoGradGuard no_grad;
  auto o = options;
  if (const auto limit = model.info().max_tokens; limit > 0) {
    const auto& data = prompt.ids.defined() ? prompt.ids : prompt.embeddings;
    // The last token that is made is not read. Continuation refuses a prompt without room.
    if (data.defined() && data.size(1) < limit)
      o.max_new_tokens = std::min(o.max_new_tokens, limit - data.size(1) + 1);
  }
  auto before = prompt_tokens(prompt, o.repetition_penalty != 1);
  const auto rows = before.size();
  if (o.num_beams > 1) {
    auto out = beam_search(model, prompt, o, before);
    if (tokenizer != nullptr)
      for (auto& row : out) row.text = tokenizer->decode(row.ids);
    return out;
  }
  auto random = at::make_generator<at::CPUGeneratorImpl>(o.seed);
  std::vector<Generated> out(rows);
  std::vector<Watch> watches;
  for (size_t row = 0; row < rows; ++row) watches.emplace_back(tokenizer, o.stop);
  std::vector<bool> open(rows, true);
  std::vector<int64_t> next(rows, 0);
  Continuation continuation(model, prompt, o.max_new_tokens);
  auto logits = continuation.first_logits();
  for (int64_t count = 1;; ++count) {
    const auto scores = process_logits(logits, o, before);
    const auto chosen = o.temperature == 0
                            ? scores.argmax(1).cpu()
                            : scores.cpu().softmax(1).multinomial(1, false, random).squeeze(1);
    bool any = false;
    for (size_t row = 0; row < rows; ++row) {
      if (!open[row]) continue;
      const auto id = chosen[static_cast<int64_t>(row)].item<int64_t>();
      next[row] = id;
      out[row].ids.push_back(id);
      before[row].push_back(id);
      const bool end = is_end(o, id);
      const bool stop = watches[row].push(id);
      const bool wanted = !on_token || on_token(static_cast<int64_t>(row), id);
      out[row].finished = end || stop || !wanted;
      open[row] = !out[row].finished;
      any |= open[row];
    }
    if (!any || count == o.max_new_tokens) break;
    logits = continuation.step(next);
  }
  for (size_t row = 0; row < rows; ++row) out[row].text = watches[row].finish();
  return out;
}

}  // namespace weft::text
