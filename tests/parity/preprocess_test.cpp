#include <cstring>
#include <fstream>

#include <gmock/gmock.h>

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

// Remainders 0 to 6 on either side, odd and even, beyond the crop and short of it.
TEST(PreprocessParity, CropsTheBytesThatTransformersCrops) {
  WEFT_NEEDS_PYTHON();
  const weft::test::TempFolder work;
  const auto file = [](const std::string& folder, const weft::io::Image& image,
                       const char* suffix) {
    return folder + "/" + std::to_string(image.width) + "x" + std::to_string(image.height) + suffix;
  };
  const auto images_of = [](int64_t edge) {
    std::vector<weft::io::Image> images{noise(edge, edge), noise(61, 40)};
    for (int64_t more = 1; more < 7; ++more) {
      images.push_back(noise(edge + more, edge));
      images.push_back(noise(edge, edge + more));
    }
    return images;
  };
  constexpr int64_t kEdges[] = {12, 13, 16, 17, 19};
  std::vector<std::string> folders;
  for (const auto edge : kEdges) {
    folders.push_back((work / std::to_string(edge)).string());
    std::filesystem::create_directory(folders.back());
    Json::object({{"image_processor_type", "CLIPImageProcessor"},
                  {"size", Json::object({{"shortest_edge", edge}})},
                  {"crop_size", Json::object({{"height", 16}, {"width", 16}})}})
        .write(folders.back() + "/preprocessor_config.json");
    for (const auto& image : images_of(edge))
      std::ofstream(file(folders.back(), image, ".rgb"), std::ios::binary)
          .write(reinterpret_cast<const char*>(image.rgb.data()),
                 static_cast<std::streamsize>(image.rgb.size()));
  }
  ASSERT_EQ(
      weft::test::run_python_file(WEFT_PARITY_SOURCES "/preprocess.py", folders, work / "log"), 0)
      << weft::io::read_file(work / "log");
  for (size_t i = 0; i < folders.size(); ++i) {
    const auto transform = weft::checkpoint::read_preprocessor(folders[i]);
    for (const auto& image : images_of(kEdges[i])) {
      const auto expected = weft::io::read_file(file(folders[i], image, ".chw"));
      std::vector<uint8_t> actual(3 * 16 * 16);
      weft::vision::to_pixels_into(image, transform, actual.data());
      ASSERT_EQ(expected.size(), actual.size());
      EXPECT_EQ(std::memcmp(actual.data(), expected.data(), actual.size()), 0)
          << image.width << " x " << image.height << ", shorter side to " << kEdges[i];
    }
  }
}

}  // namespace preprocess_parity_test
