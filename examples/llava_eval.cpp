// Asks a vision-language model the questions of a data set and scores its answers:
//
//     llava_eval --model runs/s2 --data val.json --images DIR --task vqa --single-turn
//
// --task: vqa (exact match, and VQAv2's soft accuracy where a question has several references),
// yes-no (POPE), caption (CIDEr-D, BLEU, ROUGE-L), grounding (boxes). With --shuffle-images each
// question gets another one's images: what a model knows without looking. --out takes
// predictions.jsonl and report.html. The last line of stdout is one JSON object; its "tokens" are
// those of all questions, over "seconds.answers" a rate, and "damaged" are the conversations and
// questions that could not be asked.
#include <filesystem>
#include <iostream>
#include <optional>

#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/data/vlm_inputs.hpp>
#include <weft/eval/answer_report.hpp>
#include <weft/eval/answer_scores.hpp>
#include <weft/eval/question_set.hpp>
#include <weft/report/console.hpp>
#include <weft/report/html.hpp>
#include <weft/report/stages.hpp>

#include "program.hpp"

enum class Task { vqa, yes_no, caption, grounding };
template <>
inline constexpr std::string_view weft::enum_names<Task>[] = {"vqa", "yes-no", "caption",
                                                              "grounding"};

namespace {

namespace fs = std::filesystem;

struct Options {
  std::string model, data, images = "";
  Task task = Task::vqa;
  std::optional<std::string> priors = {}, out = {};
  bool single_turn = false, shuffle_images = false, blind = false;
  std::optional<weft::data::GroundingFormat> format = {}, data_format = {};
  std::string conversation = "model", caption_prompt = "Describe the image briefly.";
  int64_t limit = 0, batch_size = 16, workers = 2, max_length = 2048;
  double feature_memory = 4;
  weft::nn::Precision precision = weft::nn::Precision::fp32;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("model", o.model, weft::required, "a run, a model's folder or Hugging Face's LLaVA");
    v("data", o.data, weft::required, "LLaVA's JSON or JSON lines, or WebDataset shards");
    v("images", o.images, "folder that the paths of images in --data start from");
    v("task", o.task, "what is scored");
    v("priors", o.priors, "vqa: training data whose most frequent answers are scored beside it");
    v("single_turn", o.single_turn, "ask each question in a conversation of its own");
    v("shuffle_images", o.shuffle_images, "give each question the images of another");
    v("blind", o.blind, "ask without the images");
    v("format", o.format,
      "grounding: how the model writes boxes: plain, paligemma, molmo, qwen_vl, qwen2_vl, "
      "qwen2_5_vl or qwen3_vl; by default paligemma where its vocabulary has the tokens, else "
      "plain");
    v("data_format", o.data_format, "the same of the right answers; by default as --format");
    v("conversation", o.conversation,
      "how turns are written: model, plain, v1, llama_2, chatml, paligemma, or a Jinja file");
    v("caption_prompt", o.caption_prompt, "the question about images of shards with captions");
    v("limit", o.limit, "ask this many questions; 0 = all");
    v("batch_size", o.batch_size, "questions at a time");
    v("workers", o.workers, "threads that read images");
    v("max_length", o.max_length, "tokens of a question, the visual ones included");
    v("feature_memory", o.feature_memory,
      "GB for the images' tokens, where no fewer are asked about than there are: the image encoder "
      "then runs once an image");
    v("precision", o.precision, "of weights and activations");
    v("out", o.out, "folder for predictions.jsonl and report.html");
  }
};

weft::Json score(const Options& options, const std::vector<weft::eval::AskedQuestion>& asked,
                 const std::vector<std::string>& said, const weft::data::ConversationSource& source,
                 const weft::eval::GroundingFormats& formats) {
  using namespace weft;
  switch (options.task) {
    case Task::yes_no:
      return eval::score_yes_no(asked, said);
    case Task::caption:
      return eval::score_captions(asked, said);
    case Task::grounding:
      return eval::score_grounding(asked, said, source, formats).json();
    case Task::vqa:
      break;
  }
  if (!options.priors) return eval::score_vqa(asked, said);
  const data::ConversationSource train({.data = *options.priors, .alone = true});
  const eval::AnswerPriors priors(eval::vqa_items(eval::questions_of(train)));
  return eval::score_vqa(asked, said, &priors);
}

void write_report(const Options& options, const weft::eval::AskedModel& model,
                  const std::vector<weft::eval::AskedQuestion>& asked,
                  const std::vector<weft::eval::VisualAnswer>& answers,
                  const weft::eval::GroundingFormats& formats, const weft::Json& result) {
  weft::report::HtmlReport page("Answers: " + fs::path(options.model).filename().string());
  page.heading("Result").preformatted(result.dump(2)).heading("Pictures");
  weft::eval::AnswerReportOptions how;
  if (options.task == Task::grounding) how.boxes = formats;
  how.yes_no = options.task == Task::yes_no;
  weft::eval::add_answers(page, model, asked, answers, how);
  page.write(fs::path(*options.out) / "report.html");
}

int run(const Options& options, weft::text::GenerateOptions how) {
  using namespace weft;
  report::Stages stages;
  const auto folder = checkpoint::load_vlm(
      options.model, options.precision == nn::Precision::bf16 ? at::kBFloat16 : at::kFloat);
  auto model = folder.model;
  const auto source = std::make_shared<data::ConversationSource>(
      data::ConversationSourceOptions{.data = options.data,
                                      .images = options.images,
                                      .alone = options.single_turn,
                                      .caption_prompt = options.caption_prompt});
  const auto encoder = data::conversation_encoder(folder, options.conversation, options.max_length);
  if (how.end_tokens.empty()) how.end_tokens = data::answer_ends(folder, encoder);
  auto bad = source->bad();
  auto asked = eval::questions_of(*source, {.blind = options.blind,
                                            .first_only = options.task == Task::caption,
                                            .limit = options.limit,
                                            .bad = &bad});
  if (options.shuffle_images) eval::shuffle_images(asked, source->images());
  stages.lap("load");

  report::Console console;
  if (bad.total() > 0) console.warning(bad.summary());
  auto read = data::visual_reader(folder, source);
  std::optional<eval::VisualFeatures> features;
  int64_t shown = 0;
  for (const auto& one : asked) shown += static_cast<int64_t>(one.question.images.size());
  if (shown > 0 && shown >= source->images() && options.feature_memory > 0) {
    features = eval::VisualFeatures::compute(
        *model, source->images(), read,
        {.workers = options.workers,
         .max_bytes = static_cast<int64_t>(options.feature_memory * 1e9),
         .console = &console});
    if (features) read = features->reader();
    stages.lap("image_features");
  }
  std::vector<eval::VisualQuestion> questions;
  for (const auto& one : asked) questions.push_back(one.question);
  report::Progress progress(console, "answers", static_cast<int64_t>(questions.size()),
                            "questions");
  const auto answers = eval::answer(*model, encoder, questions, read,
                                    {.batch_size = options.batch_size,
                                     .generate = how,
                                     .keep_special = options.task == Task::grounding,
                                     .progress = [&](int64_t done) { progress.update(done); }},
                                    features ? &*features : nullptr);
  progress.finish();
  stages.lap("answers");

  std::vector<std::string> said;
  std::vector<eval::VisualAnswer> good;
  std::vector<eval::AskedQuestion> answered;
  int64_t damaged = bad.total(), prompt_tokens = 0, visual_tokens = 0, answer_tokens = 0;
  for (size_t i = 0; i < asked.size(); ++i) {
    if (!answers[i].damage.empty()) {
      if (damaged++ == bad.total()) console.warning(answers[i].damage);
      continue;
    }
    said.push_back(answers[i].text);
    good.push_back(answers[i]);
    answered.push_back(asked[i]);
    prompt_tokens += answers[i].prompt_tokens;
    visual_tokens += answers[i].visual_tokens;
    answer_tokens += static_cast<int64_t>(answers[i].ids.size());
  }
  if (said.empty()) throw Error("no question could be asked", ErrorKind::bad_data);
  eval::GroundingFormats formats{options.format.value_or(data::grounding_format(folder))};
  formats.expected = options.data_format.value_or(formats.said);
  auto result = score(options, answered, said, *source, formats);
  result.set("damaged", damaged);
  result.set("tokens", Json::object({{"prompts", prompt_tokens},
                                     {"visual", visual_tokens},
                                     {"answers", answer_tokens}}));
  result.set("seconds", stages.json());
  if (options.out) {
    fs::create_directories(*options.out);
    eval::write_predictions(answered, said, fs::path(*options.out) / "predictions.jsonl");
    write_report(options, {folder, encoder, *source, read, features ? &*features : nullptr},
                 answered, good, formats, result);
  }
  std::cout << result.dump() << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("llava_eval", [&] {
    Options options;
    weft::text::GenerateOptions how{.max_new_tokens = 64};
    weft::Flags("llava_eval", "Scores a vision-language model's answers.")
        .add(options)
        .add(how)
        .parse(argc, argv);
    return run(options, how);
  });
}
