// How much of a zero-shot accuracy is the prompt?
//
//     prompt_templates --model runs/lit --shards 'clothing-128/val-000000.tar'
//                      --classes clothing-128/classes.json --out studies/prompt_templates
//     prompt_templates --model runs/lit --shards 'flickr8k-128/val-000000.tar' --from-captions 3
//                      --classes nouns.json --out studies/prompt_templates
//
// Scores every template by itself, the classes' own prompts where the file has them, and ensembles
// of the first k templates (Radford et al., 2021, section 3.1.4: unit vectors, their mean, unit
// length again), in the given order and in --seeds random ones. Images are encoded once, texts too.
// Prints a table, writes prompt_templates.svg (a bar each) and prompt_ensembles.svg (accuracy by
// k), and ends in one JSON object.
#include <algorithm>
#include <cctype>
#include <map>
#include <numeric>
#include <random>

#include <ATen/ops/stack.h>

#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/eval/labelled.hpp>
#include <weft/eval/zero_shot.hpp>
#include <weft/report/svg_plot.hpp>

#include "study.hpp"

namespace {

using study::fixed;
using study::spread;
using weft::Json;
namespace eval = weft::eval;

struct Options {
  std::string model, shards, classes;
  std::optional<std::string> templates = {};
  int64_t from_captions = 0;
  study::Common common = {.out = {}, .seeds = 20};

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("model", o.model, weft::required, "run folder or folder of a dual encoder");
    v("shards", o.shards, weft::required, "labelled WebDataset shards");
    v("classes", o.classes, weft::required, "JSON file of the classes");
    v("templates", o.templates,
      "file of templates with {} for the class, a line each; else twelve of weft's own");
    v("from_captions", o.from_captions,
      "captioned shards: an image is of the class that this many of its captions name, where that "
      "is one class; other images are left out. 0 = the shards' labels");
    v("common", o.common);
  }
};

/// Where no --templates are given.
const std::vector<std::string> kTemplates = {"{}",
                                             "a {}",
                                             "a photo of a {}.",
                                             "a photo of the {}.",
                                             "a close-up photo of a {}.",
                                             "a bad photo of a {}.",
                                             "a black and white photo of a {}.",
                                             "a drawing of a {}.",
                                             "there is a {} in the picture.",
                                             "a {} outdoors",
                                             "two {}s",
                                             "someone looks at a {}"};

using Prompts = std::vector<std::vector<std::string>>;  // [C][T]

/// How many captions name a class: as a word of its own, or with an s behind it.
int64_t named_by(const std::vector<std::string>& captions, const std::string& name) {
  const auto letter = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; };
  const auto lower = [](std::string text) {
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
  };
  return std::count_if(captions.begin(), captions.end(), [&](const std::string& caption) {
    const auto text = lower(' ' + caption + "  "), word = lower(name);
    for (auto at = text.find(word); at != text.npos; at = text.find(word, at + 1)) {
      const auto end = at + word.size();
      if (!letter(text[at - 1]) && !letter(text[end + (text[end] == 's' ? 1 : 0)])) return true;
    }
    return false;
  });
}

/// Labelled pixels of captioned shards, as --from-captions says.
std::pair<torch::Tensor, torch::Tensor> read_captioned(weft::data::ImageTextLoader& loader,
                                                       const std::vector<std::string>& names,
                                                       int64_t captions) {
  std::vector<torch::Tensor> pixels;
  std::vector<int64_t> labels;
  while (const auto batch = loader.next()) {
    for (size_t i = 0; i < batch->keys.size(); ++i) {
      std::vector<int64_t> named;
      for (size_t c = 0; c < names.size(); ++c)
        if (named_by(batch->captions[i], names[c]) >= captions)
          named.push_back(static_cast<int64_t>(c));
      if (named.size() != 1) continue;
      labels.push_back(named.front());
      pixels.push_back(batch->pixels[static_cast<int64_t>(i)]);
    }
  }
  if (labels.empty()) throw study::Error("--from-captions: no image is of any one class");
  return {at::stack(pixels), torch::tensor(labels)};
}

/// Zero-shot accuracy of any prompts; every text is encoded once.
class Scorer {
 public:
  Scorer(const Options& options, const std::vector<std::string>& names)
      : clip_(weft::checkpoint::load_dual_encoder(options.model)) {
    if (!clip_.tokenizer) weft::checkpoint::fail_without_tokenizer(options.model);
    const auto tower = eval::image_tower(clip_, /*projected=*/true);
    weft::data::ImageTextLoader loader({.shards = options.shards,
                                        .workers = options.common.workers,
                                        .shuffle = false,
                                        .drop_last = false,
                                        .needs_caption = options.from_captions > 0,
                                        .needs_label = options.from_captions == 0,
                                        .transform = tower.transform});
    weft::report::Stages stages;
    if (options.from_captions > 0) {
      const auto [pixels, labels] = read_captioned(loader, names, options.from_captions);
      images_.features = eval::encode_images(*tower.encoder, tower.encode, pixels, {});
      images_.labels = labels;
    } else {
      images_ =
          eval::labelled_features(tower, loader, {}, stages, static_cast<int64_t>(names.size()));
    }
    counts_ = torch::bincount(images_.labels, {}, static_cast<int64_t>(names.size()));
  }

  double top1(const Prompts& prompts) {
    const auto rows = [&](const std::vector<std::string>& texts) { return encode(texts); };
    return eval::zero_shot(images_.features, eval::zero_shot_classifier(rows, prompts),
                           images_.labels)
        .top1;
  }
  int64_t images() const { return images_.labels.size(0); }
  /// Images of each class.
  std::vector<int64_t> counts() const {
    const auto* first = counts_.const_data_ptr<int64_t>();
    return {first, first + counts_.numel()};
  }

 private:
  torch::Tensor encode(const std::vector<std::string>& texts) {
    std::vector<std::string> fresh;
    for (const auto& text : texts)
      if (known_.emplace(text, torch::Tensor()).second) fresh.push_back(text);
    if (!fresh.empty()) {
      const torch::NoGradGuard no_grad;
      const auto rows =
          clip_.model->project_text(eval::text_features(*clip_.model, *clip_.tokenizer, fresh, {}));
      for (size_t i = 0; i < fresh.size(); ++i) known_[fresh[i]] = rows[static_cast<int64_t>(i)];
    }
    std::vector<torch::Tensor> rows;
    for (const auto& text : texts) rows.push_back(known_.at(text));
    return at::stack(rows);
  }

  weft::checkpoint::DualEncoderFolder clip_;
  eval::LabelledFeatures images_;
  torch::Tensor counts_;                        // [C]
  std::map<std::string, torch::Tensor> known_;  // text -> unit row [E]
};

int run(const Options& options) {
  using namespace weft;
  options.common.check();
  const auto classes = eval::read_classes(options.classes);
  const auto templates = options.templates ? eval::read_templates(*options.templates) : kTemplates;
  report::Stages stages;
  Scorer scorer(options, classes.names);

  std::vector<std::vector<std::string>> rows;
  std::vector<report::Bar> bars;
  auto single = Json::array();
  const auto score = [&](const std::string& name, const Prompts& prompts, size_t group) {
    const double top1 = scorer.top1(prompts);
    rows.push_back({name, std::to_string(prompts.front().size()), fixed(100 * top1, 1) + " %"});
    bars.push_back({.name = name, .value = 100 * top1, .group = group});
    return top1;
  };
  for (const auto& one : templates)
    single.push_back(Json::object(
        {{"template", one}, {"top1", score(one, eval::fill_templates(classes.names, {one}), 0)}}));
  auto result = Json::object({{"study", "prompt_templates"}, {"templates", single}});
  if (!classes.prompts.empty())
    result.set("own_prompts", score("the classes' own prompts", classes.prompts, 1));
  result.set("ensemble", score("all " + std::to_string(templates.size()) + " templates",
                               eval::fill_templates(classes.names, templates), 2));

  // Column k of an order is the ensemble of its first k + 1 templates.
  const auto ensembles = [&](const std::vector<size_t>& order) {
    std::vector<double> top1;
    std::vector<std::string> chosen;
    for (const auto i : order) {
      chosen.push_back(templates[i]);
      top1.push_back(scorer.top1(eval::fill_templates(classes.names, chosen)));
    }
    return top1;
  };
  std::vector<size_t> order(templates.size());
  std::iota(order.begin(), order.end(), 0);
  const auto given = ensembles(order);
  std::vector<std::vector<double>> shuffled;
  for (int64_t seed = 0; seed < options.common.seeds; ++seed) {
    std::mt19937_64 random(static_cast<uint64_t>(seed));
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
    shuffled.push_back(ensembles(order));
  }
  report::Series in_order{"in the given order", {}, {}}, at_random{"in random orders", {}, {}, {}};
  auto curve = Json::array();
  for (size_t k = 0; k < templates.size(); ++k) {
    const auto top1 = spread(shuffled, [k](const auto& run) { return run[k]; });
    in_order.x.push_back(static_cast<double>(k + 1));
    in_order.y.push_back(100 * given[k]);
    at_random.x.push_back(static_cast<double>(k + 1));
    at_random.y.push_back(100 * top1.mean);
    at_random.spread.push_back(100 * top1.deviation);
    curve.push_back(Json::object({{"k", k + 1},
                                  {"given_order", given[k]},
                                  {"mean", top1.mean},
                                  {"deviation", top1.deviation}}));
    rows.push_back({"ensemble of " + std::to_string(k + 1) + ", random orders",
                    std::to_string(k + 1), fixed(top1, 1, 100) + " %"});
  }
  study::print_table({"prompts", "texts a class", "top-1"}, rows);
  study::write(
      options.common, "prompt_templates.svg",
      report::bar_plot(bars, {.title = "zero-shot accuracy by prompt", .x_label = "top-1, %"}));
  study::write(options.common, "prompt_ensembles.svg",
               report::line_plot(
                   {in_order, at_random},
                   {.title = "ensembles of k templates", .x_label = "k", .y_label = "top-1, %"}));
  return study::finish(result.set("ensembles", curve)
                           .set("images", scorer.images())
                           .set("images_by_class", scorer.counts()),
                       options, stages);
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("prompt_templates", [&] {
    Options options;
    weft::Flags("prompt_templates", "Zero-shot accuracy by prompt template.")
        .add(options)
        .parse(argc, argv);
    return run(options);
  });
}
