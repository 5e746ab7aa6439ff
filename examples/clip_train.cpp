// Trains a dual encoder (CLIP) on captioned images in WebDataset shards, from scratch or on frozen
// towers (LiT):
//
//     clip_train --train 'scenes/train-*.tar' --val scenes/val-000000.tar --out runs/clip
//                --vision vit_tiny --text text_tiny
//
// Towers are Hugging Face folders or presets. The last line of stdout is one JSON object: recalls
// on --val and seconds by stage.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <optional>

#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/checkpoint/preprocessor.hpp>
#include <weft/checkpoint/snapshot.hpp>
#include <weft/core/flags.hpp>
#include <weft/data/captions.hpp>
#include <weft/eval/clip_report.hpp>
#include <weft/eval/features.hpp>
#include <weft/eval/negatives.hpp>
#include <weft/eval/retrieval.hpp>
#include <weft/nn/random_state.hpp>
#include <weft/nn/transformer_stack.hpp>
#include <weft/report/run_log.hpp>
#include <weft/report/stages.hpp>
#include <weft/tokenizers/bpe_trainer.hpp>
#include <weft/train/contrastive.hpp>
#include <weft/train/trainer.hpp>

#include "program.hpp"

namespace {

namespace fs = std::filesystem;

struct Options {
  std::string train, vision, text, out;
  std::optional<std::string> val = {}, negatives = {}, tokenizer = {};
  bool lock_vision = false, lock_text = false, grad_checkpointing = false;
  weft::models::DualEncoderOptions model = {};
  int64_t image_size = 224, batch_size = 512, workers = 2, vocab_size = 8000, max_text_tokens = 64;
  double max_bad_fraction = 0.05;
  bool dry_run = false;
  weft::train::TrainerOptions trainer = {};

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("train", o.train, weft::required,
      "WebDataset shards: braces, wildcards, patterns joined by '::'");
    v("val", o.val, "shards for retrieval at the end");
    v("negatives", o.negatives,
      "key of a --val sample's JSON that holds a wrong caption, such as 'swapped'");
    v("vision", o.vision, weft::required,
      "image tower: a Hugging Face folder, or a preset such as vit_tiny");
    v("text", o.text, weft::required,
      "text tower: a Hugging Face folder, or a preset such as text_tiny");
    v("lock_vision", o.lock_vision, "freeze the image tower; it runs once");
    v("lock_text", o.lock_text, "freeze the text tower; it runs once");
    v("grad_checkpointing", o.grad_checkpointing,
      "compute activations of trained towers again in the backward pass: less memory, more time");
    v("tokenizer", o.tokenizer,
      "tokenizer.json or its folder; else the tower's, else a byte-level BPE of the captions");
    v("vocab_size", o.vocab_size, "of that BPE");
    v("model", o.model);
    v("image_size", o.image_size, "pixels a side");
    v("batch_size", o.batch_size, "samples a step and rank");
    v("workers", o.workers, "threads that decode images");
    v("max_text_tokens", o.max_text_tokens, "longer captions are cut");
    v("max_bad_fraction", o.max_bad_fraction, "largest share of damaged samples");
    v("out", o.out, weft::required, "run folder: config, metrics, report, checkpoints and model");
    v("dry_run", o.dry_run, "build everything, read one batch, say what would be done");
    v("trainer", o.trainer);
  }
};

Options parse(int argc, char** argv, Options options) {
  weft::Flags flags("clip_train", "Trains a dual encoder on captioned images.");
  flags.add(options);
  for (const auto& [flag, other] :
       {std::pair{"train", "train-data"}, {"val", "val-data"}, {"lock-vision", "lock-image"}})
    flags.alias(flag, other);
  flags.parse(argc, argv);
  return options;
}

/// Frozen towers want their patch tokens averaged and little regularisation; training from scratch
/// wants a warm-up.
Options defaults(bool frozen) {
  Options o;
  o.trainer.epochs = 12;
  o.model.image_pool = frozen ? weft::nn::Pooling::cls_mean : weft::nn::Pooling::mean;
  o.model.text_pool = weft::nn::Pooling::mean;
  o.trainer.wd = frozen ? 0.05 : 0.1;
  o.trainer.warmup = frozen ? 0 : 100;
  o.trainer.lr_scheduler = frozen ? weft::train::Schedule::linear : weft::train::Schedule::cosine;
  if (!frozen) o.trainer.grad_clip_norm = 1;
  return o;
}

weft::checkpoint::EncoderFolder tower(const std::string& name, const weft::Json& overrides) {
  using namespace weft;
  return fs::is_directory(name) ? checkpoint::load_encoder(name)
                                : checkpoint::make_encoder(name, overrides);
}

fs::path own_tokenizer(const Options& options) { return fs::path(options.out) / "tokenizer.json"; }

/// --tokenizer, else the text folder's, else the run's own: a byte-level BPE of the captions.
std::shared_ptr<weft::tokenizers::Tokenizer> find_tokenizer(const Options& options) {
  using namespace weft;
  if (options.tokenizer) return tokenizers::load_tokenizer(*options.tokenizer);
  if (fs::is_directory(options.text)) return tokenizers::load_tokenizer(options.text);
  if (!options.trainer.resume.empty() && fs::exists(own_tokenizer(options)))
    return tokenizers::load_tokenizer(own_tokenizer(options));
  return tokenizers::train_byte_level_bpe(data::read_captions(options.train),
                                          {.vocab_size = options.vocab_size});
}

/// What a run would do, after one batch through the whole model; writes nothing.
int dry_run(const Options& options, weft::checkpoint::DualEncoderFolder& clip,
            const weft::data::ImageTextLoaderOptions& source) {
  using namespace weft;
  data::ImageTextLoader loader(source);
  train::StreamPairTask task(clip.model, clip.tokenizer, loader, options.trainer.seed);
  report::Stages stages;
  const auto step = task.step();
  step.loss.backward();
  stages.lap("first_step");
  int64_t trained = 0, all = 0;
  for (const auto& parameter : clip.model->parameters()) {
    all += parameter.numel();
    if (parameter.requires_grad()) trained += parameter.numel();
  }
  std::cout << Json::object({{"samples", loader.size()},
                             {"batch", step.samples},
                             {"steps", loader.batches() * options.trainer.epochs},
                             {"loss", step.loss.item<double>()},
                             {"parameters", all},
                             {"trained_parameters", trained},
                             {"seconds", stages.json()}})
                   .dump()
            << std::endl;
  return 0;
}

int run(const Options& options) {
  using namespace weft;
  report::Stages stages;
  if (options.trainer.resume.empty() &&
      !checkpoint::Snapshots(fs::path(options.out) / "checkpoints").list().empty())
    throw Error(
        options.out + ": holds a run already; go on with --resume latest, or name another --out",
        ErrorKind::usage);

  const auto tokenizer = find_tokenizer(options);
  nn::seed_all(options.trainer.seed);
  auto image = tower(options.vision, Json::object({{"image_size", options.image_size}}));
  auto text = tower(options.text, Json::object({{"vocab_size", tokenizer->vocab_size()}}));
  models::DualEncoder model(image.encoder, text.encoder, options.model);
  if (options.lock_vision) model->lock_image();
  if (options.lock_text) model->lock_text();
  for (const auto& [folder, locked] :
       {std::pair(&image, options.lock_vision), std::pair(&text, options.lock_text)})
    if (options.grad_checkpointing && !locked && nn::checkpoint_activations(*folder->encoder) == 0)
      throw Error("--grad-checkpointing: " + folder->encoder->info().family +
                      " has no transformer blocks; leave the flag out, or lock the tower",
                  ErrorKind::usage);
  checkpoint::DualEncoderFolder clip{
      .model = model, .image = image, .text = text, .tokenizer = tokenizer};
  if (!image.preprocessor.is_null())
    clip.transform = checkpoint::image_transform(image.preprocessor);
  clip.transform.size = clip.transform.resize = options.image_size;

  data::ImageTextLoaderOptions source{.shards = options.train,
                                      .batch_size = options.batch_size,
                                      .workers = options.workers,
                                      .seed = options.trainer.seed,
                                      .epochs = options.trainer.epochs,
                                      .max_bad_fraction = options.max_bad_fraction,
                                      .transform = clip.transform};
  if (options.dry_run) return dry_run(options, clip, source);
  report::RunLog log(options.out);
  log.config(to_json(options));
  if (!options.tokenizer && !fs::is_directory(options.text))
    tokenizer->save(own_tokenizer(options));
  stages.lap("models");

  eval::FeatureOptions features{.max_text_tokens = options.max_text_tokens,
                                .threads = static_cast<int>(std::max<int64_t>(options.workers, 1)),
                                .precision = options.trainer.precision};
  features.text = options.lock_text;
  data::ImageTextLoaderOptions once = source;  // a plain pass, for features
  once.shuffle = once.drop_last = false;
  once.epochs = 1;

  std::unique_ptr<data::ImageTextLoader> loader;
  std::unique_ptr<train::Task> task;
  if (options.lock_vision) {
    loader = std::make_unique<data::ImageTextLoader>(once);
    report::Progress progress(log.console(), "features", loader->size(), "images");
    features.progress = [&](int64_t done) { progress.update(done); };
    auto pairs = eval::pair_features(*model, *tokenizer, *loader, features, stages);
    progress.finish();
    features.progress = {};
    task = std::make_unique<train::CachedPairTask>(
        model, tokenizer, std::move(pairs), options.batch_size, options.trainer.seed, features);
  } else {
    loader = std::make_unique<data::ImageTextLoader>(source);
    auto stream = std::make_unique<train::StreamPairTask>(model, tokenizer, *loader,
                                                          options.trainer.seed, features);
    if (options.lock_text) stream->keep_text_features(data::read_captions(options.train));
    task = std::move(stream);
  }

  const auto summary = train::Trainer(*model, *task, options.trainer, log).run();
  stages.lap("heads");
  if (loader->bad().total() > 0) log.warn(loader->bad().summary());
  checkpoint::save_dual_encoder(clip, fs::path(options.out) / "model");

  auto result = Json::object();
  std::vector<report::RetrievalExample> examples;
  if (options.val && summary.signal == 0) {
    once.shards = *options.val;
    data::ImageTextLoader val(once);
    features.text = true;
    const auto pairs = eval::pair_features(*model, *tokenizer, val, features, stages);
    const auto rows = eval::embed(*model, pairs);
    const auto recall = eval::retrieval(rows.image, rows.text, pairs.owner);
    auto metrics = recall.metrics();
    for (auto& metric : metrics) metric.first.insert(0, "val/");
    log.scalars(summary.steps, metrics);
    result = recall.json();
    if (options.negatives)
      result.set(*options.negatives,
                 eval::negatives(*model, *tokenizer, pairs, rows,
                                 eval::read_negatives(*options.val, *options.negatives), features));
    once.batch_size = 12;
    if (const auto first = data::ImageTextLoader(once).next())
      examples = eval::retrieval_examples(rows.image, rows.text, pairs, first->pixels);
    if (val.bad().total() > 0) log.warn(val.bad().summary());
    stages.lap("evaluate");
  }
  result.set("steps", summary.steps).set("loss", summary.loss).set("bad", loader->bad().json());
  result.set("seconds", stages.json()).set("total", std::round(stages.total() * 100) / 100);
  log.log("report: " +
          eval::write_clip_report(options.out, result, to_json(options), examples).string());
  std::cout << result.dump() << std::endl;
  return summary.exit_status();
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("clip_train", [&] {
    auto options = parse(argc, argv, defaults(true));
    if (!options.lock_vision || !options.lock_text) options = parse(argc, argv, defaults(false));
    return run(options);
  });
}
