// Evaluates a dual encoder, or for linear-probe and knn one image encoder.
//
//     clip_eval --model runs/x --task retrieval --shards 'flickr8k-128/val-000000.tar'
//     clip_eval --model runs/x --task zeroshot --shards 'clothing-128/val-000000.tar'
//               --classes clothing-128/classes.json
//     clip_eval --model DINOV2_DIR --task linear-probe --shards 'clothing-128/val-000000.tar'
//               --train 'clothing-128/train-{000000,000001}.tar'
//
// The last line of stdout is one JSON object with shares as fractions. --negatives NAME also
// scores each image's captions against the wrong ones that its JSON holds under NAME. --report FILE
// draws what was found.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <optional>

#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/core/flags.hpp>
#include <weft/eval/clip_report.hpp>
#include <weft/eval/features.hpp>
#include <weft/eval/knn.hpp>
#include <weft/eval/labelled.hpp>
#include <weft/eval/linear_probe.hpp>
#include <weft/eval/negatives.hpp>
#include <weft/eval/retrieval.hpp>
#include <weft/eval/zero_shot.hpp>
#include <weft/report/console.hpp>
#include <weft/report/stages.hpp>

#include "program.hpp"

namespace {

namespace checkpoint = weft::checkpoint;
namespace data = weft::data;
namespace eval = weft::eval;
namespace nn = weft::nn;
namespace report = weft::report;
using weft::Error;
using weft::ErrorKind;
using weft::Json;

struct Options {
  std::string model, shards;
  std::string task = "retrieval";
  std::optional<std::string> train = {}, classes = {}, templates = {}, negatives = {}, report = {},
                             tokenizer = {};
  std::optional<nn::Pooling> pool = {};
  bool projected = false;
  eval::LinearProbeOptions probe = {};
  eval::KnnOptions knn = {};
  int64_t batch_size = 64, workers = 2, max_text_tokens = 77;
  double max_bad_fraction = 0.05;
  nn::Precision precision = nn::Precision::fp32;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("model", o.model, weft::required,
      "run folder, or the model folder in it; for linear-probe and knn also one image encoder's");
    v("shards", o.shards, weft::required,
      "WebDataset shards to evaluate on: braces, wildcards, patterns joined by '::'");
    v("tokenizer", o.tokenizer,
      "tokenizer.json, OpenAI's vocabulary or a folder, instead of the model's own");
    v("task", o.task, "retrieval, zeroshot, linear-probe or knn");
    v("train", o.train, "labelled shards that linear-probe and knn learn from");
    v("classes", o.classes, "JSON file of the classes, in the order of the labels");
    v("templates", o.templates,
      "prompts with {} for the class, a line each; by default the classes' own, else 'a photo of a "
      "{}.'");
    v("negatives", o.negatives,
      "key of a sample's JSON that holds a wrong caption, such as 'swapped'");
    v("report", o.report, "HTML file to draw the result in");
    v("pool", o.pool, "pooling of a single encoder; by default its own");
    v("projected", o.projected, "linear-probe and knn on a dual encoder's shared space");
    v("probe", o.probe);
    v("knn", o.knn);
    v("batch_size", o.batch_size, "images a batch");
    v("workers", o.workers, "threads that decode images");
    v("max_text_tokens", o.max_text_tokens, "longer captions are cut");
    v("max_bad_fraction", o.max_bad_fraction, "largest share of damaged samples");
    v("precision", o.precision, "bf16 is autocast");
  }
};

/// What the tasks share.
struct Evaluation {
  const Options& options;
  report::Stages stages = {};
  report::Console console{};
  report::HtmlReport page{"Evaluation of " + options.model};
  eval::FeatureOptions features = {.image_batch = options.batch_size,
                                   .max_text_tokens = options.max_text_tokens,
                                   .precision = options.precision};

  /// Calls use(loader) while a progress line shows the images done; warns of damage.
  template <class Use>
  auto over(const std::string& shards, const weft::vision::ImageTransformOptions& transform,
            bool labels, Json& bad, Use&& use) {
    data::ImageTextLoader loader({.shards = shards,
                                  .batch_size = options.batch_size,
                                  .workers = options.workers,
                                  .shuffle = false,
                                  .drop_last = false,
                                  .needs_caption = !labels,
                                  .needs_label = labels,
                                  .max_bad_fraction = options.max_bad_fraction,
                                  .transform = transform});
    report::Progress progress(console, "features", loader.size(), "images");
    features.progress = [&](int64_t done) { progress.update(done); };
    auto out = use(loader);
    features.progress = {};
    progress.finish();
    if (loader.bad().total() > 0) console.warning(loader.bad().summary());
    bad = loader.bad().json();
    return out;
  }
  eval::LabelledFeatures labelled(const std::string& shards, const eval::ImageTower& tower,
                                  size_t classes, Json& bad) {
    return over(shards, tower.transform, true, bad, [&](data::ImageTextLoader& loader) {
      return eval::labelled_features(tower, loader, features, stages,
                                     static_cast<int64_t>(classes));
    });
  }
};

const std::string& needed(const std::optional<std::string>& value, const char* flag,
                          const Options& options) {
  if (!value)
    throw Error("--task " + options.task + ": needs " + flag + "; see --help", ErrorKind::usage);
  return *value;
}

checkpoint::DualEncoderFolder dual_encoder(Evaluation& e) {
  auto clip = checkpoint::load_dual_encoder(e.options.model);
  if (e.options.tokenizer) clip.tokenizer = weft::tokenizers::load_tokenizer(*e.options.tokenizer);
  if (!clip.tokenizer) checkpoint::fail_without_tokenizer(e.options.model);
  e.stages.lap("models");
  return clip;
}

Json retrieval(Evaluation& e) {
  const auto& options = e.options;
  auto clip = dual_encoder(e);
  Json bad;
  const auto pairs =
      e.over(options.shards, clip.transform, false, bad, [&](data::ImageTextLoader& loader) {
        return eval::pair_features(*clip.model, *clip.tokenizer, loader, e.features, e.stages);
      });
  const auto rows = eval::embed(*clip.model, pairs);
  auto result = eval::retrieval(rows.image, rows.text, pairs.owner).json();
  if (options.negatives) {
    const auto wrong = eval::read_negatives(options.shards, *options.negatives);
    result.set(*options.negatives,
               eval::negatives(*clip.model, *clip.tokenizer, pairs, rows, wrong, e.features));
  }
  if (options.report) eval::add_space_figures(e.page, rows, pairs);
  return result.set("images", pairs.image.size(0)).set("texts", pairs.text.size(0)).set("bad", bad);
}

Json zero_shot(Evaluation& e) {
  const auto& options = e.options;
  const auto classes = eval::read_classes(needed(options.classes, "--classes", options));
  auto prompts = classes.prompts;
  if (options.templates || prompts.empty())
    prompts = eval::fill_templates(classes.names, options.templates
                                                      ? eval::read_templates(*options.templates)
                                                      : eval::kDefaultTemplates);
  auto clip = dual_encoder(e);
  const auto classifier =
      eval::zero_shot_classifier(*clip.model, *clip.tokenizer, prompts, e.features);
  e.stages.lap("classifier");
  Json bad;
  const auto images = e.labelled(options.shards, eval::image_tower(clip, /*projected=*/true),
                                 classes.names.size(), bad);
  const auto result = eval::zero_shot(images.features, classifier, images.labels);
  if (options.report) eval::add_classification(e.page, result, classes.names);
  size_t count = 0;
  for (const auto& of_class : prompts) count += of_class.size();
  return result.json("zeroshot", classes.names)
      .set("prompts", count)
      .set("images", result.samples)
      .set("bad", bad);
}

Json learned(Evaluation& e) {
  const auto& options = e.options;
  const auto& train_shards = needed(options.train, "--train", options);
  std::vector<std::string> names;
  if (options.classes) names = eval::read_classes(*options.classes).names;
  const auto tower =
      eval::load_image_tower(options.model, {.pool = options.pool, .projected = options.projected});
  e.stages.lap("models");
  Json bad, train_bad;
  const auto train = e.labelled(train_shards, tower, names.size(), train_bad);
  const auto images = e.labelled(options.shards, tower, names.size(), bad);
  const auto classes = names.empty() ? std::max(train.largest_label(), images.largest_label()) + 1
                                     : static_cast<int64_t>(names.size());
  eval::ClassificationResult result;
  Json details = weft::to_json(options.knn);
  if (options.task == "knn") {
    result = eval::classification(
        eval::knn_votes(images.features, train.features, train.labels, classes, options.knn),
        images.labels);
  } else {
    const auto probe = eval::linear_probe(train.features, train.labels, classes, options.probe);
    if (!probe.fit.converged)
      e.console.warning("the probe did not converge: raise --max-iterations or --tolerance");
    result = eval::classification(probe.scores(images.features), images.labels);
    details = probe.json();
  }
  if (options.report) eval::add_classification(e.page, result, names);
  return result.json(options.task, names)
      .set(options.task, details)
      .set("images", result.samples)
      .set("bad", bad)
      .set("train_images", train.labels.size(0))
      .set("train_bad", train_bad);
}

int run(const Options& options) {
  Evaluation evaluation{options};
  Json result;
  if (options.task == "retrieval") {
    result = retrieval(evaluation);
  } else if (options.task == "zeroshot") {
    result = zero_shot(evaluation);
  } else if (options.task == "linear-probe" || options.task == "knn") {
    result = learned(evaluation);
  } else {
    throw Error("--task: unknown task '" + options.task +
                    "'; there are: retrieval, zeroshot, linear-probe, knn",
                ErrorKind::usage);
  }
  auto& stages = evaluation.stages;
  stages.lap("evaluate");
  result.set("seconds", stages.json()).set("total", std::round(stages.total() * 100) / 100);
  if (options.report)
    evaluation.page.heading("Result").preformatted(result.dump(2)).write(*options.report);
  std::cout << result.dump() << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("clip_eval", [&] {
    Options options;
    weft::Flags("clip_eval", "Evaluates a dual encoder or an image encoder.")
        .add(options)
        .alias("train", "train-shards")
        .parse(argc, argv);
    return run(options);
  });
}
