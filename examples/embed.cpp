// Embeds texts and images with a dual encoder, or with the one encoder of a Hugging Face folder.
//
//     embed --model runs/x dog.jpg cat.jpg --text "a photo of a dog" "two cats" --similarity
//     embed --model MINILM_DIR --text "a photo of a dog" --json
//
// Embeddings have length 1. Each input is one line of JSON with --json, and one line of text
// without.
#include <filesystem>
#include <iostream>
#include <optional>

#include <torch/types.h>

#include <weft/core/flags.hpp>
#include <weft/data/sample.hpp>
#include <weft/eval/embedder.hpp>
#include <weft/io/image.hpp>

#include "program.hpp"

namespace {

struct Options {
  std::string model;
  std::optional<std::string> tokenizer = {};
  std::vector<std::string> text = {};
  std::optional<weft::nn::Pooling> pool = {};
  int64_t batch_size = 32, max_text_tokens = 64;
  weft::nn::Precision precision = weft::nn::Precision::fp32;
  bool similarity = false, json = false;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("model", o.model, weft::required,
      "run folder, model folder, or the Hugging Face folder of one encoder");
    v("tokenizer", o.tokenizer,
      "tokenizer.json, OpenAI's vocabulary or a folder, instead of the model's own");
    v("text", o.text, "texts to embed");
    v("pool", o.pool, "pooling of a single encoder; by default its own for images, mean for texts");
    v("batch_size", o.batch_size, "inputs a batch");
    v("max_text_tokens", o.max_text_tokens, "longer texts are cut");
    v("precision", o.precision, "bf16 is autocast");
    v("similarity", o.similarity,
      "print the cosine of each image and text (of all pairs where there is one kind only)");
    v("json", o.json, "a line of JSON an input");
  }
};

void print(const char* kind, const std::vector<std::string>& inputs, const torch::Tensor& rows,
           bool json) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto row = rows[static_cast<int64_t>(i)].to(torch::kDouble).contiguous();
    const std::vector<double> values(row.data_ptr<double>(), row.data_ptr<double>() + row.numel());
    if (json) {
      std::cout << weft::Json::object({{kind, inputs[i]}, {"embedding", values}}).dump() << '\n';
    } else {
      std::cout << inputs[i] << '\t' << values.size() << " numbers:";
      for (size_t j = 0; j < std::min<size_t>(values.size(), 4); ++j) std::cout << ' ' << values[j];
      std::cout << " ...\n";
    }
  }
}

/// Words behind --text that are image files: `embed --text "a dog" dog.jpg` means the picture.
void take_images(std::vector<std::string>& texts, std::vector<std::string>& files) {
  const auto is_image = [](const std::string& word) {
    return weft::data::is_image_name(word) && std::filesystem::is_regular_file(word);
  };
  for (const auto& word : texts)
    if (is_image(word)) files.push_back(word);
  std::erase_if(texts, is_image);
}

int run(const Options& options, const std::vector<std::string>& files) {
  using namespace weft;
  if (files.empty() && options.text.empty())
    throw Error("nothing to embed: name image files, or texts behind --text", ErrorKind::usage);
  eval::Embedder embedder(options.model, {.pool = options.pool,
                                          .tokenizer = options.tokenizer.value_or(""),
                                          .features = {.image_batch = options.batch_size,
                                                       .text_batch = options.batch_size,
                                                       .max_text_tokens = options.max_text_tokens,
                                                       .precision = options.precision}});
  torch::Tensor images, texts;  // [I, E], [T, E]
  if (!files.empty()) {
    std::vector<io::Image> decoded;
    for (const auto& file : files) decoded.push_back(io::read_image(file));
    images = embedder.images(decoded);
    print("image", files, images, options.json);
  }
  if (!options.text.empty()) {
    texts = embedder.texts(options.text);
    print("text", options.text, texts, options.json);
  }
  if (options.similarity) {
    const auto &left = images.defined() ? images : texts, &right = texts.defined() ? texts : images;
    const auto cosine = left.mm(right.t()).to(torch::kDouble);
    auto table = Json::array();
    for (int64_t i = 0; i < cosine.size(0); ++i) {
      auto line = Json::array();
      for (int64_t j = 0; j < cosine.size(1); ++j) line.push_back(cosine[i][j].item<double>());
      table.push_back(line);
    }
    std::cout << Json::object({{"rows", images.defined() ? files : options.text},
                               {"columns", texts.defined() ? options.text : files},
                               {"similarity", table}})
                     .dump()
              << '\n';
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("embed", [&] {
    Options options;
    std::vector<std::string> files;
    weft::Flags("embed", "Embeds texts and images.")
        .add(options)
        .positional("files", files, "image files")
        .parse(argc, argv);
    take_images(options.text, files);
    return run(options, files);
  });
}
