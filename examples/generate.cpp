// Continues a text with a language model's folder, printing tokens as they come.
//
//     generate --model SMOLLM2_DIR --prompt "What is the capital of France?"
//     generate --model GPT2_DIR --prompt "Once upon a time" --raw --temperature 0.8 --top-p 0.95
//
// The prompt goes through the model's chat template, unless --raw. The last line is one JSON
// object:
// {"ids": [...], "text": ..., "tokens_per_second": ...}.
#include <algorithm>
#include <chrono>
#include <iostream>
#include <optional>

#include <torch/types.h>

#include <weft/checkpoint/lm_folder.hpp>
#include <weft/core/flags.hpp>
#include <weft/nn/precision.hpp>
#include <weft/text/generation.hpp>
#include <weft/tokenizers/chat_template.hpp>

#include "program.hpp"

namespace {

struct Options {
  std::string model, prompt;
  std::optional<std::string> system = {}, tokenizer = {};
  weft::nn::Precision precision = weft::nn::Precision::fp32;
  bool raw = false, json = false;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("model", o.model, weft::required, "the Hugging Face folder of a language model");
    v("prompt", o.prompt, weft::required, "what the user says");
    v("system", o.system, "a system message in front of it");
    v("tokenizer", o.tokenizer, "file or folder, instead of the model's own");
    v("precision", o.precision, "bf16: weights and activations");
    v("raw", o.raw, "the prompt as it is, without the chat template");
    v("json", o.json, "print the last line only");
  }
};

std::string chat(const Options& options) {
  using weft::tokenizers::Message;
  if (options.raw) return options.prompt;
  std::vector<Message> messages;
  if (options.system) messages.push_back({.role = "system", .content = *options.system});
  messages.push_back({.role = "user", .content = options.prompt});
  return weft::tokenizers::load_chat_template(options.model)
      .render_chat(messages, {.add_generation_prompt = true})
      .text;
}

int run(const Options& options, weft::text::GenerateOptions how) {
  using Clock = std::chrono::steady_clock;
  const auto tokenizer =
      weft::tokenizers::load_tokenizer(options.tokenizer.value_or(options.model));
  const auto dtype =
      options.precision == weft::nn::Precision::bf16 ? torch::kBFloat16 : torch::kFloat;
  const auto loaded = weft::checkpoint::load_language_model(options.model, dtype);
  if (how.end_tokens.empty()) how.end_tokens = weft::checkpoint::end_tokens(loaded);
  // A chat template writes the special tokens itself.
  const auto prompt = tokenizer->encode(chat(options), {.add_special_tokens = options.raw}).ids;
  if (prompt.empty()) throw weft::Error("the prompt holds no token", weft::ErrorKind::usage);
  const auto known = loaded.model->info().vocab_size;
  if (const auto id = *std::ranges::max_element(prompt); id >= known)
    throw weft::Error(std::string("the tokenizer does not fit the model: '") +
                          tokenizer->token(id) + "' is id " + std::to_string(id) +
                          ", the model has " + std::to_string(known),
                      weft::ErrorKind::usage);
  const auto ids = torch::tensor(prompt, torch::kLong).unsqueeze(0);
  const auto stream = tokenizer->stream();
  std::optional<Clock::time_point> first;  // behind the prompt's own pass
  const auto generated = weft::text::generate(*loaded.model, {.ids = ids}, how, tokenizer.get(),
                                              [&](int64_t, int64_t id) {
                                                if (!first) first = Clock::now();
                                                if (!options.json)
                                                  std::cout << stream->push(id) << std::flush;
                                                return true;
                                              });
  const auto& out = generated.front();
  const std::chrono::duration<double> seconds = first ? Clock::now() - *first : Clock::duration();
  const auto rate = out.ids.size() > 1 && seconds.count() > 0
                        ? static_cast<double>(out.ids.size() - 1) / seconds.count()
                        : 0.0;
  // Beams are not told token by token.
  if (!options.json) std::cout << (how.num_beams > 1 ? out.text : stream->flush()) << '\n';
  std::cout << weft::Json::object({{"ids", out.ids},
                                   {"text", out.text},
                                   {"finished", out.finished},
                                   {"prompt_tokens", static_cast<int64_t>(prompt.size())},
                                   {"tokens_per_second", rate}})
                   .dump()
            << '\n';
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("generate", [&] {
    Options options;
    weft::text::GenerateOptions how;
    weft::Flags("generate", "Continues a text with a language model.")
        .add(options)
        .add(how)
        .parse(argc, argv);
    return run(options, how);
  });
}
