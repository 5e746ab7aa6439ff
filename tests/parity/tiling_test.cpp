#include <cstring>

#include <gmock/gmock.h>

#include <weft/checkpoint/tiling.hpp>
#include <weft/core/error.hpp>
#include <weft/io/file.hpp>

#include "support/python.hpp"
#include "support/shared_data.hpp"
#include "support/temp_folder.hpp"

namespace tiling_parity_test {

namespace fs = std::filesystem;
using weft::Json;
using weft::io::Image;

struct Tiled {
  Json config;
  std::vector<Image> images;
  bool several = false;  ///< each as one of several images of a sample
};

/// Holds the tiles of every image to the bytes that transformers makes of it.
void expect_tiles(const std::vector<Tiled>& cases) {
  const weft::test::TempFolder work;
  const auto folder = [&](size_t k) { return work / std::to_string(k); };
  const auto file = [&](size_t k, size_t i, const char* suffix) {
    const auto& image = cases[k].images[i];
    return folder(k) / (std::to_string(i) + "_" + std::to_string(image.width) + "x" +
                        std::to_string(image.height) + suffix);
  };
  std::vector<std::string> folders;
  for (size_t k = 0; k < cases.size(); ++k) {
    fs::create_directories(folder(k));
    folders.push_back(folder(k).string());
    cases[k].config.write(folder(k) / "preprocessor_config.json");
    if (cases[k].several) weft::io::write_file(folder(k) / "several", "");
    for (size_t i = 0; i < cases[k].images.size(); ++i) {
      const auto& rgb = cases[k].images[i].rgb;
      weft::io::write_file(file(k, i, ".rgb"),
                           {reinterpret_cast<const char*>(rgb.data()), rgb.size()});
    }
  }
  ASSERT_EQ(
      weft::test::run_python_file(WEFT_PARITY_SOURCES "/preprocess.py", folders, work / "log"), 0)
      << weft::io::read_file(work / "log");
  for (size_t k = 0; k < cases.size(); ++k) {
    const auto& [config, images, several] = cases[k];
    auto options = weft::checkpoint::tiling_options(config);
    if (several) options.tiling = weft::vision::Tiling::pad;
    for (size_t i = 0; i < images.size(); ++i) {
      const auto expected = weft::io::read_file(file(k, i, ".chw"));
      const auto tiles = weft::vision::to_tiles({images[i]}, options).pixels;
      ASSERT_EQ(static_cast<int64_t>(expected.size()), tiles.numel())
          << images[i].width << " x " << images[i].height;
      EXPECT_EQ(std::memcmp(tiles.const_data_ptr(), expected.data(), expected.size()), 0)
          << images[i].width << " x " << images[i].height << ", " << config.dump();
    }
  }
}

Json square(int64_t side) { return Json::object({{"height", side}, {"width", side}}); }

Json next_config(int64_t side, const Json& pinpoints) {
  return Json::object({{"image_processor_type", "LlavaNextImageProcessor"},
                       {"size", Json::object({{"shortest_edge", side}})},
                       {"crop_size", square(side)},
                       {"image_grid_pinpoints", pinpoints}});
}
Json onevision_config(int64_t side, const Json& pinpoints) {
  return Json::object({{"image_processor_type", "LlavaOnevisionImageProcessor"},
                       {"size", square(side)},
                       {"image_mean", std::vector<double>{0.5, 0.48, 0.4}},
                       {"image_grid_pinpoints", pinpoints}});
}
Json padded_config(int64_t side) {
  return Json::object({{"image_processor_type", "LlavaImageProcessor"},
                       {"do_pad", true},
                       {"size", Json::object({{"shortest_edge", side}})},
                       {"crop_size", square(side)}});
}

Json longest(int64_t side) { return Json::object({{"longest_edge", side}}); }

Json split_config(int64_t side, int64_t whole) {
  return Json::object({{"image_processor_type", "Idefics3ImageProcessor"},
                       {"size", longest(whole)},
                       {"max_image_size", longest(side)}});
}
Json crop_config(int64_t side, int64_t least, int64_t most) {
  return Json::object({{"image_processor_type", "GotOcr2ImageProcessor"},
                       {"crop_to_patches", true},
                       {"size", square(side)},
                       {"min_patches", least},
                       {"max_patches", most}});
}

std::vector<Image> noise() {
  std::vector<Image> out;
  uint32_t state = 1;
  for (const auto& [width, height] : std::vector<std::pair<int64_t, int64_t>>{
           {40, 40}, {61, 40}, {23, 50}, {7, 90}, {101, 9}, {17, 16}, {64, 127}, {3, 1}}) {
    Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(3 * width * height))};
    for (auto& byte : image.rgb) {
      state = state * 1664525 + 1013904223;
      byte = static_cast<uint8_t>(state >> 24);
    }
    out.push_back(std::move(image));
  }
  return out;
}

Json pinpoints(int64_t side, std::initializer_list<std::pair<int64_t, int64_t>> grids) {
  auto out = Json::array();
  for (const auto& [rows, columns] : grids)
    out.push_back(std::vector<int64_t>{rows * side, columns * side});
  return out;
}

TEST(TilingParity, CutsTheBytesThatTransformersCuts) {
  WEFT_NEEDS_PYTHON();
  const auto images = noise();
  const auto onevision = onevision_config(
      13, pinpoints(13, {{1, 1}, {1, 2}, {2, 1}, {2, 2}, {4, 6}, {6, 4}, {1, 6}, {6, 1}}));
  expect_tiles({{next_config(16, pinpoints(16, {{1, 2}, {2, 1}, {2, 2}, {3, 1}, {1, 3}})), images},
                {next_config(15, pinpoints(15, {{2, 3}, {5, 1}, {1, 1}})), images},
                {onevision, images},
                {onevision, images, true},
                {padded_config(17), images},
                {split_config(16, 64), images},
                {split_config(13, 41), images},  // odd sides, stretched to whole tiles
                {split_config(13, 13), images},
                {split_config(16, 64)
                     .set("image_processor_type", "SmolVLMImageProcessor")
                     .set("do_image_splitting", false)
                     .set("resample", 3),
                 images},
                {crop_config(16, 1, 12), images},
                {crop_config(13, 3, 7), images},
                {crop_config(16, 1, 1), images},
                {crop_config(16, 1, 6).set("crop_to_patches", false).set("resample", 2), images}});
}

// Aspect ratios between grids, and on them.
TEST(TilingParity, ChoosesTheGridsThatTransformersChooses) {
  WEFT_NEEDS_PYTHON();
  std::vector<Image> images;
  for (const auto& [width, height] : std::vector<std::pair<int64_t, int64_t>>{
           {4, 4}, {40, 40}, {40, 20}, {8, 4}, {20, 40}, {30, 20}, {90, 40}, {9, 40}, {40, 39}}) {
    Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(3 * width * height))};
    for (size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = static_cast<uint8_t>(37 * i % 253);
    images.push_back(std::move(image));
  }
  std::vector<Tiled> cases;
  for (const int64_t most : {2, 4, 5, 12}) cases.push_back({crop_config(4, 1, most), images});
  for (const int64_t whole : {12, 15, 30}) cases.push_back({split_config(5, whole), images});
  // Beyond the 4096 pixels that the copy may have.
  cases.push_back({split_config(1024, 5000), {images[6]}});
  expect_tiles(cases);
}

TEST(TilingParity, CutsRealImages) {
  WEFT_NEEDS_PYTHON();
  const auto folder = weft::test::shared_file("data/images/ok");
  WEFT_SKIP_WITHOUT(folder);
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<Image> images;
  for (size_t i = 0; i < files.size(); i += 5) {
    auto image = weft::io::read_image(files[i]);
    if (image.width * image.height < 500'000) images.push_back(std::move(image));
  }
  ASSERT_GE(images.size(), 3u);
  auto grids = Json::array();
  for (int64_t rows = 1; rows <= 6; ++rows)
    for (int64_t columns = 1; columns <= 6; ++columns)
      grids.push_back(std::vector<int64_t>{384 * rows, 384 * columns});
  expect_tiles(
      {{next_config(336, pinpoints(336, {{1, 2}, {2, 1}, {2, 2}, {3, 1}, {1, 3}})), images},
       {onevision_config(384, grids), {images[0], images[1], images[2]}},
       {padded_config(336), images},
       {split_config(364, 1456), {images[0], images[1]}},
       {crop_config(448, 1, 12), {images[0], images[1]}}});
}

}  // namespace tiling_parity_test
