// Which of my pictures shows this?
//
//     toy_retrieval --model runs/lit --images PHOTOS --text "a dog on a beach" --image cat.jpg
//                   --out studies/toy_retrieval
//
// Embeds every image in a folder and in those below it, and ranks them by the cosine with each
// query, a text or another image. Prints a table, writes toy_retrieval.html with the nearest images
// beside each query, and ends in one JSON object. A file that is damaged is left out with a
// warning.
#include <weft/data/sample.hpp>
#include <weft/eval/embedder.hpp>
#include <weft/eval/retrieval.hpp>
#include <weft/io/image.hpp>
#include <weft/io/resize.hpp>
#include <weft/report/html.hpp>
#include <weft/report/stages.hpp>

#include "study.hpp"

namespace {

using study::Error;
using study::ErrorKind;
using weft::Json;
namespace fs = std::filesystem;
namespace io = weft::io;

struct Options {
  std::string model, images, out;
  std::vector<std::string> text = {}, image = {};
  std::optional<std::string> tokenizer = {};
  int64_t top = 5, thumbnail = 128;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("model", o.model, weft::required,
      "folder of a dual encoder; for --image alone also of one image encoder");
    v("images", o.images, weft::required, "folder with JPEG, PNG, WebP and BMP files");
    v("text", o.text, "queries in words");
    v("image", o.image, "queries as image files");
    v("tokenizer", o.tokenizer, "tokenizer.json, OpenAI's vocabulary or a folder");
    v("top", o.top, "images shown for each query");
    v("thumbnail", o.thumbnail, "pixels of the longer side on the page");
    v("out", o.out, weft::required, "folder for the page");
  }
};

std::vector<fs::path> image_files(const fs::path& folder) {
  if (!fs::is_directory(folder)) throw Error("--images " + folder.string() + ": no such folder");
  std::vector<fs::path> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && weft::data::is_image_name(entry.path()))
      out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

std::string thumbnail(const io::Image& image, int64_t side) {
  const auto longer = std::max(image.width, image.height);
  const auto scaled = [&](int64_t length) { return std::max<int64_t>(length * side / longer, 1); };
  return io::encode_jpeg(
      io::resize(image, scaled(image.width), scaled(image.height), io::Filter::bicubic), 85);
}

int run(const Options& options) {
  using namespace weft;
  if (options.text.empty() && options.image.empty())
    throw Error("nothing to look for: give --text or --image", ErrorKind::usage);
  if (options.top < 1 || options.thumbnail < 1)
    throw Error("--top and --thumbnail must be positive", ErrorKind::usage);
  report::Stages stages;
  eval::Embedder embedder(options.model, {.tokenizer = options.tokenizer.value_or("")});

  constexpr size_t kBatch = 64;
  std::vector<std::string> files, thumbnails;
  std::vector<torch::Tensor> parts;
  std::vector<io::Image> batch;
  const auto embed_batch = [&] {
    if (!batch.empty()) parts.push_back(embedder.images(batch));
    batch.clear();
  };
  for (const auto& path : image_files(options.images)) {
    try {
      batch.push_back(io::read_image(path));
    } catch (const Error& error) {
      std::cerr << "warning: left out: " << error.what() << std::endl;
      continue;
    }
    files.push_back(fs::relative(path, options.images).string());
    thumbnails.push_back(thumbnail(batch.back(), options.thumbnail));
    if (batch.size() == kBatch) embed_batch();
  }
  embed_batch();
  if (files.empty())
    throw Error("--images " + options.images + ": holds no image that can be read");
  const auto rows = torch::cat(parts);  // [N, E]
  stages.lap("images");

  report::HtmlReport page("The nearest images");
  page.paragraph(std::to_string(files.size()) + " images, by the cosine in the space of " +
                 options.model);
  std::vector<std::vector<std::string>> table;
  auto queries = Json::array();
  const auto answer = [&](const std::string& kind, const std::string& query,
                          const torch::Tensor& row) {  // [1, E]
    const auto found = eval::top_k(row, rows, options.top)[0];
    auto nearest = Json::array();
    for (int64_t i = 0; i < found.size(0); ++i) {
      const auto which = found[i].item<int64_t>();
      const double cosine = row[0].dot(rows[which]).item<double>();
      page.image(thumbnails[which], study::fixed(cosine, 3) + "  " + files[which]);
      table.push_back({i == 0 ? query : "", files[which], study::fixed(cosine, 3)});
      nearest.push_back(Json::object({{"file", files[which]}, {"cosine", cosine}}));
    }
    queries.push_back(Json::object({{"kind", kind}, {"query", query}, {"nearest", nearest}}));
  };
  for (const auto& text : options.text) {
    page.heading(text);
    answer("text", text, embedder.texts({text}));
  }
  for (const auto& file : options.image) {
    const auto image = io::read_image(file);
    page.heading(file).image(thumbnail(image, options.thumbnail), "the query");
    answer("image", file, embedder.images({image}));
  }
  stages.lap("queries");
  study::print_table({"query", "file", "cosine"}, table);
  fs::create_directories(options.out);
  const auto path = fs::path(options.out) / "toy_retrieval.html";
  page.write(path);
  std::cerr << "wrote " << path.string() << std::endl;
  std::cout << Json::object({{"study", "toy_retrieval"},
                             {"images", files.size()},
                             {"queries", queries},
                             {"seconds", stages.json()}})
                   .dump()
            << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("toy_retrieval", [&] {
    Options options;
    weft::Flags("toy_retrieval", "Finds the images of a folder that are nearest to a query.")
        .add(options)
        .parse(argc, argv);
    return run(options);
  });
}
