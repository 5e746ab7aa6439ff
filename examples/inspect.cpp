// Shows what the library sees of a file:
//
//     inspect image photo.jpg [--preprocess MODEL_DIR]
//     inspect text --tokenizer MODEL_DIR "a photo" [--stdin]
//     inspect model MODEL_DIR
//     inspect shards 'data/train-{000000..000006}.tar'
//
// image: size and SHA-256 of the upright RGB bytes. text: ids and tokens; --stdin reads one JSON
// string a line. model: family, configuration, parameters, FLOPs, every tensor, of each tower and
// of what stands beside them; dual encoders, encoders, classifiers, language models and
// vision-language models. shards: samples,
// fields, and what is damaged. --json: one JSON object a line.
#include <algorithm>
#include <utility>

#include <torch/types.h>

#include <weft/checkpoint/classifier_folder.hpp>
#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/checkpoint/lm_folder.hpp>
#include <weft/checkpoint/preprocessor.hpp>
#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/core/flags.hpp>
#include <weft/data/stream.hpp>
#include <weft/data/vlm_inputs.hpp>
#include <weft/io/digest.hpp>
#include <weft/io/image.hpp>
#include <weft/nn/flops.hpp>
#include <weft/tokenizers/tokenizer.hpp>
#include <weft/vision/image_batch.hpp>

#include "program.hpp"

namespace {

using weft::Error;
using weft::ErrorKind;
using weft::Json;

struct Options {
  std::optional<std::string> preprocess = {}, tokenizer = {};
  bool from_stdin = false, json = false;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("preprocess", o.preprocess, "image: model folder whose preprocessing is applied");
    v("tokenizer", o.tokenizer, "text: tokenizer.json, OpenAI's vocabulary or a folder");
    v("stdin", o.from_stdin, "text: read one JSON string a line");
    v("json", o.json, "one JSON object a line");
  }
};

/// A line of JSON, or its members one below the other.
void print(const Json& object, bool json) {
  if (json) {
    std::cout << object.dump() << std::endl;
    return;
  }
  for (const auto& key : object.keys()) {
    const auto value = object.at(key);
    std::cout << key << ": " << (value.is_string() ? value.as_string() : value.dump()) << '\n';
  }
}

void show_image(const std::string& file, const Options& options) {
  const auto image = weft::io::read_image(file);
  auto out = Json::object({{"image", file}, {"width", image.width}, {"height", image.height}});
  out.set("rgb_sha256", weft::io::sha256(std::as_bytes(std::span(image.rgb))));
  if (options.preprocess) {
    const auto transform = weft::checkpoint::read_preprocessor(*options.preprocess);
    const auto pixels = weft::vision::normalize(weft::vision::to_pixels({image}, transform),
                                                transform.mean, transform.std);
    auto means = Json::array();
    for (int64_t c = 0; c < 3; ++c) means.push_back(pixels[0][c].mean().item<double>());
    out.set("transform", weft::to_json(transform))
        .set("shape", pixels.sizes().vec())
        .set("channel_means", means);
  }
  print(out, options.json);
}

void show_texts(std::vector<std::string> texts, const Options& options) {
  if (!options.tokenizer)
    throw Error(
        "inspect text: --tokenizer is missing: a tokenizer.json, OpenAI's vocabulary or a folder",
        ErrorKind::usage);
  const auto tokenizer = weft::tokenizers::load_tokenizer(*options.tokenizer);
  const auto show = [&](const std::string& text) {
    const auto encoding = tokenizer->encode(text);
    print(Json::object({{"ids", encoding.ids}, {"tokens", encoding.tokens}}), options.json);
  };
  for (const auto& text : texts) show(text);
  int64_t number = 0;
  if (options.from_stdin)
    for (std::string line; std::getline(std::cin, line);)
      show(Json::parse(line, "line " + std::to_string(++number) + " of stdin").as_string());
}

Json tensor_line(const torch::OrderedDict<std::string, torch::Tensor>::Item& item) {
  return Json::object({{"name", item.key()},
                       {"shape", item.value().sizes().vec()},
                       {"dtype", std::string(torch::toString(item.value().scalar_type()))}});
}

/// What `out` says of a tower, and its tensors.
void print_tower(Json out, const torch::nn::Module& tower, bool json) {
  auto tensors = Json::array();
  for (const auto& item : tower.named_parameters()) tensors.push_back(tensor_line(item));
  if (json) return print(out.set("tensors", tensors), true);
  print(out, false);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto tensor = tensors.at(i);
    std::cout << "  " << tensor.at("name").as_string() << ' ' << tensor.at("shape").dump() << ' '
              << tensor.at("dtype").as_string() << '\n';
  }
}

int64_t parameters_of(const torch::nn::Module& module) {
  int64_t out = 0;
  for (const auto& parameter : module.parameters()) out += parameter.numel();
  return out;
}

void show_encoder(const std::string& role, const weft::checkpoint::EncoderFolder& folder,
                  const Options& options) {
  const auto& encoder = *folder.encoder;
  const auto info = encoder.info();
  auto out = Json::object({{"role", role},
                           {"family", folder.family},
                           {"parameters", parameters_of(encoder)},
                           {"flops_per_input", weft::nn::flops(encoder)},
                           {"hidden_size", info.hidden_size},
                           {"num_layers", info.num_layers},
                           {"num_heads", info.num_heads}});
  if (info.patch_size > 0)
    out.set("image_size", info.image_size).set("patch_size", info.patch_size);
  if (info.vocab_size > 0)
    out.set("max_tokens", info.max_tokens).set("vocab_size", info.vocab_size);
  print_tower(out.set("config", folder.config), encoder, options.json);
}

void show_language(const weft::checkpoint::LmFolder& folder, const Options& options) {
  const auto info = folder.model->info();
  auto out = Json::object({{"role", "language"},
                           {"family", folder.family},
                           {"parameters", parameters_of(*folder.model)},
                           {"hidden_size", info.hidden_size},
                           {"num_layers", info.num_layers},
                           {"num_heads", info.num_heads},
                           {"vocab_size", info.vocab_size}});
  if (info.max_tokens > 0) out.set("max_tokens", info.max_tokens);
  out.set("end_tokens", weft::checkpoint::end_tokens(folder)).set("config", folder.config);
  print_tower(out, *folder.model, options.json);
}

/// A model's parameters in number, and the lines of those that belong to none of its towers.
std::pair<int64_t, Json> beside_towers(const torch::nn::Module& model,
                                       const std::vector<std::string>& towers) {
  auto heads = Json::array();
  for (const auto& item : model.named_parameters())
    if (std::ranges::none_of(towers, [&](auto& tower) { return item.key().starts_with(tower); }))
      heads.push_back(tensor_line(item));
  return {parameters_of(model), heads};
}

void show_classifier(const std::string& folder, const Options& options) {
  const auto loaded = weft::checkpoint::load_image_classifier(folder);
  const auto [parameters, heads] = beside_towers(*loaded.model, {"encoder."});
  print(Json::object({{"family", "image_classifier"},
                      {"parameters", parameters},
                      {"options", weft::to_json(loaded.model->options)},
                      {"classes", loaded.classes},
                      {"flops_per_input", weft::nn::flops(*loaded.image.encoder)},
                      {"transform", weft::to_json(loaded.transform)},
                      {"tensors", heads}}),
        options.json);
  show_encoder("image", loaded.image, options);
}

void show_vlm(const std::string& path, const Options& options) {
  const auto folder = weft::checkpoint::load_vlm(path);
  const auto [parameters, connector] = beside_towers(*folder.model, {"vision.", "language."});
  const auto tokens = weft::data::visual_tokens(folder);
  print(Json::object({{"family", "vlm"},
                      {"layout", folder.layout.empty() ? "weft" : folder.layout},
                      {"parameters", parameters},
                      {"options", weft::to_json(folder.model->options)},
                      {"tiling", weft::to_json(folder.tiling)},
                      {"tokens_per_image", tokens ? Json(*tokens) : Json()},
                      {"tokenizer", folder.tokenizer != nullptr},
                      {"chat_template", folder.chat.has_value()},
                      {"tensors", connector}}),
        options.json);
  show_encoder("vision", folder.vision, options);
  show_language(folder.language, options);
}

void show_model(const std::string& folder, const Options& options) {
  if (weft::checkpoint::is_vlm(folder)) return show_vlm(folder, options);
  if (!weft::checkpoint::is_dual_encoder(folder)) {
    if (weft::checkpoint::is_image_classifier(folder)) return show_classifier(folder, options);
    if (weft::checkpoint::is_language_model(folder))
      return show_language(weft::checkpoint::load_language_model(folder), options);
    return show_encoder("encoder", weft::checkpoint::load_encoder(folder), options);
  }
  const auto clip = weft::checkpoint::load_dual_encoder(folder);
  const auto [parameters, heads] = beside_towers(*clip.model, {"image.", "text."});
  print(Json::object({{"family", "dual_encoder"},
                      {"parameters", parameters},
                      {"options", weft::to_json(clip.model->options)},
                      {"logit_scale", clip.model->logit_scale.exp().item<double>()},
                      {"flops_per_input",
                       weft::nn::flops(*clip.image.encoder) + weft::nn::flops(*clip.text.encoder)},
                      {"transform", weft::to_json(clip.transform)},
                      {"tensors", heads}}),
        options.json);
  show_encoder("image", clip.image, options);
  show_encoder("text", clip.text, options);
}

void show_shards(const std::string& pattern, const Options& options) {
  weft::data::SampleStream stream(
      {.shards = pattern, .needs_image = false, .needs_caption = false, .may_be_empty = true});
  std::map<std::string, std::pair<int64_t, int64_t>> fields;  // extension -> samples, bytes
  std::map<std::string, int64_t> shards;
  weft::data::BadData bad;
  int64_t samples = 0, captions = 0;
  while (const auto sample = stream.next()) {
    ++samples;
    ++shards[sample->shard];
    for (const auto& [name, bytes] : sample->fields) {
      ++fields[name].first;
      fields[name].second += static_cast<int64_t>(bytes.size());
    }
    try {
      const auto& image = weft::data::image_bytes(*sample);
      weft::io::decode_image(std::as_bytes(std::span(image)), sample->key);
      captions += static_cast<int64_t>(weft::data::captions(*sample).size());
    } catch (const weft::data::BadSample& error) {
      bad.add(error.cause(), sample->shard, sample->offset, error.what());
    } catch (const Error& error) {
      bad.add(weft::data::BadCause::decode_error, sample->shard, sample->offset, error.what());
    }
  }
  bad.add(stream.bad());
  auto by_field = Json::object(), by_shard = Json::object();
  for (const auto& [name, sum] : fields)
    by_field.set(name, Json::object({{"samples", sum.first}, {"bytes", sum.second}}));
  for (const auto& [name, count] : shards) by_shard.set(name, count);
  print(Json::object({{"samples", samples},
                      {"captions", captions},
                      {"fields", by_field},
                      {"shards", by_shard},
                      {"bad", bad.json()}}),
        options.json);
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("inspect", [&] {
    Options options;
    std::string what;
    std::vector<std::string> inputs;
    weft::Flags("inspect", "Shows what the library sees of a file.")
        .command(what, {"image", "text", "model", "shards"}, "what to look at")
        .positional("inputs", inputs, "files, texts, model folders or shard patterns")
        .add(options)
        .parse(argc, argv);
    if (inputs.empty() && !(what == "text" && options.from_stdin))
      throw Error("inspect " + what + ": name what to look at", ErrorKind::usage);
    if (what == "text") show_texts(inputs, options);
    for (const auto& input : inputs) {
      if (what == "image") show_image(input, options);
      if (what == "model") show_model(input, options);
      if (what == "shards") show_shards(input, options);
    }
    return 0;
  });
}
