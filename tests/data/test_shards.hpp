#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <weft/io/file.hpp>
#include <weft/io/image.hpp>
#include <weft/io/tar.hpp>

#include "support/temp_folder.hpp"

namespace weft::test {

struct TestSample {
  std::string key;
  std::map<std::string, std::string> fields;
};

/// A sample whose image, of one colour, and caption tell its number.
inline TestSample sample_of(int64_t number) {
  io::Image image{8, 8, {}};
  for (int i = 0; i < 64; ++i)
    for (int shift : {0, 8, 16}) image.rgb.push_back(static_cast<uint8_t>(number >> shift));
  auto digits = std::to_string(number);
  const auto key = "k" + std::string(5 - digits.size(), '0') + digits;
  return {key, {{"png", io::encode_png(image)}, {"txt", "caption " + digits}}};
}

inline void write_shard(const std::string& path, const std::vector<TestSample>& samples) {
  io::TarWriter writer(path);
  for (const auto& sample : samples)
    for (const auto& [extension, bytes] : sample.fields)
      writer.add(sample.key + "." + extension, bytes);
  writer.close();
}

/// Shards s-0.tar, s-1.tar ... of the given sizes with the samples 0, 1, 2 ...; returns a pattern.
inline std::string write_shards(const TempFolder& folder, const std::vector<int64_t>& sizes) {
  int64_t number = 0;
  for (size_t shard = 0; shard < sizes.size(); ++shard) {
    std::vector<TestSample> samples;
    for (int64_t i = 0; i < sizes[shard]; ++i) samples.push_back(sample_of(number++));
    write_shard(folder / ("s-" + std::to_string(shard) + ".tar"), samples);
  }
  return folder / ("s-{0.." + std::to_string(sizes.size() - 1) + "}.tar");
}

inline void cut_file(const std::string& path, double fraction) {
  const auto size = static_cast<double>(std::filesystem::file_size(path));
  std::filesystem::resize_file(path, static_cast<uintmax_t>(size * fraction));
}

}  // namespace weft::test
