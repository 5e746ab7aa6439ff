// How much do different encoders know of a small data set before they have seen it?
//
//     encoder_probe --train 'clothing-128/train-*.tar' --val clothing-128/val-000000.tar
//                   --classes clothing-128/classes.json --out studies/encoder_probe
//                   --encoders DINOv2-S=DINOV2_DIR LiT=runs/lit
//
// Fits a linear probe (Radford et al., 2021, appendix A.3) on raw pixels, on a ViT with random
// weights, on the same trained here on --train, and on every folder of --encoders: an image
// encoder, a classifier or a dual encoder, which is probed in front of and behind its projection.
// Seeds draw the random weights and the held-out samples that choose C. Prints a table, writes
// encoder_probe.svg, and ends in one JSON object.
#include <ATen/ops/cat.h>

#include <weft/eval/labelled.hpp>
#include <weft/eval/linear_probe.hpp>
#include <weft/eval/zero_shot.hpp>
#include <weft/report/svg_plot.hpp>

#include "from_scratch.hpp"

namespace {

using study::Error;
using study::ErrorKind;
using study::fixed;
using study::spread;
using weft::Json;
namespace eval = weft::eval;

struct Options {
  std::string train, val, classes;
  std::vector<std::string> encoders = {};
  int64_t raw_size = 16, patch_size = 16;
  std::optional<int64_t> encoder_size = {};
  study::ScratchOptions scratch = {};
  eval::LinearProbeOptions probe = {};
  study::Common common = {};

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("train", o.train, weft::required, "labelled WebDataset shards that probes are fitted on");
    v("val", o.val, weft::required, "labelled shards for the accuracy");
    v("classes", o.classes, weft::required, "JSON file of the classes");
    v("encoders", o.encoders, "folders to probe, each as name=DIR");
    v("raw_size", o.raw_size, "pixels a side of the raw pixels");
    v("encoder_size", o.encoder_size, "pixels a side for folders of one encoder; else their own");
    v("patch_size", o.patch_size, "of the ViT with random weights, and of the one trained here");
    v("scratch", o.scratch);
    v("max_iterations", o.probe.max_iterations, "of L-BFGS");
    v("common", o.common);
  }
};

/// The pixels themselves as an encoder.
class Pixels : public weft::Encoder {
 public:
  explicit Pixels(int64_t size) : size_(size) {}
  weft::EncoderOutput encode(const weft::EncoderInput& input, const weft::EncodeOptions&) override {
    const weft::vision::ImageTransformOptions defaults;
    return {.pooled = weft::vision::normalize(input.data, defaults.mean, defaults.std).flatten(1)};
  }
  weft::EncoderInfo info() const override {
    return {.family = "pixels", .pooled_size = 3 * size_ * size_, .image_size = size_};
  }

 private:
  int64_t size_;
};

struct Row {
  std::string name;
  int64_t width = 0;
  std::vector<double> top1 = {}, c = {};
};

class Study {
 public:
  explicit Study(const Options& options)
      : options_(options),
        classes_(static_cast<int64_t>(eval::read_classes(options.classes).names.size())) {}

  int64_t classes() const { return classes_; }

  /// Features of both splits. Images keep their whole height and width, or the tower's own crop.
  std::array<eval::LabelledFeatures, 2> features(const eval::ImageTower& tower) const {
    const auto of = [&](const std::string& shards) {
      auto source = study::labelled(shards, options_.common);
      source.transform = tower.transform;
      weft::data::ImageTextLoader loader(source);
      weft::report::Stages stages;
      return eval::labelled_features(tower, loader, {}, stages, classes_);
    };
    return {of(options_.train), of(options_.val)};
  }

  void probe(Row& row, const std::array<eval::LabelledFeatures, 2>& splits, int64_t seed) const {
    const auto& [train, val] = splits;
    auto options = options_.probe;
    options.seed = seed;
    const auto probe = eval::linear_probe(train.features, train.labels, classes_, options);
    row.width = train.features.size(1);
    row.top1.push_back(eval::classification(probe.scores(val.features), val.labels).top1);
    row.c.push_back(probe.fit.c);
    std::cerr << row.name << ", seed " << seed << ": " << fixed(100 * row.top1.back(), 1)
              << " %, C " << row.c.back() << std::endl;
  }

  /// A tower that stays the same for all seeds.
  Row probe(const std::string& name, const eval::ImageTower& tower) const {
    Row row{.name = name};
    const auto splits = features(tower);
    for (int64_t seed = 0; seed < options_.common.seeds; ++seed) probe(row, splits, seed);
    return row;
  }

 private:
  const Options& options_;
  int64_t classes_;
};

eval::ImageTower tower_of(const weft::models::ImageClassifier& model, int64_t size) {
  return {
      .encoder = model->encoder,
      .encode = [model = model](const weft::EncoderInput& x) mutable { return model->features(x); },
      .transform = {.size = size}};
}

/// "name=DIR" -> the two.
std::pair<std::string, std::string> named_folder(const std::string& word) {
  const auto equals = word.find('=');
  if (equals == std::string::npos || equals == 0)
    throw Error("--encoders: expected name=DIR, found '" + word + "'", ErrorKind::usage);
  const auto folder = word.substr(equals + 1);
  if (!study::fs::is_directory(folder))
    throw Error("--encoders " + word + ": there is no such folder");
  return {word.substr(0, equals), folder};
}

int run(const Options& options) {
  using namespace weft;
  options.common.check();
  std::vector<std::pair<std::string, std::string>> folders;
  for (const auto& word : options.encoders) folders.push_back(named_folder(word));
  const Study probes(options);
  report::Stages stages;
  std::vector<Row> rows;

  const auto pixels = std::make_shared<Pixels>(options.raw_size);
  rows.push_back(
      probes.probe("raw pixels, " + std::to_string(options.raw_size) + " a side",
                   {.encoder = pixels,
                    .encode = [&](const EncoderInput& x) { return pixels->encode(x, {}).pooled; },
                    .transform = {.size = options.raw_size}}));
  Row random{.name = "ViT, random weights"}, trained{.name = "ViT, trained here"};
  for (int64_t seed = 0; seed < options.common.seeds; ++seed) {
    auto model =
        study::fresh_classifier(options.scratch, options.patch_size, probes.classes(), seed);
    const auto tower = tower_of(model, options.scratch.image_size);
    probes.probe(random, probes.features(tower), seed);
    const auto summary = study::train(model, options.train, options.scratch, options.common, seed,
                                      "ViT seed " + std::to_string(seed));
    if (summary.signal != 0) return summary.exit_status();
    probes.probe(trained, probes.features(tower), seed);
  }
  rows.push_back(random);
  rows.push_back(trained);
  for (const auto& [name, folder] : folders) {
    auto tower = eval::load_image_tower(folder);
    const bool dual = checkpoint::is_dual_encoder(folder);
    if (options.encoder_size && !dual)
      tower.transform.size = tower.transform.resize = *options.encoder_size;
    rows.push_back(probes.probe(name, tower));
    if (dual)
      rows.push_back(probes.probe(name + ", shared space",
                                  eval::load_image_tower(folder, {.projected = true})));
  }

  std::vector<std::vector<std::string>> table;
  std::vector<report::Bar> bars;
  auto encoders = Json::array();
  for (const auto& row : rows) {
    const auto top1 = spread(row.top1);
    std::ostringstream chosen;
    for (size_t i = 0; i < row.c.size(); ++i) chosen << (i ? ", " : "") << row.c[i];
    table.push_back(
        {row.name, std::to_string(row.width), fixed(top1, 1, 100) + " %", chosen.str()});
    bars.push_back({row.name, 100 * top1.mean, 100 * top1.deviation});
    encoders.push_back(Json::object(
        {{"name", row.name}, {"width", row.width}, {"top1", top1.json()}, {"c", row.c}}));
  }
  study::print_table({"encoder", "width", "top-1", "C by seed"}, table);
  study::write(options.common, "encoder_probe.svg",
               report::bar_plot(bars, {.title = "linear probe", .x_label = "top-1, %"}));
  return study::finish(Json::object({{"study", "encoder_probe"}, {"encoders", encoders}}), options,
                       stages);
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("encoder_probe", [&] {
    Options options;
    weft::Flags("encoder_probe", "Linear probes on raw pixels and on encoders.")
        .add(options)
        .parse(argc, argv);
    return run(options);
  });
}
