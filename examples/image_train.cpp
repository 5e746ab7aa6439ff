// Trains an image classifier on labelled images in WebDataset shards, from scratch or from a model:
//
//     image_train --train 'clothing-128/train-*.tar' --val clothing-128/val-000000.tar
//                 --classes clothing-128/classes.json --model vit_tiny --out runs/clothing
//     image_train ... --model DINOV2_DIR --lock-vision --out runs/probe
//
// --model is a preset, or a folder: of an encoder, which gets a new head; of a classifier, which
// goes on with its own; of a dual encoder, whose image tower is taken. The last line of stdout is
// one JSON object: accuracies on --val and seconds by stage.
#include <cmath>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>

#include <weft/checkpoint/classifier_folder.hpp>
#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/core/flags.hpp>
#include <weft/data/augment.hpp>
#include <weft/data/labels.hpp>
#include <weft/eval/classify.hpp>
#include <weft/eval/clip_report.hpp>
#include <weft/eval/labelled.hpp>
#include <weft/eval/zero_shot.hpp>
#include <weft/nn/random_state.hpp>
#include <weft/report/run_log.hpp>
#include <weft/train/classification.hpp>
#include <weft/train/rules.hpp>

#include "program.hpp"
#include "training.hpp"

namespace {

namespace fs = std::filesystem;

struct Options {
  std::string train, model, out, task = "classify";
  std::optional<std::string> val = {}, classes = {};
  std::optional<int64_t> num_classes = {}, image_size = {}, patch_size = {};
  std::optional<weft::nn::Pooling> pool = {};
  weft::data::AugmentOptions augment = {.scale = {0.35, 1.0}, .horizontal_flip_prob = 0.5};
  weft::train::ClassificationOptions loss = {};
  double head_dropout = 0, drop_path = 0, patch_dropout = 0, layer_decay = 1;
  double max_bad_fraction = 0.05;
  bool lock_vision = false, grad_checkpointing = false, dry_run = false;
  int64_t batch_size = 128, workers = 2;
  weft::train::TrainerOptions trainer = {};

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("train", o.train, weft::required,
      "labelled WebDataset shards: braces, wildcards, patterns joined by '::'");
    v("val", o.val, "labelled shards for the evaluation at the end");
    v("model", o.model, weft::required,
      "folder of an image encoder, a classifier or a dual encoder, or a preset such as vit_tiny or "
      "ViT-B-32");
    v("task", o.task, "what is learned: classify");
    v("classes", o.classes, "JSON file of the classes, in the order of the labels");
    v("num_classes", o.num_classes,
      "their number, without --classes; else that of the labels of --train");
    v("image_size", o.image_size, "pixels a side; by default the model's");
    v("patch_size", o.patch_size, "pixels a side of a preset's patches");
    v("pool", o.pool, "what a new head reads; by default as heads of the encoder's family do");
    v("augment", o.augment);
    v("loss", o.loss);
    v("lock_vision", o.lock_vision, "freeze the encoder; it runs once, over images as they are");
    v("layer_decay", o.layer_decay,
      "a layer's learning rate is this share of the next one's; for fine-tuning");
    v("head_dropout", o.head_dropout, "dropout before a new head");
    v("drop_path", o.drop_path, "chance to skip a branch of the last block, less in those before");
    v("patch_dropout", o.patch_dropout, "share of each image's patches to leave out in training");
    v("grad_checkpointing", o.grad_checkpointing,
      "compute activations again in the backward pass: less memory, more time");
    v("batch_size", o.batch_size, "samples a step and rank");
    v("workers", o.workers, "threads that decode images");
    v("max_bad_fraction", o.max_bad_fraction, "largest share of damaged samples");
    v("out", o.out, weft::required, "run folder: config, metrics, report, checkpoints and model");
    v("dry_run", o.dry_run, "build everything, read one batch, say what would be done");
    v("trainer", o.trainer);
  }
};

Options parse(int argc, char** argv, Options options) {
  weft::Flags flags("image_train", "Trains an image classifier.");
  flags.add(options);
  for (const auto& [flag, other] :
       {std::pair{"train", "train-data"}, {"val", "val-data"}, {"lock-vision", "lock-image"}})
    flags.alias(flag, other);
  flags.parse(argc, argv);
  if (options.task != "classify")
    throw weft::Error("--task: unknown task '" + options.task + "'; there are: classify",
                      weft::ErrorKind::usage);
  return options;
}

/// A pretrained encoder wants small steps, a head alone large ones; both trained whole, a warm-up.
Options defaults(bool pretrained, bool frozen) {
  Options o;
  o.trainer.epochs = 12;
  o.trainer.lr = frozen ? 1e-2 : pretrained ? 1e-4 : 1e-3;
  o.trainer.warmup = frozen ? 0 : 100;
  o.trainer.lr_scheduler = weft::train::Schedule::cosine;
  if (!frozen) o.trainer.grad_clip_norm = 1;
  return o;
}

struct Classes {
  std::vector<std::string> names = {};
  std::optional<int64_t> count = {};  ///< what the flags say
};

Classes asked_for(const Options& options) {
  Classes out{.count = options.num_classes};
  if (!options.classes) return out;
  out.names = weft::eval::read_classes(*options.classes).names;
  const auto count = static_cast<int64_t>(out.names.size());
  if (out.count.value_or(count) != count)
    throw weft::Error("--num-classes: " + *options.classes + " names " + std::to_string(count) +
                          " classes, found " + std::to_string(*out.count),
                      weft::ErrorKind::usage);
  out.count = count;
  return out;
}

/// Whether a classifier's head is one of these classes.
bool fits(const weft::checkpoint::ImageClassifierFolder& known, const Classes& classes) {
  return classes.count.value_or(known.model->options.num_classes) ==
             known.model->options.num_classes &&
         (classes.names.empty() || known.classes.empty() || classes.names == known.classes);
}

/// The model to train: the classifier of --model, or a new head on its encoder.
weft::checkpoint::ImageClassifierFolder assemble(const Options& options,
                                                 weft::report::Console& console) {
  using namespace weft;
  const auto classes = asked_for(options);
  nn::seed_all(options.trainer.seed);
  checkpoint::EncoderFolder image;
  auto pool = options.pool;
  if (!fs::is_directory(options.model)) {
    auto config = Json::object();
    if (options.image_size) config.set("image_size", *options.image_size);
    if (options.patch_size) config.set("patch_size", *options.patch_size);
    image = checkpoint::make_encoder(options.model, checkpoint::Role::image, config);
  } else if (options.patch_size) {
    throw Error("--patch-size: that of " + options.model + " is fixed; it is for presets",
                ErrorKind::usage);
  } else if (checkpoint::is_dual_encoder(options.model)) {
    const auto dual = checkpoint::load_dual_encoder(options.model);
    image = dual.image;
    if (!pool) pool = dual.model->options.image_pool;
  } else if (checkpoint::is_image_classifier(options.model)) {
    auto known = checkpoint::load_image_classifier(options.model);
    if (fits(known, classes) &&
        pool.value_or(known.model->options.pool) == known.model->options.pool) {
      if (known.classes.empty()) known.classes = classes.names;
      return known;
    }
    console.warning(options.model +
                    ": its head is of other classes or another --pool; a new one is trained");
    image = known.image;
    if (!pool) pool = known.model->options.pool;
  } else {
    image = checkpoint::load_encoder(options.model);
  }
  if (checkpoint::encoder_family(image.family).role != checkpoint::Role::image)
    throw Error(options.model + ": expected an image encoder, found the text encoder '" +
                image.family + "'");
  const auto count = classes.count ? *classes.count : data::count_classes(options.train);
  return checkpoint::make_image_classifier(
      image,
      {.num_classes = count,
       .pool = pool.value_or(checkpoint::head_pooling(image.family)),
       .dropout = options.head_dropout},
      classes.names);
}

/// report.html: accuracy and confusion, curves, seconds and configuration.
void write_report(const Options& options, const weft::eval::ClassificationResult& accuracy,
                  const std::vector<std::string>& names, const weft::Json& result) {
  weft::report::HtmlReport page("Image classification: " +
                                fs::path(options.out).filename().string());
  if (accuracy.samples > 0) {
    page.heading("Validation");
    weft::eval::add_classification(page, accuracy, names);
  }
  page.heading("Curves");
  weft::eval::add_curves(page, weft::report::read_metrics(options.out));
  page.heading("Seconds").preformatted(result.at("seconds").dump(2));
  page.heading("Configuration").preformatted(weft::to_json(options).dump(2));
  page.write(fs::path(options.out) / "report.html");
}

int run(const Options& options) {
  using namespace weft;
  report::Stages stages;
  refuse_old_run(options.out, options.trainer);
  report::Console console;
  auto folder = assemble(options, console);
  auto& model = folder.model;
  if (options.image_size) folder.transform.size = folder.transform.resize = *options.image_size;
  set_patch_dropout(*model->encoder, options.patch_dropout);
  if (options.drop_path > 0 && nn::set_drop_path(*model->encoder, options.drop_path) == 0)
    throw Error("--drop-path: the encoder has no transformer blocks", ErrorKind::usage);
  if (options.lock_vision) model->lock_encoder();
  if (options.grad_checkpointing && !options.lock_vision) checkpoint_tower(*model->encoder);

  const data::ImageTextLoaderOptions source{.shards = options.train,
                                            .batch_size = options.batch_size,
                                            .workers = options.workers,
                                            .seed = options.trainer.seed,
                                            .epochs = options.trainer.passes(),
                                            .needs_caption = false,
                                            .needs_label = true,
                                            .max_bad_fraction = options.max_bad_fraction,
                                            .transform = folder.transform};
  auto once = source;  // a plain pass
  once.shuffle = once.drop_last = false;
  once.epochs = 1;
  const bool cached = options.lock_vision && !options.dry_run;
  data::ImageTextLoader loader(
      cached ? once : source,
      cached ? data::ImageTransform() : data::augmenting(options.augment, folder.transform));
  if (options.dry_run) {
    train::ClassificationTask task(model, loader, options.loss);
    std::cout << dry_run(*model, task, loader.size(), options.trainer).dump() << std::endl;
    return 0;
  }
  report::RunLog log(options.out);
  log.config(to_json(options));
  stages.lap("models");
  eval::FeatureOptions features{.precision = options.trainer.precision};
  std::unique_ptr<train::Task> task;
  if (cached) {
    report::Progress progress(log.console(), "features", loader.size(), "images");
    features.progress = [&](int64_t done) { progress.update(done); };
    auto samples = eval::labelled_features(eval::image_tower(folder), loader, features, stages,
                                           model->options.num_classes);
    progress.finish();
    features.progress = {};
    task = std::make_unique<train::CachedClassificationTask>(
        model, std::move(samples), options.batch_size, options.trainer.seed, options.loss);
  } else {
    task = std::make_unique<train::ClassificationTask>(model, loader, options.loss);
  }
  auto rule = train::GroupRule(train::default_rule);
  if (options.layer_decay < 1) rule = train::layer_decay(*model, options.layer_decay, rule);
  train::Trainer trainer(*model, *task, options.trainer, log, rule);
  const auto summary = trainer.run();
  if (trainer.average()) trainer.average()->copy_to_parameters();
  if (loader.bad().total() > 0) log.warn(loader.bad().summary());
  stages.lap("train");
  checkpoint::save_image_classifier(folder, fs::path(options.out) / "model");

  auto result = Json::object();
  eval::ClassificationResult accuracy;
  if (options.val && summary.signal == 0) {
    once.shards = *options.val;
    data::ImageTextLoader val(once);
    accuracy = eval::classify(*model, val, features, stages);
    result = accuracy.json("classify", folder.classes).set("images", accuracy.samples);
    log.scalars(summary.steps, {{"val/top1", accuracy.top1}, {"val/top5", accuracy.top5}});
    if (val.bad().total() > 0) log.warn(val.bad().summary());
  }
  stages.lap("evaluate");
  result.set("steps", summary.steps).set("loss", summary.loss).set("bad", loader.bad().json());
  result.set("seconds", stages.json()).set("total", std::round(stages.total() * 100) / 100);
  write_report(options, accuracy, folder.classes, result);
  std::cout << result.dump() << std::endl;
  return summary.exit_status();
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("image_train", [&] {
    const auto first = parse(argc, argv, defaults(false, false));
    return run(parse(argc, argv, defaults(fs::is_directory(first.model), first.lock_vision)));
  });
}
