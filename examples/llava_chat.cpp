// Talks about pictures with a vision-language model:
//
//     llava_chat --model runs/s2 --image cat.jpg --prompt "What is on the sofa?"
//     llava_chat --model LLAVA_DIR --image cat.jpg            # a conversation, streamed
//
// --attention-map writes what the answer rests on, over the first picture. With --prompt the last
// line of stdout is one JSON object.
#include <algorithm>
#include <chrono>
#include <iostream>
#include <optional>

#include <ATen/core/grad_mode.h>

#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/data/token_budget.hpp>
#include <weft/data/vlm_inputs.hpp>
#include <weft/eval/answer_report.hpp>
#include <weft/io/file.hpp>
#include <weft/text/generation.hpp>

#include "program.hpp"

namespace {

struct Options {
  std::string model;
  std::vector<std::string> image = {};
  std::optional<std::string> prompt = {}, system = {}, attention_map = {};
  std::string conversation = "model";
  int64_t max_length = 4096;
  weft::nn::Precision precision = weft::nn::Precision::fp32;
  bool json = false;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("model", o.model, weft::required, "a run, a model's folder or Hugging Face's LLaVA");
    v("image", o.image, "pictures, in front of the first question");
    v("prompt", o.prompt, "one question; without it, a conversation from stdin");
    v("system", o.system, "a system message");
    v("attention_map", o.attention_map, "PNG of what the answer rests on, over the first picture");
    v("conversation", o.conversation,
      "how turns are written: model, plain, v1, llama_2, chatml, paligemma, or a Jinja file");
    v("max_length", o.max_length, "tokens of the conversation");
    v("precision", o.precision, "of weights and activations");
    v("json", o.json, "nothing on stdout but JSON");
  }
};

/// A model with its pictures, and what has been said.
class Chat {
 public:
  Chat(const Options& options, const weft::text::GenerateOptions& how)
      : options_(options),
        how_(how),
        folder_(weft::checkpoint::load_vlm(
            options.model,
            options.precision == weft::nn::Precision::bf16 ? at::kBFloat16 : at::kFloat)),
        encoder_(
            weft::data::conversation_encoder(folder_, options.conversation, options.max_length)) {
    if (how_.end_tokens.empty()) how_.end_tokens = weft::data::answer_ends(folder_, encoder_);
    if (options.system) messages_.push_back({.role = "system", .content = *options.system});
    see();
  }

  /// The answer, which is on stdout by then unless --json.
  weft::text::Generated ask(const std::string& question) {
    std::string marks;
    if (!shown_)
      for (size_t i = 0; i < options_.image.size(); ++i) marks += weft::data::kImageMark;
    shown_ = true;
    messages_.push_back(
        {.role = "user", .content = marks.empty() ? question : marks + "\n" + question});
    prompt_ = encoder_.prompt(messages_, numbers_, tokens_);
    const at::NoGradGuard no_grad;
    auto input = weft::data::to_lm_input(prompt_);
    folder_.model->check_ids(input.ids);
    if (!numbers_.empty())
      input = folder_.model->splice(input,
                                    folder_.model->connector->connect({.visual = visual_}).tokens);
    const auto stream = folder_.tokenizer->stream();
    auto made = weft::text::generate(*folder_.model->language, input, how_, folder_.tokenizer.get(),
                                     [&](int64_t, int64_t id) {
                                       if (!options_.json)
                                         std::cout << stream->push(id) << std::flush;
                                       return true;
                                     });
    // Beams are not told token by token.
    if (!options_.json)
      std::cout << (how_.num_beams > 1 ? made.front().text : stream->flush()) << std::endl;
    // Templates write the white space around an answer themselves.
    const auto& text = made.front().text;
    const auto begin = std::min(text.find_first_not_of(" \n"), text.size());
    const auto length = text.find_last_not_of(" \n") + 1 - begin;
    messages_.push_back({.role = "assistant", .content = text.substr(begin, length)});
    return made.front();
  }

  void write_attention(const std::vector<int64_t>& answer, const std::string& path) {
    if (numbers_.empty())
      throw weft::Error("--attention-map: needs an --image", weft::ErrorKind::usage);
    const auto maps =
        weft::eval::answer_maps(*folder_.model, prompt_, answer, visual_, tokens_.front().count);
    if (!maps.defined())
      throw weft::Error("--attention-map: this model's visual tokens have no places in a picture");
    const auto tiling =
        options_.image.size() > 1 ? weft::vision::among_others(folder_.tiling) : folder_.tiling;
    weft::io::write_file(
        path, weft::io::encode_png(weft::eval::map_overlay(picture_, maps.mean(0), tiling)));
  }

  const weft::data::ConversationTokens& prompt() const { return prompt_; }

 private:
  void see() {
    if (options_.image.empty()) return;
    const auto transform = weft::data::visual_transform(folder_);
    std::vector<weft::vision::Tiles> tiles;
    for (const auto& path : options_.image) {
      const auto picture = weft::io::read_image(path);
      const auto seen = transform(picture, options_.image.size() > 1);
      if (tiles.empty()) picture_ = picture;
      const auto budget = weft::data::image_budget(path, picture, seen.tokens);
      std::cerr << budget.line(encoder_.options().max_length) << "\n";
      numbers_.push_back(static_cast<int64_t>(numbers_.size()));
      tokens_.push_back({seen.tokens, seen.ids});
      tiles.push_back({seen.pixels, seen.row});
    }
    const auto all = weft::vision::join(tiles);
    const at::NoGradGuard no_grad;
    visual_ = folder_.model->see({.data = all.pixels, .images = all.images});
  }

  Options options_;
  weft::text::GenerateOptions how_;
  weft::checkpoint::VlmFolder folder_;
  weft::data::ConversationEncoder encoder_;
  std::vector<weft::tokenizers::Message> messages_;
  std::vector<int64_t> numbers_;
  std::vector<weft::data::VisualTokens> tokens_;
  weft::io::Image picture_;
  weft::EncoderOutput visual_;
  weft::data::ConversationTokens prompt_;
  bool shown_ = false;
};

int run(const Options& options, const weft::text::GenerateOptions& how) {
  Chat chat(options, how);
  if (!options.prompt) {
    if (options.attention_map)
      throw weft::Error("--attention-map: needs a --prompt", weft::ErrorKind::usage);
    for (std::string question; std::cerr << "> " << std::flush, std::getline(std::cin, question);)
      if (!question.empty()) chat.ask(question);
    return 0;
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto made = chat.ask(*options.prompt);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  if (options.attention_map) chat.write_attention(made.ids, *options.attention_map);
  std::cout << weft::Json::object(
                   {{"text", made.text},
                    {"ids", made.ids},
                    {"finished", made.finished},
                    {"prompt_tokens", static_cast<int64_t>(chat.prompt().ids.size())},
                    {"seconds", seconds.count()}})
                   .dump()
            << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("llava_chat", [&] {
    Options options;
    weft::text::GenerateOptions how;
    weft::Flags("llava_chat", "Talks about pictures with a vision-language model.")
        .add(options)
        .add(how)
        .parse(argc, argv);
    return run(options, how);
  });
}
