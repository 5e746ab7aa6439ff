// Evaluates a dual encoder on captioned images.
//
//     clip_eval --model runs/x --shards 'flickr8k-128/val-000000.tar' --task retrieval
//
// The last line of stdout is one JSON object with recalls as fractions. --negatives NAME also
// scores each image's captions against the wrong ones that its JSON holds under NAME.
#include <cmath>
#include <filesystem>
#include <iostream>
#include <optional>

#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/core/flags.hpp>
#include <weft/eval/clip_report.hpp>
#include <weft/eval/features.hpp>
#include <weft/eval/negatives.hpp>
#include <weft/eval/retrieval.hpp>
#include <weft/report/console.hpp>
#include <weft/report/stages.hpp>

#include "program.hpp"

namespace {

struct Options {
  std::string model, shards;
  std::string task = "retrieval";
  std::optional<std::string> negatives = {}, tokenizer = {};
  int64_t batch_size = 64, workers = 2, max_text_tokens = 64;
  double max_bad_fraction = 0.05;
  weft::nn::Precision precision = weft::nn::Precision::fp32;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("model", o.model, weft::required, "run folder, or the model folder in it");
    v("shards", o.shards, weft::required,
      "WebDataset shards: braces, wildcards, patterns joined by '::'");
    v("tokenizer", o.tokenizer,
      "tokenizer.json, OpenAI's vocabulary or a folder, instead of the model's own");
    v("task", o.task, "retrieval");
    v("negatives", o.negatives,
      "key of a sample's JSON that holds a wrong caption, such as 'swapped'");
    v("batch_size", o.batch_size, "images a batch");
    v("workers", o.workers, "threads that decode images");
    v("max_text_tokens", o.max_text_tokens, "longer captions are cut");
    v("max_bad_fraction", o.max_bad_fraction, "largest share of damaged samples");
    v("precision", o.precision, "bf16 is autocast");
  }
};

int run(const Options& options) {
  using namespace weft;
  if (options.task != "retrieval")
    throw Error("--task: unknown task '" + options.task + "'; there is: retrieval",
                ErrorKind::usage);
  report::Stages stages;
  report::Console console;
  auto clip = checkpoint::load_dual_encoder(options.model);
  if (options.tokenizer) clip.tokenizer = tokenizers::load_tokenizer(*options.tokenizer);
  if (!clip.tokenizer) checkpoint::fail_without_tokenizer(options.model);
  stages.lap("models");

  data::ImageTextLoader loader({.shards = options.shards,
                                .batch_size = options.batch_size,
                                .workers = options.workers,
                                .shuffle = false,
                                .drop_last = false,
                                .max_bad_fraction = options.max_bad_fraction,
                                .transform = clip.transform});
  report::Progress progress(console, "features", loader.size(), "images");
  const eval::FeatureOptions features{.image_batch = options.batch_size,
                                      .max_text_tokens = options.max_text_tokens,
                                      .precision = options.precision,
                                      .progress = [&](int64_t done) { progress.update(done); }};
  const auto pairs = eval::pair_features(*clip.model, *clip.tokenizer, loader, features, stages);
  progress.finish();
  const auto rows = eval::embed(*clip.model, pairs);
  auto result = eval::retrieval(rows.image, rows.text, pairs.owner).json();
  if (options.negatives) {
    const auto wrong = eval::read_negatives(options.shards, *options.negatives);
    result.set(*options.negatives,
               eval::negatives(*clip.model, *clip.tokenizer, pairs, rows, wrong, features));
  }
  stages.lap("evaluate");
  if (loader.bad().total() > 0) console.warning(loader.bad().summary());
  result.set("images", pairs.image.size(0))
      .set("texts", pairs.text.size(0))
      .set("bad", loader.bad().json());
  result.set("seconds", stages.json()).set("total", std::round(stages.total() * 100) / 100);
  std::cout << result.dump() << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("clip_eval", [&] {
    Options options;
    weft::Flags("clip_eval", "Evaluates a dual encoder on captioned images.")
        .add(options)
        .parse(argc, argv);
    return run(options);
  });
}
