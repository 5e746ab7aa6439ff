// Asks a vision-language model the questions of a data set and scores its answers:
//
//     llava_eval --model runs/s2 --data val.json --images DIR --task vqa --single-turn
//
// --task: vqa (exact match, and VQAv2's soft accuracy where a question has several references),
// yes-no (POPE), caption (CIDEr-D, BLEU, ROUGE-L), grounding (boxes). With --shuffle-images each
// question gets another one's images: what a model knows without looking. --out takes
// predictions.jsonl and report.html. The last line of stdout is one JSON object; its "tokens" are
// those of all questions, over "seconds.answers" a rate.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>

#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/data/vlm_inputs.hpp>
#include <weft/eval/answers.hpp>
#include <weft/eval/captions.hpp>
#include <weft/eval/grounding.hpp>
#include <weft/eval/vqa.hpp>
#include <weft/io/file.hpp>
#include <weft/report/boxes.hpp>
#include <weft/report/console.hpp>
#include <weft/report/html.hpp>
#include <weft/report/stages.hpp>
#include <weft/tokenizers/conversation.hpp>

#include "program.hpp"

enum class Task { vqa, yes_no, caption, grounding };
template <>
inline constexpr std::string_view weft::enum_names<Task>[] = {"vqa", "yes-no", "caption",
                                                              "grounding"};

namespace {

namespace fs = std::filesystem;
using weft::Json;

struct Options {
  std::string model, data, images = "";
  Task task = Task::vqa;
  std::optional<std::string> priors = {}, out = {};
  bool single_turn = false, shuffle_images = false, blind = false;
  weft::data::GroundingFormat format = weft::data::GroundingFormat::plain;
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
    v("format", o.format, "grounding: how boxes are written");
    v("conversation", o.conversation,
      "how turns are written: model, plain, v1, llama_2, chatml, paligemma, or a Jinja file");
    v("caption_prompt", o.caption_prompt, "the question about images of shards with captions");
    v("limit", o.limit, "ask this many questions; 0 = all");
    v("batch_size", o.batch_size, "questions at a time");
    v("workers", o.workers, "threads that read images");
    v("max_length", o.max_length, "tokens of a question, the visual ones included");
    v("feature_memory", o.feature_memory,
      "GB for the images' tokens; the image encoder runs once an image");
    v("precision", o.precision, "of weights and activations");
    v("out", o.out, "folder for predictions.jsonl and report.html");
  }
};

struct Asked {
  std::string id, text;  // the question alone
  weft::eval::VisualQuestion question;
  std::vector<std::string> answers;  // right ones
};

/// Every question of the data, behind the right answers to those before it. Captions: the first.
std::vector<Asked> questions_of(const weft::data::ConversationSource& source,
                                const Options& options) {
  std::vector<Asked> out;
  for (int64_t i = 0; i < source.size(); ++i) {
    const auto talk = source.read(i);
    const size_t first = talk.messages.front().role == "system" ? 1 : 0;
    for (size_t k = first; k + 1 < talk.messages.size(); k += 2) {
      Asked one;
      one.id = talk.id;
      one.text = weft::tokenizers::without_image_marks(talk.messages[k].content);
      const auto end = talk.messages.begin() + static_cast<int64_t>(k) + 1;
      one.question.messages.assign(talk.messages.begin(), end);
      one.question.images = talk.images;
      if (options.blind) {
        one.question.images = {};
        for (auto& message : one.question.messages)
          message.content = weft::tokenizers::without_image_marks(message.content);
      }
      const bool last = k + 2 == talk.messages.size();
      one.answers = last && !talk.references.empty() ? talk.references
                                                     : std::vector{talk.messages[k + 1].content};
      out.push_back(std::move(one));
      if (options.limit > 0 && static_cast<int64_t>(out.size()) == options.limit) return out;
      if (options.task == Task::caption) break;
    }
  }
  return out;
}

/// Image i becomes the one half the data further on.
void shuffle_images(std::vector<Asked>& asked, int64_t images) {
  for (auto& one : asked)
    for (auto& image : one.question.images)
      image = (image + std::max<int64_t>(images / 2, 1)) % images;
}

std::vector<weft::eval::VqaItem> items_of(const std::vector<Asked>& asked) {
  std::vector<weft::eval::VqaItem> out;
  for (const auto& one : asked) out.push_back({.question = one.text, .answers = one.answers});
  return out;
}

Json score_vqa(const std::vector<Asked>& asked, const std::vector<std::string>& said,
               const Options& options) {
  const auto items = items_of(asked);
  auto out = weft::eval::exact_match(items, said).json();
  if (std::ranges::any_of(items, [](const auto& item) { return item.answers.size() > 1; }))
    out.set("vqa_accuracy", weft::eval::vqa_soft_accuracy(items, said).json());
  if (!options.priors) return out;
  const weft::data::ConversationSource train({.data = *options.priors, .alone = true});
  auto all = options;
  all.limit = 0;
  const weft::eval::AnswerPriors priors(items_of(questions_of(train, all)));
  return out
      .set("majority_answer", weft::eval::exact_match(items, priors.majority_of(items)).json())
      .set("answer_by_question", weft::eval::exact_match(items, priors.answers_of(items)).json());
}

Json score_yes_no(const std::vector<Asked>& asked, const std::vector<std::string>& said) {
  std::vector<std::string> predictions;
  std::vector<bool> labels;
  for (size_t i = 0; i < asked.size(); ++i) {
    const auto right = weft::eval::exact_form(asked[i].answers.front());
    if (right != "yes" && right != "no") continue;  // another kind of question in the same data
    labels.push_back(right == "yes");
    predictions.push_back(said[i]);
  }
  if (labels.empty()) throw weft::Error("--task yes-no: no answer of the data is yes or no");
  return weft::eval::pope(predictions, labels).json();
}

Json score_captions(const std::vector<Asked>& asked, const std::vector<std::string>& said) {
  std::vector<std::vector<std::string>> references;
  for (const auto& one : asked) references.push_back(one.answers);
  return weft::eval::caption_scores(said, references).json();
}

struct Boxes {
  std::vector<weft::data::GroundedText> said;
  std::vector<std::vector<weft::data::Box>> right;
};

Boxes boxes_of(const std::vector<Asked>& asked, const std::vector<std::string>& said,
               const weft::data::ConversationSource& source, const Options& options) {
  Boxes out;
  for (size_t i = 0; i < asked.size(); ++i) {
    if (asked[i].question.images.empty())
      throw weft::Error("--task grounding: question " + asked[i].id + " has no image");
    const auto image = source.image(asked[i].question.images.front());
    const auto parse = [&](const std::string& text) {
      return weft::data::parse_grounding(text, options.format, image.width, image.height);
    };
    out.said.push_back(parse(said[i]));
    out.right.push_back(parse(asked[i].answers.front()).boxes);
  }
  return out;
}

/// Twelve of the questions with their pictures, good and bad in turns.
void write_report(const Options& options, const std::vector<Asked>& asked,
                  const std::vector<std::string>& said,
                  const weft::data::ConversationSource& source, const Json& result) {
  weft::report::HtmlReport page("Answers: " + fs::path(options.model).filename().string());
  page.heading("Result").preformatted(result.dump(2)).heading("Pictures");
  const auto good = [&](size_t i) {
    return std::ranges::any_of(asked[i].answers, [&](const auto& answer) {
      return weft::eval::exact_form(answer) == weft::eval::exact_form(said[i]);
    });
  };
  weft::report::LabelColours colours;
  int shown = 0;
  for (const bool wanted : {true, false}) {
    int left = 6;
    const auto step = std::max<size_t>(1, asked.size() / 97);
    for (size_t i = 0; i < asked.size() && left > 0; i += step) {
      if (asked[i].question.images.empty() || good(i) != wanted) continue;
      auto picture = source.image(asked[i].question.images.front());
      if (options.task == Task::grounding) {
        const auto boxes = boxes_of({asked[i]}, {said[i]}, source, options);
        picture =
            weft::report::draw_boxes(picture, boxes.said[0].boxes, boxes.said[0].points, colours);
      }
      page.image(weft::io::encode_png(picture), asked[i].text + " " + said[i] +
                                                    (wanted ? " (right)" : " (expected: ") +
                                                    (wanted ? "" : asked[i].answers.front() + ")"));
      --left, ++shown;
    }
  }
  if (shown == 0) page.paragraph("No question has a picture.");
  page.write(fs::path(*options.out) / "report.html");
}

void write_predictions(const Options& options, const std::vector<Asked>& asked,
                       const std::vector<std::string>& said) {
  std::string lines;
  for (size_t i = 0; i < asked.size(); ++i)
    lines += Json::object({{"id", asked[i].id},
                           {"question", asked[i].text},
                           {"answer", said[i]},
                           {"expected", asked[i].answers}})
                 .dump() +
             "\n";
  weft::io::write_file(fs::path(*options.out) / "predictions.jsonl", lines);
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
  auto asked = questions_of(*source, options);
  if (options.shuffle_images) shuffle_images(asked, source->images());
  stages.lap("load");

  report::Console console;
  auto read = data::visual_reader(folder, source);
  std::optional<eval::VisualFeatures> features;
  if (!options.blind && options.feature_memory > 0) {
    report::Progress progress(console, "image features", source->images(), "images");
    features = eval::VisualFeatures::compute(
        *model, source->images(), read,
        {.workers = options.workers,
         .max_bytes = static_cast<int64_t>(options.feature_memory * 1e9),
         .progress = [&](int64_t done) { progress.update(done); }});
    progress.finish();
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
                                     .progress = [&](int64_t done) { progress.update(done); }},
                                    features ? &*features : nullptr);
  progress.finish();
  stages.lap("answers");

  std::vector<std::string> said;
  std::vector<Asked> answered;
  int64_t damaged = 0, prompt_tokens = 0, visual_tokens = 0, answer_tokens = 0;
  for (size_t i = 0; i < asked.size(); ++i) {
    if (!answers[i].damage.empty()) {
      if (damaged++ == 0) console.warning(answers[i].damage);
      continue;
    }
    said.push_back(answers[i].text);
    answered.push_back(asked[i]);
    prompt_tokens += answers[i].prompt_tokens;
    visual_tokens += answers[i].visual_tokens;
    answer_tokens += static_cast<int64_t>(answers[i].ids.size());
  }
  if (said.empty()) throw Error("no question could be asked", ErrorKind::bad_data);
  Json result;
  switch (options.task) {
    case Task::vqa:
      result = score_vqa(answered, said, options);
      break;
    case Task::yes_no:
      result = score_yes_no(answered, said);
      break;
    case Task::caption:
      result = score_captions(answered, said);
      break;
    case Task::grounding: {
      const auto boxes = boxes_of(answered, said, *source, options);
      result = eval::grounding(boxes.said, boxes.right).json();
      break;
    }
  }
  result.set("damaged", damaged);
  result.set("tokens", Json::object({{"prompts", prompt_tokens},
                                     {"visual", visual_tokens},
                                     {"answers", answer_tokens}}));
  result.set("seconds", stages.json());
  if (options.out) {
    fs::create_directories(*options.out);
    write_predictions(options, answered, said);
    write_report(options, answered, said, *source, result);
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
