#include <algorithm>
#include <numeric>

#include <ATen/ATen.h>

#include <weft/data/sample.hpp>
#include <weft/data/vlm_inputs.hpp>
#include <weft/eval/answers.hpp>
#include <weft/fusion/anyres.hpp>
#include <weft/fusion/projector.hpp>
#include <weft/nn/attention_record.hpp>

#include "core/trimmed.hpp"
#include "eval/eval_mode.hpp"
#include "vision/image_rows.hpp"

namespace weft::eval {
namespace {

struct Prompt {
  size_t question;
  data::ConversationTokens tokens;
  std::vector<data::VisualInput> seen;          // its images, where there are no features
  int64_t visual_tokens = 0, first_tokens = 0;  // of all images and of the first
};

Prompt prompt_of(const VisualQuestion& question, size_t number,
                 const data::ConversationEncoder& encoder, const data::ReadVisual& read,
                 bool pixels) {
  Prompt out{.question = number, .tokens = {}, .seen = {}};
  std::vector<data::VisualTokens> visual;
  for (const auto image : question.images) {
    auto seen = read(image);
    if (visual.empty()) out.first_tokens = seen.tokens;
    visual.push_back({seen.tokens, seen.ids});
    out.visual_tokens += seen.tokens;
    if (pixels) out.seen.push_back(std::move(seen));
  }
  out.tokens = encoder.prompt(question.messages, question.images, visual);
  return out;
}

at::Device device_of(const models::VlmImpl& model) {
  return model.language->parameters().front().device();
}

/// Padded on the left.
LmInput to_input(const std::vector<Prompt>& batch) {
  size_t longest = 0;
  for (const auto& prompt : batch) longest = std::max(longest, prompt.tokens.ids.size());
  const auto B = static_cast<int64_t>(batch.size()), T = static_cast<int64_t>(longest);
  LmInput out{.ids = at::zeros({B, T}, at::kLong), .mask = at::zeros({B, T}, at::kBool)};
  if (std::ranges::any_of(batch, [](const Prompt& one) { return one.tokens.prefix > 0; }))
    out.spans = at::zeros({B, T}, at::kLong);
  for (int64_t b = 0; b < B; ++b) {
    const auto& tokens = batch[static_cast<size_t>(b)].tokens;
    const auto& ids = tokens.ids;
    const auto length = static_cast<int64_t>(ids.size());
    std::ranges::copy(ids, out.ids.data_ptr<int64_t>() + b * T + T - length);
    out.mask[b].narrow(0, T - length, length).fill_(true);
    if (out.spans.defined()) out.spans[b].narrow(0, T - length, tokens.prefix).fill_(1);
  }
  return out;
}

EncoderOutput see(models::VlmImpl& model, const std::vector<Prompt>& batch,
                  const VisualFeatures* features) {
  std::vector<int64_t> numbers;
  std::vector<at::Tensor> pixels;
  vision::ImageRows rows;
  for (const auto& prompt : batch) {
    numbers.insert(numbers.end(), prompt.tokens.images.begin(), prompt.tokens.images.end());
    for (const auto& image : prompt.seen) {
      rows.add(image.row, image.pixels.size(0));
      pixels.push_back(image.pixels);
    }
  }
  if (numbers.empty()) return {};
  if (features != nullptr) return features->of(numbers);
  return model.see({.data = at::cat(pixels).to(device_of(model)), .images = rows.images()});
}

LmInput spliced(models::VlmImpl& model, const LmInput& text, EncoderOutput visual) {
  if (!visual.tokens.defined()) return model.prompt(text);
  const auto& weight = model.language->head().weight;
  visual.tokens = visual.tokens.to(weight.device(), weight.scalar_type());
  return model.splice(text, model.connector->connect({.visual = visual}).tokens);
}

/// An answer's text with its special tokens, but for the end.
std::string with_special(const text::Generated& made, const data::ConversationEncoder& encoder,
                         const text::GenerateOptions& how) {
  auto ids = made.ids;
  if (!ids.empty() && std::ranges::find(how.end_tokens, ids.back()) != how.end_tokens.end())
    ids.pop_back();
  auto text = encoder.tokenizer().decode(ids, /*skip_special=*/false);
  for (const auto& stop : how.stop) text.resize(std::min(text.size(), text.find(stop)));
  return text;
}

/// Rows, and columns, of what a connector makes of one view's tokens; 0 where they have no places.
int64_t grid_side(const Connector& connector, int64_t tokens) {
  if (const auto* tiles = dynamic_cast<const fusion::AnyResImpl*>(&connector))
    return grid_side(*tiles->projector, tokens);
  const auto* each = dynamic_cast<const fusion::ProjectorImpl*>(&connector);
  if (each == nullptr) return 0;
  int64_t side = 0;
  while (side * side < tokens) ++side;
  const auto step = each->options.pool * each->options.shuffle;
  return side * side == tokens && side % step == 0 ? side / step : 0;
}

}  // namespace

std::vector<VisualAnswer> answer(models::VlmImpl& model, const data::ConversationEncoder& encoder,
                                 const std::vector<VisualQuestion>& questions,
                                 const data::ReadVisual& read, const AnswerOptions& options,
                                 const VisualFeatures* features) {
  TORCH_CHECK_VALUE(options.batch_size >= 1, "answer: batch_size must be at least 1, got ",
                    options.batch_size);
  const at::NoGradGuard no_grad;
  const EvalMode eval(model);
  std::vector<VisualAnswer> out(questions.size());

  // Lengths first, by the texts alone: images all have about as many tokens.
  std::vector<size_t> order(questions.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto bytes = [&](size_t i) {
    size_t sum = 0;
    for (const auto& message : questions[i].messages) sum += message.content.size();
    return sum;
  };
  std::ranges::stable_sort(order, std::greater(), bytes);

  int64_t done = 0;
  const auto flush = [&](std::vector<Prompt>& batch) {
    if (batch.empty()) return;
    auto text = to_input(batch);
    model.check_ids(text.ids);
    text.ids = text.ids.to(device_of(model));
    text.mask = text.mask.to(device_of(model));
    if (text.spans.defined()) text.spans = text.spans.to(device_of(model));
    const auto input = spliced(model, text, see(model, batch, features));
    const auto made =
        text::generate(*model.language, input, options.generate, &encoder.tokenizer());
    for (size_t i = 0; i < batch.size(); ++i) {
      const auto said =
          options.keep_special ? with_special(made[i], encoder, options.generate) : made[i].text;
      out[batch[i].question] = {.text = std::string(trimmed(said)),
                                .ids = made[i].ids,
                                .prompt_tokens = static_cast<int64_t>(batch[i].tokens.ids.size()),
                                .visual_tokens = batch[i].visual_tokens,
                                .finished = made[i].finished};
    }
    done += static_cast<int64_t>(batch.size());
    batch.clear();
    if (options.progress) options.progress(done);
  };
  std::vector<Prompt> batch;
  for (const auto i : order) {
    try {
      batch.push_back(prompt_of(questions[i], i, encoder, read, features == nullptr));
    } catch (const data::BadSample& error) {
      out[i].damage = error.what();
      ++done;
    }
    if (static_cast<int64_t>(batch.size()) == options.batch_size) flush(batch);
  }
  flush(batch);
  return out;
}

at::Tensor answer_attention(models::VlmImpl& model, const data::ConversationTokens& prompt,
                            const std::vector<int64_t>& answer, const EncoderOutput& visual) {
  TORCH_CHECK_VALUE(!answer.empty() && !prompt.ids.empty(),
                    "answer_attention: prompt and answer must not be empty");
  const at::NoGradGuard no_grad;
  const EvalMode eval(model);
  auto whole = prompt;
  whole.ids.insert(whole.ids.end(), answer.begin(), answer.end() - 1);
  // No visual token stands behind these.
  std::ranges::replace(whole.ids.begin() + static_cast<int64_t>(prompt.ids.size()), whole.ids.end(),
                       model.options.image_token, int64_t{0});
  const auto device = device_of(model);
  auto text = data::to_lm_input(whole);
  text.ids = text.ids.to(device);
  if (text.spans.defined()) text.spans = text.spans.to(device);
  auto input = spliced(model, text, visual);
  input.logits = Logits::none;
  // The last tokens are those that the answer's are predicted from. The weights of all, and of
  // every head, would take tens of gigabytes of a large model's pictures in tiles.
  const auto count = static_cast<int64_t>(answer.size());
  const nn::AttentionRecord record(
      nn::AttentionRecordOptions{.last_queries = count, .mean_heads = true});
  model.language->forward(input);
  at::Tensor mean;
  for (const auto& weights : record.weights()) {  // [1, 1, A, T]
    const auto layer = weights[0][0].to(at::kFloat);
    mean = mean.defined() ? mean + layer : layer;
  }
  TORCH_CHECK_VALUE(mean.defined(), "answer_attention: the language model has no attention");
  mean = mean / static_cast<double>(record.weights().size());
  const auto marks = (text.ids[0] == model.options.image_token).nonzero().flatten();
  return mean.index_select(1, marks).cpu();
}

at::Tensor answer_maps(models::VlmImpl& model, const data::ConversationTokens& prompt,
                       const std::vector<int64_t>& answer, const EncoderOutput& visual,
                       int64_t first_tokens) {
  if (!visual.tokens.defined()) return {};
  const bool has_view = !visual.images.defined() || visual.images[0][5].item<int64_t>() != 0;
  const auto prefix = model.options.keep_prefix ? model.vision->info().prefix : 0;
  const auto side = grid_side(*model.connector, visual.tokens.size(1) - prefix);
  if (!has_view || side == 0) return {};
  // Without rows each tile has its tokens, and the view of the whole stands behind the others.
  const auto view =
      visual.images.defined() || first_tokens == 0 ? prefix : first_tokens - side * side;
  return answer_attention(model, prompt, answer, visual)
      .narrow(1, view, side * side)
      .reshape({-1, side, side});
}

at::Tensor answer_maps(models::VlmImpl& model, const data::ConversationEncoder& encoder,
                       const VisualQuestion& question, const std::vector<int64_t>& answer,
                       const data::ReadVisual& read, const VisualFeatures* features) {
  if (question.images.empty()) return {};
  const at::NoGradGuard no_grad;
  const EvalMode eval(model);
  const std::vector<Prompt> asked{prompt_of(question, 0, encoder, read, features == nullptr)};
  return answer_maps(model, asked.front().tokens, answer, see(model, asked, features),
                     asked.front().first_tokens);
}

}  // namespace weft::eval
