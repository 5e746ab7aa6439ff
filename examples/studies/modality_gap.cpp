// Where does the gap between the modalities come from, and what does the temperature do to it?
//
//     scenes --out scenes --train 8000 --size 32
//     modality_gap --train 'scenes/train-*.tar' --val scenes/val-000000.tar
//                  --out studies/modality_gap
//
// Trains a small dual encoder from scratch for each temperature and seed, and measures at equal
// distances, on the first images of --val with one caption each: the distance of the modalities'
// means (Liang et al., 2022), alignment and uniformity (Wang and Isola, 2020), and R@10. Prints a
// table, writes modality_gap.svg, and ends in one JSON object with every point of every run.
#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/data/captions.hpp>
#include <weft/eval/features.hpp>
#include <weft/eval/retrieval.hpp>
#include <weft/nn/random_state.hpp>
#include <weft/report/embeddings.hpp>
#include <weft/report/run_log.hpp>
#include <weft/report/svg_plot.hpp>
#include <weft/text/text_encoder.hpp>
#include <weft/tokenizers/bpe_trainer.hpp>
#include <weft/train/contrastive.hpp>
#include <weft/train/trainer.hpp>
#include <weft/vision/vision_transformer.hpp>

#include "study.hpp"

namespace {

using study::fixed;
using study::spread;
using weft::Json;

struct Options {
  std::string train, val;
  std::vector<double> temperatures = {0, 0.01, 0.1, 1};
  int64_t image_size = 32, patch_size = 8, width = 128, layers = 4, vocab_size = 4000;
  int64_t batch_size = 64, epochs = 2, points = 16, val_images = 500;
  double lr = 1e-3;
  study::Common common = {};

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("train", o.train, weft::required, "captioned WebDataset shards");
    v("val", o.val, weft::required, "captioned shards that are measured");
    v("temperatures", o.temperatures, "0.01 to 1, held fixed; 0 = learned, from CLIP's 0.07");
    v("image_size", o.image_size, "pixels a side");
    v("patch_size", o.patch_size, "pixels a side of a patch");
    v("width", o.width, "of both towers, a multiple of 64");
    v("layers", o.layers, "of both towers");
    v("vocab_size", o.vocab_size, "of the byte-level BPE of the captions");
    v("batch_size", o.batch_size, "samples a step");
    v("epochs", o.epochs, "passes over --train");
    v("points", o.points, "measurements after the one before training");
    v("val_images", o.val_images, "images of --val, each with its first caption");
    v("lr", o.lr, "peak learning rate");
    v("common", o.common);
  }
};

/// The part of --val that is measured, decoded once.
struct Pairs {
  torch::Tensor pixels;  // [N, 3, S, S] uint8
  std::vector<std::string> captions = {};
};

/// A run at one moment.
struct Point {
  int64_t step;
  double gap, alignment, uniformity_image, uniformity_text, cosine_image, cosine_text, r10;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("step", o.step);
    v("gap", o.gap);
    v("alignment", o.alignment);
    v("uniformity_image", o.uniformity_image);
    v("uniformity_text", o.uniformity_text);
    v("cosine_image", o.cosine_image);
    v("cosine_text", o.cosine_text);
    v("r10", o.r10);
  }
};
using Run = std::vector<Point>;

/// Contrastive training that is measured every `every` steps.
class WatchedPairs : public weft::train::StreamPairTask {
 public:
  WatchedPairs(weft::models::DualEncoder model,
               const std::shared_ptr<weft::tokenizers::Tokenizer>& tokenizer,
               weft::data::ImageTextLoader& loader, int64_t seed, const Pairs& pairs, int64_t every)
      : StreamPairTask(model, tokenizer, loader, seed),
        model_(std::move(model)),
        tokenizer_(*tokenizer),
        pairs_(pairs),
        every_(every) {
    measure();
  }
  void after_step() override {
    StreamPairTask::after_step();
    if (++steps_ % every_ == 0) measure();
  }
  Run run = {};

 private:
  void measure() {
    using namespace weft;
    const torch::NoGradGuard no_grad;
    const auto image = model_->project_image(eval::image_features(*model_, pairs_.pixels, {}));
    const auto text =
        model_->project_text(eval::text_features(*model_, tokenizer_, pairs_.captions, {}));
    run.push_back(
        {.step = steps_,
         .gap = report::modality_gap(image, text),
         .alignment = report::alignment(image, text),
         .uniformity_image = report::uniformity(image),
         .uniformity_text = report::uniformity(text),
         .cosine_image = report::mean_cosine(image),
         .cosine_text = report::mean_cosine(text),
         .r10 = eval::retrieval(image, text, torch::arange(image.size(0))).image_to_text.r10});
  }

  weft::models::DualEncoder model_;
  const weft::tokenizers::Tokenizer& tokenizer_;
  const Pairs& pairs_;
  int64_t every_, steps_ = 0;
};

weft::models::DualEncoder build(const Options& options, int64_t vocab_size, double temperature) {
  using namespace weft;
  const auto heads = std::max<int64_t>(options.width / 64, 1);
  auto image = std::make_shared<vision::VisionTransformerImpl>(
      vision::VisionTransformerOptions{.image_size = options.image_size,
                                       .patch_size = options.patch_size,
                                       .hidden_size = options.width,
                                       .num_layers = options.layers,
                                       .num_heads = heads});
  auto text =
      std::make_shared<text::TextEncoderImpl>(text::TextEncoderOptions{.vocab_size = vocab_size,
                                                                       .hidden_size = options.width,
                                                                       .num_layers = options.layers,
                                                                       .num_heads = heads,
                                                                       .max_tokens = 64});
  models::DualEncoderOptions dual{
      .embed_dim = options.width, .image_pool = nn::Pooling::mean, .text_pool = nn::Pooling::mean};
  if (temperature > 0) dual.init_logit_scale = -std::log(temperature);
  models::DualEncoder model(image, text, dual);
  if (temperature > 0) model->logit_scale.requires_grad_(false);
  return model;
}

std::string name_of(double temperature) {
  std::ostringstream text;
  text << "fixed " << temperature;
  return temperature == 0 ? "learned" : text.str();
}

int run(const Options& options) {
  using namespace weft;
  options.common.check();
  for (const double temperature : options.temperatures)
    if (temperature != 0 && (temperature < 0.01 || temperature > 1))
      throw Error("--temperatures: expected 0 or 0.01 to 1, found " + std::to_string(temperature),
                  ErrorKind::usage);
  if (options.points < 1) throw Error("--points: at least 1 is needed", ErrorKind::usage);

  report::Stages stages;
  const auto tokenizer = tokenizers::train_byte_level_bpe(data::read_captions(options.train),
                                                          {.vocab_size = options.vocab_size});
  data::ImageTextLoaderOptions source{.shards = options.val,
                                      .batch_size = options.val_images,
                                      .workers = options.common.workers,
                                      .shuffle = false,
                                      .drop_last = false,
                                      .transform = {.size = options.image_size}};
  auto val = data::ImageTextLoader(source).next();
  if (!val || val->keys.size() < 2)
    throw Error("--val " + options.val + ": holds fewer than two images that can be read");
  Pairs pairs{.pixels = val->pixels};
  for (const auto& captions : val->captions) pairs.captions.push_back(captions.front());
  source.shards = options.train;
  source.batch_size = options.batch_size;
  source.shuffle = source.drop_last = true;
  source.epochs = options.epochs;

  std::vector<std::vector<std::string>> rows;
  std::vector<report::Series> gaps;
  auto settings = Json::array();
  for (const double temperature : options.temperatures) {
    std::vector<Run> runs;
    for (int64_t seed = 0; seed < options.common.seeds; ++seed) {
      nn::seed_all(seed);
      source.seed = seed;
      data::ImageTextLoader loader(source);
      auto model = build(options, tokenizer->vocab_size(), temperature);
      const auto steps = loader.batches() * options.epochs;
      WatchedPairs task(model, tokenizer, loader, seed, pairs,
                        std::max<int64_t>(steps / options.points, 1));
      const auto folder = study::fs::path(options.common.out) / "runs" /
                          (name_of(temperature) + " seed " + std::to_string(seed));
      study::fs::remove_all(folder);
      report::RunLog log(folder, {.tensorboard = false});
      log.config(to_json(options));
      log.log("temperature " + name_of(temperature) + ", seed " + std::to_string(seed));
      const auto summary = train::Trainer(*model, task,
                                          {.epochs = options.epochs,
                                           .lr = options.lr,
                                           .wd = 0.1,
                                           .warmup = steps / 10,
                                           .lr_scheduler = train::Schedule::cosine,
                                           .grad_clip_norm = 1,
                                           .seed = seed,
                                           .save_every = 0},
                                          log)
                               .run();
      if (summary.signal != 0) return summary.exit_status();
      study::fs::remove_all(folder / "checkpoints");
      runs.push_back(task.run);
    }
    const auto at_start = [&](auto figure) {
      return spread(runs, [&](const Run& r) { return r.front().*figure; });
    };
    const auto at_end = [&](auto figure) {
      return spread(runs, [&](const Run& r) { return r.back().*figure; });
    };
    rows.push_back({name_of(temperature), fixed(at_start(&Point::cosine_image), 2),
                    fixed(at_start(&Point::cosine_text), 2), fixed(at_start(&Point::gap), 2),
                    fixed(at_end(&Point::gap), 2), fixed(at_end(&Point::alignment), 2),
                    fixed(at_end(&Point::uniformity_image), 2),
                    fixed(at_end(&Point::uniformity_text), 2),
                    fixed(at_end(&Point::r10), 1, 100) + " %"});
    report::Series series{name_of(temperature), {}, {}, {}};
    for (size_t i = 0; i < runs.front().size(); ++i) {
      const auto gap = spread(runs, [&](const Run& r) { return r.at(i).gap; });
      series.x.push_back(static_cast<double>(runs.front()[i].step));
      series.y.push_back(gap.mean);
      series.spread.push_back(gap.deviation);
    }
    gaps.push_back(series);
    settings.push_back(Json::object({{"temperature", name_of(temperature)},
                                     {"gap", at_end(&Point::gap).json()},
                                     {"r10", at_end(&Point::r10).json()},
                                     {"runs", to_json(runs)}}));
  }
  study::print_table(
      {"temperature", "cosine of images at start", "of texts at start", "gap at start",
       "gap at end", "alignment", "uniformity of images", "of texts", "R@10"},
      rows);
  study::write(
      options.common, "modality_gap.svg",
      report::line_plot(gaps, {.title = "distance of the modalities' means, by temperature",
                               .x_label = "step",
                               .y_label = "gap"}));
  return study::finish(
      Json::object(
          {{"study", "modality_gap"}, {"images", pairs.pixels.size(0)}, {"settings", settings}}),
      options, stages);
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("modality_gap", [&] {
    Options options;
    weft::Flags("modality_gap", "Follows the gap between the modalities through training.")
        .add(options)
        .parse(argc, argv);
    return run(options);
  });
}
