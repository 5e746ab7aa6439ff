// Trains a vision-language model by the recipe of LLaVA-1.5 (Liu et al., 2023b), in two stages:
//
//     llava_train --stage 1 --vision DINOV2_DIR --language SMOLLM_DIR --data captions.json
//                 --images DIR --out runs/s1
//     llava_train --stage 2 --model runs/s1 --data conversations.json --images DIR --out runs/s2
//
// Stage 1 trains the connector on captions; stage 2 the connector and the language model on
// conversations, with --lora-rank adapters of the language model in its place; with
// --objective preference on pairs of answers. The last line of stdout is one JSON object.
#include <cmath>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>

#include <unistd.h>

#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/checkpoint/vocabulary.hpp>
#include <weft/data/token_budget.hpp>
#include <weft/data/vlm_inputs.hpp>
#include <weft/eval/clip_report.hpp>
#include <weft/nn/random_state.hpp>
#include <weft/report/run_log.hpp>
#include <weft/train/preference.hpp>
#include <weft/train/vlm.hpp>
#include <weft/train/vlm_recipe.hpp>

#include "program.hpp"
#include "training.hpp"

enum class Objective { next_token, preference };
template <>
inline constexpr std::string_view weft::enum_names<Objective>[] = {"next_token", "preference"};

namespace {

namespace fs = std::filesystem;

struct Options {
  int64_t stage = 1;
  std::optional<std::string> vision = {}, language = {}, model = {};
  weft::checkpoint::MakeVlmOptions parts = {};
  bool vision_output = false, box_vocabulary = false;
  std::string out, data, images = "", exclude = "";
  std::string conversation = "model";
  weft::data::Turns turns = weft::data::Turns::joint;
  int64_t max_length = 2048;
  weft::train::VlmRecipe recipe = {};
  Objective objective = Objective::next_token;
  weft::losses::PreferenceOptions preference = {};
  double warmup_ratio = 0.03, feature_memory = 4;
  bool grad_checkpointing = false, dry_run = false;
  int64_t batch_size = 16, workers = 2, pack_length = 0, inspect = 0;
  bool group_by_length = false;
  double max_bad_fraction = 0.05;
  weft::train::TrainerOptions trainer = {};

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("stage", o.stage, "1 = the connector on captions, 2 = the whole on conversations");
    v("vision", o.vision, "folder of an image encoder");
    v("language", o.language, "folder of a language model, with its tokenizer");
    v("parts", o.parts);
    v("vision_output", o.vision_output,
      "read what the encoder gives, through its final norm; the default but for CLIP's and "
      "SigLIP's, of which the last layer but one is read");
    v("model", o.model, "in the place of --vision and --language: a run or a model's folder");
    v("box_vocabulary", o.box_vocabulary,
      "add PaliGemma's location tokens, <loc0000> to <loc1023>, in which --data then writes boxes");
    v("data", o.data, weft::required,
      "LLaVA's JSON or JSON lines, or WebDataset shards; several are joined by '::'");
    v("images", o.images, "folder that the paths of images in --data start from");
    v("exclude", o.exclude, "LLaVA's JSON whose ids and images are left out");
    v("conversation", o.conversation,
      "how turns are written: model (its own chat template), plain, v1, llama_2, chatml, "
      "paligemma, or a Jinja file");
    v("turns", o.turns,
      "joint: a conversation as it is; alone: each question a sample; shared: alone, but with the "
      "images once a sequence");
    v("max_length", o.max_length, "tokens of a sample, the visual ones included");
    v("recipe", o.recipe);
    v("objective", o.objective,
      "next_token, or preference: DPO on data with chosen and rejected answers");
    v("beta", o.preference.beta, "preference: how closely the model is held to what it was");
    v("warmup_ratio", o.warmup_ratio, "share of the steps, where --warmup is 0");
    v("feature_memory", o.feature_memory,
      "GB for the tokens of an image encoder that is not trained, which then runs once an image");
    v("grad_checkpointing", o.grad_checkpointing,
      "compute activations again in the backward pass: less memory, more time");
    v("batch_size", o.batch_size, "rows a step and rank");
    v("group_by_length", o.group_by_length, "batches of samples of about one length");
    v("pack_length", o.pack_length, "fill rows of this many tokens with samples; 0 = one a row");
    v("workers", o.workers, "threads that prepare batches");
    v("max_bad_fraction", o.max_bad_fraction, "largest share of damaged samples");
    v("inspect", o.inspect,
      "print this many samples, what is learned in green, and what their images take, and end");
    v("out", o.out, weft::required, "run folder: config, metrics, report, checkpoints and model");
    v("dry_run", o.dry_run, "build everything, read one batch, say what would be done");
    v("trainer", o.trainer);
  }
};

/// LLaVA-1.5's published settings (its scripts/v1_5).
Options defaults(const Options& first) {
  const auto stage = first.stage;
  const bool lora = first.recipe.lora_rank > 0,
             preference = first.objective == Objective::preference;
  Options o;
  o.trainer.lr = stage == 1 ? 1e-3 : preference ? 1e-6 : lora ? 2e-4 : 2e-5;
  if (lora) o.recipe.connector_lr = preference ? 1e-6 : 2e-5;
  o.batch_size = stage == 1 ? 256 : 128;
  o.conversation = stage == 1 ? "plain" : "model";
  o.recipe.tune = stage == 1 || lora ? "connector" : "connector,language";
  o.trainer.wd = 0;
  o.trainer.lr_scheduler = weft::train::Schedule::cosine;
  o.trainer.grad_clip_norm = 1;
  return o;
}

Options parse(int argc, char** argv, Options options) {
  weft::Flags flags("llava_train", "Trains a vision-language model.");
  flags.add(options);
  for (const auto& [flag, other] : {std::pair{"data", "data-path"},
                                    {"images", "image-folder"},
                                    {"out", "output-dir"},
                                    {"conversation", "version"},
                                    {"max-length", "model-max-length"},
                                    {"connector-lr", "mm-projector-lr"},
                                    {"group-by-length", "group-by-modality-length"},
                                    {"tiling", "image-aspect-ratio"}})
    flags.alias(flag, other);
  flags.parse(argc, argv);
  if (options.stage != 1 && options.stage != 2)
    throw weft::Error("--stage: expected 1 or 2, found " + std::to_string(options.stage),
                      weft::ErrorKind::usage);
  if (options.objective == Objective::preference && options.stage == 1)
    throw weft::Error(
        "--objective preference: takes --stage 2; the first one leaves out the questions and has "
        "the rate of a new connector",
        weft::ErrorKind::usage);
  if (options.objective == Objective::preference && options.turns == weft::data::Turns::shared)
    throw weft::Error(
        "--objective preference: a chosen answer is weighed against a rejected one, but --turns "
        "shared would sum the answers to all questions about an image; take joint or alone",
        weft::ErrorKind::usage);
  return options;
}

weft::checkpoint::VlmFolder assemble(const Options& options) {
  using namespace weft;
  nn::seed_all(options.trainer.seed);
  if (options.model) {
    if (options.vision || options.language)
      throw Error("--model: takes the place of --vision and --language", ErrorKind::usage);
    return checkpoint::load_vlm(*options.model);
  }
  if (!options.vision || !options.language)
    throw Error("expected --vision and --language, or --model", ErrorKind::usage);
  auto parts = options.parts;
  if (!options.vision_output && parts.vision_layers.empty())
    parts.vision_layers = checkpoint::usual_vision_layers(*options.vision);
  return checkpoint::make_vlm(*options.vision, *options.language, parts);
}

/// --inspect: what samples become, and what their images take of their length.
void show_samples(const Options& options, const weft::data::ConversationSource& source,
                  const weft::data::ConversationEncoder& encoder,
                  const weft::data::ReadVisual& read, weft::data::ConversationLoader& loader) {
  for (const auto& sample : loader.peek(options.inspect)) {
    for (const auto i : sample.images) {
      const auto budget =
          weft::data::image_budget(source.image_name(i), source.image(i), read(i).tokens);
      std::cout << budget.line(encoder.options().max_length) << "\n";
    }
    std::cout << encoder.show(sample, isatty(STDOUT_FILENO) != 0) << "\n----\n";
  }
}

int run(Options options) {
  using namespace weft;
  report::Stages stages;
  refuse_old_run(options.out, options.trainer);
  auto folder = assemble(options);
  auto& model = folder.model;
  if (options.box_vocabulary && checkpoint::add_tokens(folder, data::location_tokens()) > 0 &&
      !train::tunes(options.recipe, "language"))
    throw Error("--box-vocabulary: new tokens are learned with the language model: --tune needs it",
                ErrorKind::usage);
  train::apply_recipe(options.recipe, folder);
  const bool tower_trains = train::trains(*model->vision);
  if (options.grad_checkpointing) {
    nn::checkpoint_activations(*model->language);
    if (tower_trains) checkpoint_tower(*model->vision);
  }
  const auto source = std::make_shared<data::ConversationSource>(
      data::ConversationSourceOptions{.data = options.data,
                                      .images = options.images,
                                      .exclude = options.exclude,
                                      .alone = options.turns == data::Turns::alone,
                                      .seed = options.trainer.seed});
  const auto encoder = std::make_shared<data::ConversationEncoder>(
      data::conversation_encoder(folder, options.conversation, options.max_length, options.turns));
  auto read = data::visual_reader(folder, source);
  stages.lap("models");

  report::Console console;
  const auto image_tokens = data::visual_tokens(folder);
  for (const auto& kind : data::sample_budgets(*source, [&](int64_t image) {
         return image_tokens ? *image_tokens : read(image).tokens;
       }))
    console.message(kind.line(encoder->options().max_length));
  std::optional<eval::VisualFeatures> features;
  const bool trains = !options.dry_run && options.inspect == 0;
  // A schedule that ends before it has seen all images runs their encoder in its steps.
  const auto samples =
      options.trainer.total_steps * options.batch_size * options.trainer.accum_freq;
  const bool all = samples == 0 || samples >= source->images();
  if (trains && !tower_trains && all && options.feature_memory > 0) {
    features = eval::VisualFeatures::compute(
        *model, source->images(), read,
        {.workers = options.workers,
         .precision = options.trainer.precision,
         .max_bytes = static_cast<int64_t>(options.feature_memory * 1e9),
         .console = &console});
    if (features)
      read = features->reader();
    else
      console.message(
          "the images' tokens exceed --feature-memory: their encoder runs in each step");
    stages.lap("image_features");
  }
  const bool preference = options.objective == Objective::preference;
  const data::ConversationLoaderOptions order{.batch_size = options.batch_size,
                                              .workers = options.workers,
                                              .seed = options.trainer.seed,
                                              .epochs = options.trainer.passes(),
                                              .group_by_length = options.group_by_length,
                                              .pack_length = options.pack_length,
                                              .image_tokens = image_tokens.value_or(0),
                                              .preferences = preference,
                                              .max_bad_fraction = options.max_bad_fraction};
  data::ConversationLoader loader(source, encoder, read, order);
  if (options.inspect > 0) {
    show_samples(options, *source, *encoder, read, loader);
    for (const auto& warning : loader.warnings()) console.warning(warning);
    return 0;
  }
  const auto* kept = features ? &*features : nullptr;
  std::unique_ptr<train::Task> task;
  if (preference) {
    auto dpo = std::make_unique<train::PreferenceTask>(model, loader, options.preference, kept);
    auto all = order;
    all.epochs = 1;
    if (!options.dry_run) all.shuffle = all.drop_last = all.group_by_length = false;
    data::ConversationLoader once(source, encoder, read, all);
    dpo->measure_reference(once, options.trainer.precision, options.dry_run ? 1 : 0);
    stages.lap("reference");
    task = std::move(dpo);
  } else {
    task = std::make_unique<train::VlmTask>(model, loader, kept);
  }
  if (options.dry_run) {
    std::cout << dry_run(*model, *task, source->size(), options.trainer).dump() << std::endl;
    return 0;
  }
  const auto steps = options.trainer.total_steps > 0
                         ? options.trainer.total_steps
                         : options.trainer.epochs * loader.batches() / options.trainer.accum_freq;
  if (options.trainer.warmup == 0)
    options.trainer.warmup =
        static_cast<int64_t>(std::ceil(options.warmup_ratio * static_cast<double>(steps)));
  report::RunLog log(options.out);
  log.config(to_json(options));
  train::Trainer trainer(*model, *task, options.trainer, log,
                         train::recipe_rates(options.recipe, options.trainer.lr));
  const auto summary = trainer.run();
  if (trainer.average()) trainer.average()->copy_to_parameters();
  for (const auto& warning : loader.warnings()) log.warn(warning);
  stages.lap("train");
  if (options.recipe.lora_rank > 0)
    train::merge_adapters(folder, fs::path(options.out) / "adapter",
                          (folder.layout.empty() ? options.language : options.model).value_or(""));
  // The next stage is to find the language model's own template.
  if (options.stage == 2) folder.chat = encoder->chat();
  checkpoint::save_vlm(folder, fs::path(options.out) / "model", folder.layout);
  stages.lap("save");

  auto result = Json::object({{"steps", summary.steps},
                              {"loss", summary.loss},
                              {"samples", summary.samples},
                              {"cut", loader.cut()},
                              {"copied", loader.copied()},
                              {"bad", loader.bad().json()},
                              {"seconds", stages.json()},
                              {"total", std::round(stages.total() * 100) / 100}});
  eval::write_training_report(options.out, "Vision-language training", result, to_json(options));
  std::cout << result.dump() << std::endl;
  return summary.exit_status();
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("llava_train",
                     [&] { return run(parse(argc, argv, defaults(parse(argc, argv, {})))); });
}
