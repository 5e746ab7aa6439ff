#include <cstring>
#include <fstream>
#include <functional>

#include <gmock/gmock.h>

#include <weft/checkpoint/dual_families.hpp>
#include <weft/checkpoint/preprocessor.hpp>
#include <weft/io/file.hpp>

#include "support/python.hpp"
#include "support/temp_folder.hpp"

namespace preprocess_parity_test {

using weft::Json;

weft::io::Image noise(int64_t width, int64_t height) {
  weft::io::Image image{width, height, std::vector<uint8_t>(3 * width * height)};
  uint32_t state = 1;
  for (auto& byte : image.rgb) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<uint8_t>(state >> 24);
  }
  return image;
}

/// A folder's configuration and the images that it is tried on.
struct Case {
  std::string file;
  Json config;
  std::vector<weft::io::Image> images;
};

std::vector<weft::io::Image> around(int64_t edge) {
  std::vector<weft::io::Image> images{noise(edge, edge), noise(61, 40), noise(23, 50)};
  // Remainders 0 to 6 on either side, odd and even, beyond the crop and short of it.
  for (int64_t more = 1; more < 7; ++more) {
    images.push_back(noise(edge + more, edge));
    images.push_back(noise(edge, edge + more));
  }
  return images;
}

void expect_reference_bytes(
    const std::vector<Case>& cases,
    const std::function<weft::vision::ImageTransformOptions(const std::filesystem::path&)>& read) {
  const weft::test::TempFolder work;
  const auto file = [](const std::string& folder, const weft::io::Image& image,
                       const char* suffix) {
    return folder + "/" + std::to_string(image.width) + "x" + std::to_string(image.height) + suffix;
  };
  std::vector<std::string> folders;
  for (const auto& [name, config, images] : cases) {
    folders.push_back((work / std::to_string(folders.size())).string());
    std::filesystem::create_directory(folders.back());
    config.write(folders.back() + "/" + name);
    for (const auto& image : images)
      std::ofstream(file(folders.back(), image, ".rgb"), std::ios::binary)
          .write(reinterpret_cast<const char*>(image.rgb.data()),
                 static_cast<std::streamsize>(image.rgb.size()));
  }
  ASSERT_EQ(
      weft::test::run_python_file(WEFT_PARITY_SOURCES "/preprocess.py", folders, work / "log"), 0)
      << weft::io::read_file(work / "log");
  for (size_t i = 0; i < folders.size(); ++i) {
    const auto transform = read(folders[i]);
    for (const auto& image : cases[i].images) {
      const auto expected = weft::io::read_file(file(folders[i], image, ".chw"));
      std::vector<uint8_t> actual(static_cast<size_t>(3 * transform.size * transform.size));
      weft::vision::to_pixels_into(image, transform, actual.data());
      ASSERT_EQ(expected.size(), actual.size());
      EXPECT_EQ(std::memcmp(actual.data(), expected.data(), actual.size()), 0)
          << image.width << " x " << image.height << ", " << cases[i].config.dump();
    }
  }
}

Json square(int64_t side) { return Json::object({{"height", side}, {"width", side}}); }

TEST(PreprocessParity, CropsTheBytesThatTransformersCrops) {
  WEFT_NEEDS_PYTHON();
  std::vector<Case> cases;
  const auto add = [&](const char* type, Json config, int64_t edge) {
    const bool old = std::string_view(type).ends_with("FeatureExtractor");
    config.set(old ? "feature_extractor_type" : "image_processor_type", type);
    cases.push_back({"preprocessor_config.json", config, around(edge)});
  };
  for (const int64_t edge : {12, 13, 16, 17, 19})
    add("CLIPImageProcessor",
        Json::object(
            {{"size", Json::object({{"shortest_edge", edge}})}, {"crop_size", square(16)}}),
        edge);
  add("BitImageProcessor",
      Json::object({{"size", Json::object({{"shortest_edge", 19}})}, {"crop_size", square(16)}}),
      19);
  add("CLIPFeatureExtractor", Json::object({{"size", 16}, {"crop_size", 16}, {"resample", 2}}), 16);
  add("SiglipImageProcessor", Json::object({{"size", square(18)}}), 17);
  add("ViTImageProcessorFast", Json::object({{"size", 18}}), 17);
  add("DeiTImageProcessor", Json::object({{"size", square(19)}, {"crop_size", square(16)}}), 17);
  expect_reference_bytes(cases, weft::checkpoint::read_preprocessor);
}

TEST(PreprocessParity, CropsTheBytesThatOpenClipCrops) {
  WEFT_NEEDS_PYTHON();
  std::vector<Case> cases;
  for (const char* mode : {"shortest", "longest", "squash"})
    for (const char* interpolation : {"bicubic", "bilinear"})
      for (const int64_t size : {16, 17})
        cases.push_back(
            {"open_clip_config.json",
             Json::object({{"preprocess_cfg", Json::object({{"size", size},
                                                            {"interpolation", interpolation},
                                                            {"resize_mode", mode},
                                                            {"fill_color", 7 * (size - 16)}})}}),
             around(size)});
  const auto& family = weft::checkpoint::dual_families().at("open_clip");
  expect_reference_bytes(cases, [&](const std::filesystem::path& folder) {
    return family.read_transform(Json::read(folder / "open_clip_config.json"), {});
  });
}

}  // namespace preprocess_parity_test
