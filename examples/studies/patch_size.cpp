// What do smaller patches buy a vision transformer, and what do they cost?
//
//     patch_size --train 'clothing-128/train-*.tar' --val clothing-128/val-000000.tar
//                --classes clothing-128/classes.json --out studies/patch_size
//
// Trains the same small ViT as a classifier for each patch size and seed, for the same number of
// epochs. Prints a table of accuracy, tokens, operations and seconds an image, writes
// patch_size.svg, and ends in one JSON object.
#include <chrono>

#include <weft/eval/classification.hpp>
#include <weft/eval/features.hpp>
#include <weft/eval/zero_shot.hpp>
#include <weft/nn/flops.hpp>
#include <weft/report/svg_plot.hpp>

#include "from_scratch.hpp"

namespace {

using study::fixed;
using study::spread;
using weft::Json;

struct Options {
  std::string train, val, classes;
  std::vector<int64_t> patches = {8, 16, 32};
  study::ScratchOptions scratch = {};
  study::Common common = {};

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("train", o.train, weft::required, "labelled WebDataset shards");
    v("val", o.val, weft::required, "labelled shards for the accuracy");
    v("classes", o.classes, weft::required, "JSON file of the classes");
    v("patches", o.patches, "pixels a side of a patch");
    v("scratch", o.scratch);
    v("common", o.common);
  }
};

struct Run {
  double top1, epoch, ms;  // accuracy, seconds an epoch, milliseconds an image without a graph
};

int run(const Options& options) {
  using namespace weft;
  options.common.check();
  const auto classes = static_cast<int64_t>(eval::read_classes(options.classes).names.size());
  for (const auto patch : options.patches)
    if (patch < 1 || patch > options.scratch.image_size)
      throw Error("--patches: expected 1 to --image-size (" +
                      std::to_string(options.scratch.image_size) + "), found " +
                      std::to_string(patch),
                  ErrorKind::usage);

  report::Stages stages;
  const auto val = study::read_all(options.val, options.scratch.image_size, options.common);
  std::vector<std::vector<std::string>> rows;
  std::vector<report::Bar> bars;
  auto sizes = Json::array();
  for (const auto patch : options.patches) {
    std::vector<Run> runs;
    int64_t tokens = 0;
    double flops = 0;
    for (int64_t seed = 0; seed < options.common.seeds; ++seed) {
      auto model = study::fresh_classifier(options.scratch, patch, classes, seed);
      tokens = nn::input_tokens(model->encoder->info());
      flops = nn::flops(*model->encoder);
      const auto summary =
          study::train(model, options.train, options.scratch, options.common, seed,
                       "patch " + std::to_string(patch) + " seed " + std::to_string(seed));
      if (summary.signal != 0) return summary.exit_status();
      const auto begin = std::chrono::steady_clock::now();
      const auto logits = eval::encode_images(
          *model->encoder, [&](const EncoderInput& input) { return model->forward(input); },
          val.pixels, {});
      const std::chrono::duration<double, std::milli> ms = std::chrono::steady_clock::now() - begin;
      runs.push_back({.top1 = eval::classification(logits, val.labels).top1,
                      .epoch = summary.seconds / static_cast<double>(options.scratch.epochs),
                      .ms = ms.count() / static_cast<double>(val.labels.size(0))});
    }
    const auto top1 = spread(runs, [](const Run& r) { return r.top1; });
    const auto epoch = spread(runs, [](const Run& r) { return r.epoch; });
    const auto ms = spread(runs, [](const Run& r) { return r.ms; });
    rows.push_back({std::to_string(patch), std::to_string(tokens), fixed(flops / 1e6, 0),
                    fixed(top1, 1, 100) + " %", fixed(epoch, 1), fixed(ms, 2)});
    bars.push_back({"patch " + std::to_string(patch) + ": " + std::to_string(tokens) + " tokens",
                    100 * top1.mean, 100 * top1.deviation});
    sizes.push_back(Json::object({{"patch", patch},
                                  {"tokens", tokens},
                                  {"flops", flops},
                                  {"top1", top1.json()},
                                  {"seconds_an_epoch", epoch.json()},
                                  {"ms_an_image", ms.json()}}));
  }
  study::print_table(
      {"patch", "tokens", "MFLOPs an image", "top-1", "seconds an epoch", "ms an image, inference"},
      rows);
  study::write(options.common, "patch_size.svg",
               report::bar_plot(bars, {.title = "accuracy by patch size", .x_label = "top-1, %"}));
  return study::finish(Json::object({{"study", "patch_size"}, {"patches", sizes}}), options,
                       stages);
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("patch_size", [&] {
    Options options;
    weft::Flags("patch_size", "Accuracy and cost of a vision transformer by its patch size.")
        .add(options)
        .parse(argc, argv);
    return run(options);
  });
}
