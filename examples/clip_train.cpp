// Trains a dual encoder (CLIP) on captioned images in WebDataset shards, from scratch or on frozen
// towers (LiT):
//
//     clip_train --train 'scenes/train-*.tar' --val scenes/val-000000.tar --out runs/clip
//                --vision vit_tiny --text text_tiny
//     clip_train --train ... --model CLIP_FOLDER|ViT-B-32 --out runs/tuned
//
// Towers are Hugging Face folders or presets; --model brings both, from a folder of any layout (to
// be tuned further, and saved in that layout) or by open_clip's name. The last line of stdout is
// one JSON object: recalls on --val and seconds by stage.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <optional>

#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/checkpoint/dual_families.hpp>
#include <weft/checkpoint/lm_folder.hpp>
#include <weft/checkpoint/preprocessor.hpp>
#include <weft/core/flags.hpp>
#include <weft/data/augment.hpp>
#include <weft/data/captions.hpp>
#include <weft/eval/clip_report.hpp>
#include <weft/eval/features.hpp>
#include <weft/eval/negatives.hpp>
#include <weft/eval/retrieval.hpp>
#include <weft/nn/random_state.hpp>
#include <weft/report/run_log.hpp>
#include <weft/report/stages.hpp>
#include <weft/tokenizers/bpe_trainer.hpp>
#include <weft/train/contrastive.hpp>
#include <weft/train/rules.hpp>
#include <weft/train/trainer.hpp>

#include "program.hpp"
#include "training.hpp"

namespace {

namespace fs = std::filesystem;

struct Options {
  std::string train, out;
  std::optional<std::string> model = {}, vision = {}, text = {};
  std::optional<std::string> val = {}, negatives = {}, tokenizer = {};
  bool lock_vision = false, lock_text = false, grad_checkpointing = false, shuffle = true;
  weft::models::DualEncoderOptions dual = {};
  weft::data::AugmentOptions augment = {};
  std::optional<int64_t> image_size = {};
  int64_t batch_size = 512, workers = 2, vocab_size = 8000, max_text_tokens = 77;
  double max_bad_fraction = 0.05, layer_decay = 1, patch_dropout = 0;
  bool dry_run = false;
  weft::train::TrainerOptions trainer = {};

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("train", o.train, weft::required,
      "WebDataset shards: braces, wildcards, patterns joined by '::'");
    v("val", o.val, "shards for retrieval at the end");
    v("negatives", o.negatives,
      "key of a --val sample's JSON that holds a wrong caption, such as 'swapped'");
    v("model", o.model,
      "both towers: a folder of Hugging Face, open_clip or weft, or open_clip's name, ViT-B-32");
    v("vision", o.vision,
      "image tower: a folder of Hugging Face or timm, or a preset such as vit_tiny or ViT-B-32");
    v("text", o.text,
      "text tower: a Hugging Face folder, a language model's too, or a preset such as text_tiny");
    v("lock_vision", o.lock_vision, "freeze the image tower; it runs once");
    v("lock_text", o.lock_text, "freeze the text tower; it runs once");
    v("grad_checkpointing", o.grad_checkpointing,
      "compute activations of trained towers again in the backward pass: less memory, more time");
    v("tokenizer", o.tokenizer,
      "tokenizer.json, OpenAI's vocabulary or a folder; else the folder's, else a BPE of captions");
    v("vocab_size", o.vocab_size, "of that BPE");
    v("dual", o.dual);
    v("augment", o.augment);
    v("image_size", o.image_size, "pixels a side; by default the model's");
    v("batch_size", o.batch_size, "samples a step and rank");
    v("shuffle", o.shuffle, "a new order every epoch; else the order of the shards");
    v("workers", o.workers, "threads that decode images");
    v("max_text_tokens", o.max_text_tokens, "longer captions are cut");
    v("max_bad_fraction", o.max_bad_fraction, "largest share of damaged samples");
    v("layer_decay", o.layer_decay,
      "a layer's learning rate is this share of the next one's; for fine-tuning");
    v("patch_dropout", o.patch_dropout, "share of each image's patches to leave out in training");
    v("out", o.out, weft::required, "run folder: config, metrics, report, checkpoints and model");
    v("dry_run", o.dry_run, "build everything, read one batch, say what would be done");
    v("trainer", o.trainer);
  }
};

Options parse(int argc, char** argv, Options options) {
  weft::Flags flags("clip_train", "Trains a dual encoder on captioned images.");
  flags.add(options);
  for (const auto& [flag, other] : {std::pair{"train", "train-data"},
                                    {"val", "val-data"},
                                    {"lock-vision", "lock-image"},
                                    {"text-pool", "text-pooling"}})
    flags.alias(flag, other);
  flags.parse(argc, argv);
  if (options.model.has_value() == (options.vision && options.text))
    throw weft::Error("--model, or both --vision and --text, must name what to train",
                      weft::ErrorKind::usage);
  return options;
}

/// Frozen towers want their patch tokens averaged and little regularisation; training from scratch
/// wants a warm-up. CLIP's towers pool themselves, and a decoder's last token has seen the text.
Options defaults(bool frozen, const std::string& text) {
  const bool decoder = weft::checkpoint::is_language_model(text);
  Options o;
  o.trainer.epochs = 12;
  if (weft::checkpoint::dual_presets().contains(text)) {
    o.dual.image_projection = o.dual.text_projection = weft::models::Projection::linear;
  } else {
    o.dual.image_pool = frozen ? weft::nn::Pooling::cls_mean : weft::nn::Pooling::mean;
    o.dual.text_pool = decoder ? weft::nn::Pooling::last : weft::nn::Pooling::mean;
  }
  o.trainer.wd = frozen ? 0.05 : 0.1;
  o.trainer.warmup = frozen ? 0 : 100;
  o.trainer.lr_scheduler = frozen ? weft::train::Schedule::linear : weft::train::Schedule::cosine;
  if (!frozen) o.trainer.grad_clip_norm = 1;
  return o;
}

fs::path own_tokenizer(const Options& options) { return fs::path(options.out) / "tokenizer.json"; }

/// --tokenizer, else the text folder's, else the run's own: a byte-level BPE of the captions.
std::shared_ptr<weft::tokenizers::Tokenizer> find_tokenizer(const Options& options) {
  using namespace weft;
  if (options.tokenizer) return tokenizers::load_tokenizer(*options.tokenizer);
  if (options.text && fs::is_directory(*options.text))
    return checkpoint::load_text_tokenizer(*options.text);
  if (!options.trainer.resume.empty() && fs::exists(own_tokenizer(options)))
    return tokenizers::load_tokenizer(own_tokenizer(options));
  // In this order, as configurations of CLIP cannot name 2 as the end of the text.
  const std::vector<std::string> special = {"<s>", "</s>", "<pad>"};
  return tokenizers::train_byte_level_bpe(
      data::read_captions(options.train),
      {.vocab_size = options.vocab_size, .special_tokens = special});
}

weft::checkpoint::EncoderFolder tower(const std::string& name, weft::checkpoint::Role role,
                                      const weft::Json& overrides) {
  using namespace weft;
  return fs::is_directory(name) ? checkpoint::load_encoder(name)
                                : checkpoint::make_encoder(name, role, overrides);
}

/// The model to train with its tokenizer: --model, or two towers.
weft::checkpoint::DualEncoderFolder assemble(const Options& options) {
  using namespace weft;
  using checkpoint::Role;
  if (options.model && fs::is_directory(*options.model)) {
    auto clip = checkpoint::load_dual_encoder(*options.model);
    if (options.tokenizer) clip.tokenizer = tokenizers::load_tokenizer(*options.tokenizer);
    if (!clip.tokenizer) checkpoint::fail_without_tokenizer(*options.model);
    return clip;
  }
  const auto tokenizer = find_tokenizer(options);
  nn::seed_all(options.trainer.seed);
  auto image = Json::object(), text = Json::object({{"vocab_size", tokenizer->vocab_size()}});
  if (options.image_size) image.set("image_size", *options.image_size);
  if (checkpoint::dual_presets().contains(options.model.value_or(options.text.value_or("")))) {
    const auto ends = tokenizer->encode("").ids;
    if (ends.empty())
      throw Error(
          "--tokenizer: CLIP's text tower reads the token that ends a text, and this tokenizer "
          "adds "
          "none; name one that does, such as CLIP's",
          ErrorKind::usage);
    text.set("eos_token_id", ends.back());
  }
  checkpoint::DualEncoderFolder clip;
  if (options.model) {
    clip = checkpoint::make_dual_encoder(*options.model, image, text,
                                         Json::object({{"loss", to_json(options.dual.loss)}}));
  } else {
    clip.image = tower(*options.vision, Role::image, image);
    clip.text = tower(*options.text, Role::text, text);
    clip.model = models::DualEncoder(clip.image.encoder, clip.text.encoder, options.dual);
    if (!clip.image.preprocessor.is_null())
      clip.transform = checkpoint::image_transform(clip.image.preprocessor);
  }
  clip.tokenizer = tokenizer;
  return clip;
}

int run(const Options& options) {
  using namespace weft;
  report::Stages stages;
  refuse_old_run(options.out, options.trainer);
  auto clip = assemble(options);
  auto& model = clip.model;
  const auto& tokenizer = clip.tokenizer;
  set_patch_dropout(*model->image, options.patch_dropout);
  if (options.lock_vision) model->lock_image();
  if (options.lock_text) model->lock_text();
  for (const auto& [folder, locked] :
       {std::pair(&clip.image, options.lock_vision), std::pair(&clip.text, options.lock_text)})
    if (options.grad_checkpointing && !locked) checkpoint_tower(*folder->encoder);
  if (options.image_size) clip.transform.size = clip.transform.resize = *options.image_size;

  data::ImageTextLoaderOptions source{.shards = options.train,
                                      .batch_size = options.batch_size,
                                      .workers = options.workers,
                                      .seed = options.trainer.seed,
                                      .shuffle = options.shuffle,
                                      .epochs = options.trainer.passes(),
                                      .max_bad_fraction = options.max_bad_fraction,
                                      .transform = clip.transform};
  if (options.dry_run) {
    data::ImageTextLoader loader(source, data::augmenting(options.augment, source.transform));
    train::StreamPairTask task(model, tokenizer, loader, options.trainer.seed);
    std::cout << dry_run(*model, task, loader.size(), options.trainer).dump() << std::endl;
    return 0;
  }
  report::RunLog log(options.out);
  log.config(to_json(options));
  if (!options.tokenizer && !fs::is_directory(options.model.value_or(options.text.value_or(""))))
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
    loader = std::make_unique<data::ImageTextLoader>(
        source, data::augmenting(options.augment, source.transform));
    auto stream = std::make_unique<train::StreamPairTask>(model, tokenizer, *loader,
                                                          options.trainer.seed, features);
    if (options.lock_text) stream->keep_text_features(data::read_captions(options.train));
    task = std::move(stream);
  }

  auto rule = train::GroupRule(train::open_clip_rule);
  if (options.layer_decay < 1) rule = train::layer_decay(*model, options.layer_decay, rule);
  train::Trainer trainer(*model, *task, options.trainer, log, rule);
  const auto summary = trainer.run();
  if (trainer.average()) trainer.average()->copy_to_parameters();
  stages.lap("heads");
  if (loader->bad().total() > 0) log.warn(loader->bad().summary());
  checkpoint::save_dual_encoder(clip, fs::path(options.out) / "model", clip.layout);

  auto result = Json::object();
  eval::SplitView seen;
  if (options.val && summary.signal == 0) {
    once.shards = *options.val;
    data::ImageTextLoader val(once);
    features.text = true;
    seen.pairs = eval::pair_features(*model, *tokenizer, val, features, stages);
    seen.rows = eval::embed(*model, seen.pairs);
    const auto recall = eval::retrieval(seen.rows.image, seen.rows.text, seen.pairs.owner);
    auto metrics = recall.metrics();
    for (auto& metric : metrics) metric.first.insert(0, "val/");
    log.scalars(summary.steps, metrics);
    result = recall.json();
    if (options.negatives)
      result.set(*options.negatives,
                 eval::negatives(*model, *tokenizer, seen.pairs, seen.rows,
                                 eval::read_negatives(*options.val, *options.negatives), features));
    once.batch_size = 12;
    if (const auto first = data::ImageTextLoader(once).next()) seen.pixels = first->pixels;
    if (val.bad().total() > 0) log.warn(val.bad().summary());
    stages.lap("evaluate");
  }
  result.set("steps", summary.steps).set("loss", summary.loss).set("bad", loader->bad().json());
  result.set("seconds", stages.json()).set("total", std::round(stages.total() * 100) / 100);
  log.log("report: " +
          eval::write_clip_report(options.out, *model, result, to_json(options), seen).string());
  std::cout << result.dump() << std::endl;
  return summary.exit_status();
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("clip_train", [&] {
    const auto first = parse(argc, argv, defaults(true, ""));
    const bool frozen = first.lock_vision && first.lock_text;
    return run(parse(argc, argv, defaults(frozen, first.text.value_or(""))));
  });
}
