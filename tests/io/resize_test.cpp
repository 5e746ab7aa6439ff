#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numbers>
#include <random>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <weft/io/resize.hpp>

namespace resize_test {

using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::io::Filter;
using weft::io::Image;

Image noise(int64_t width, int64_t height, std::mt19937_64& random) {
  Image image{.width = width, .height = height, .rgb = {}};
  image.rgb.resize(static_cast<size_t>(3 * width * height));
  // Saturated pixels make the filters overshoot.
  for (auto& byte : image.rgb) {
    const auto draw = random();
    byte = draw % 3 == 0 ? static_cast<uint8_t>(draw >> 8) : draw % 3 == 1 ? 0 : 255;
  }
  return image;
}

// Pillow's filters, by name of their support and kernel.
struct Kernel {
  double support;
  double (*weight)(double);
};
double sinc(double x) {
  return x == 0 ? 1.0 : std::sin(x * std::numbers::pi) / (x * std::numbers::pi);
}
Kernel kernel_of(Filter filter) {
  switch (filter) {
    case Filter::box:
      return {0.5, [](double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }};
    case Filter::bilinear:
      return {1.0, [](double x) { return std::max(0.0, 1.0 - std::abs(x)); }};
    case Filter::hamming:
      return {1.0, [](double x) {
                const double d = std::abs(x);
                return d >= 1 ? 0.0 : sinc(d) * (0.54f + 0.46f * std::cos(d * std::numbers::pi));
              }};
    case Filter::lanczos:
      return {3.0, [](double x) { return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0.0; }};
    default:
      return {2.0, [](double x) {
                const double d = std::abs(x), a = -0.5;
                if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
                return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0.0;
              }};
  }
}

/// One pass along an axis of `in` positions, `lines` times; the definition.
std::vector<uint8_t> pass(const std::vector<uint8_t>& from, int64_t in, int64_t out, int64_t lines,
                          int64_t step, int64_t line_step, int64_t out_step, int64_t out_line_step,
                          Filter filter) {
  if (in == out) return from;
  const auto kernel = kernel_of(filter);
  std::vector<uint8_t> to(static_cast<size_t>(3 * out * lines));
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double widened = std::max(scale, 1.0), support = kernel.support * widened;
  for (int64_t i = 0; i < out; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const int64_t begin = std::max<int64_t>(0, static_cast<int64_t>(center - support + 0.5));
    const int64_t end = std::min<int64_t>(in, static_cast<int64_t>(center + support + 0.5));
    std::vector<double> weights;
    double sum = 0;
    for (int64_t x = begin; x < end; ++x) {
      weights.push_back(kernel.weight((static_cast<double>(x) - center + 0.5) * (1.0 / widened)));
      sum += weights.back();
    }
    for (int64_t line = 0; line < lines; ++line) {
      for (int64_t channel = 0; channel < 3; ++channel) {
        int64_t total = 1 << 21;
        for (int64_t x = begin; x < end; ++x) {
          const double weight = weights[static_cast<size_t>(x - begin)] / sum * (1 << 22);
          const auto fixed = static_cast<int64_t>(weight < 0 ? weight - 0.5 : weight + 0.5);
          total += fixed * from[static_cast<size_t>(line * line_step + x * step + channel)];
        }
        to[static_cast<size_t>(line * out_line_step + i * out_step + channel)] =
            static_cast<uint8_t>(std::clamp<int64_t>(total >> 22, 0, 255));
      }
    }
  }
  return to;
}

Image definition(const Image& image, int64_t width, int64_t height, Filter filter) {
  Image out = image;
  const auto horizontally = [&] {
    out.rgb = pass(out.rgb, out.width, width, out.height, 3, 3 * out.width, 3, 3 * width, filter);
    out.width = width;
  };
  const bool vertical_first =
      height < image.height && image.height - height > 2 * (image.width - width);
  if (!vertical_first) horizontally();
  const auto row = 3 * out.width;
  out.rgb = pass(out.rgb, out.height, height, out.width, row, 3, row, 3, filter);
  out.height = height;
  if (vertical_first) horizontally();
  return out;
}

constexpr Filter kConvolutions[] = {Filter::bilinear, Filter::bicubic, Filter::box, Filter::hamming,
                                    Filter::lanczos};

TEST(Resize, EqualsTheDefinition) {
  std::mt19937_64 random(1);
  const auto side = [&](int64_t largest) {
    return 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(largest));
  };
  for (int round = 0; round < 200; ++round) {
    const auto image = noise(side(round % 10 == 0 ? 700 : 60), side(60), random);
    const auto width = round % 7 == 0 ? image.width : side(80);
    const auto height = round % 5 == 0 ? image.height : side(80);
    const auto filter = kConvolutions[static_cast<size_t>(round) % std::size(kConvolutions)];
    ASSERT_EQ(weft::io::resize(image, width, height, filter),
              definition(image, width, height, filter))
        << image.width << " x " << image.height << " to " << width << " x " << height << " filter "
        << static_cast<int>(filter);
  }
}

TEST(Resize, NearestTakesThePixelAtTheCentre) {
  std::mt19937_64 random(2);
  const auto image = noise(6, 4, random);
  const auto small = weft::io::resize(image, 3, 2, Filter::nearest);
  for (int64_t y = 0; y < 2; ++y) {
    for (int64_t x = 0; x < 3; ++x) {
      for (int64_t c = 0; c < 3; ++c)
        EXPECT_EQ(small.rgb[static_cast<size_t>(3 * (y * 3 + x) + c)],
                  image.rgb[static_cast<size_t>(3 * ((2 * y + 1) * 6 + 2 * x + 1) + c)]);
    }
  }
}

TEST(Resize, ConstantImagesStayConstant) {
  Image image{.width = 37, .height = 23, .rgb = std::vector<uint8_t>(37 * 23 * 3, 201)};
  for (const auto filter : kConvolutions)
    EXPECT_THAT(weft::io::resize(image, 90, 11, filter).rgb, testing::Each(201));
}

TEST(Resize, ReadsNothingOutsideTheImage) {
  // Exact allocations, for the address sanitizer: around the vector widths and the widest reads.
  std::mt19937_64 random(3);
  for (const int64_t width : {1, 2, 3, 4, 5, 10, 11, 21, 22, 43}) {
    for (const int64_t height : {1, 2, 3, 4, 5, 9}) {
      const auto image = noise(width, height, random);
      const auto exact = std::make_unique<uint8_t[]>(image.rgb.size());
      std::copy(image.rgb.begin(), image.rgb.end(), exact.get());
      const auto out = std::make_unique<uint8_t[]>(7 * 8 * 3);
      weft::io::resize_into(exact.get(), width, height, 7, 8, Filter::bicubic, out.get());
      const auto expected = definition(image, 7, 8, Filter::bicubic);
      EXPECT_TRUE(std::equal(expected.rgb.begin(), expected.rgb.end(), out.get()));
    }
  }
}

TEST(Resize, ErrorsNameTheSizes) {
  const Image image{.width = 2, .height = 2, .rgb = std::vector<uint8_t>(12)};
  EXPECT_THAT([&] { weft::io::resize(image, 0, 3, Filter::bicubic); },
              ThrowsMessage<weft::Error>(HasSubstr("got 0 x 3")));
  EXPECT_THAT([&] { weft::io::resize(image, 1 << 20, 1 << 20, Filter::bicubic); },
              ThrowsMessage<weft::Error>(HasSubstr("got 1048576 x 1048576")));
  EXPECT_THAT([&] { weft::io::resize({.width = 2, .height = 3}, 1, 1, Filter::bicubic); },
              ThrowsMessage<weft::Error>(HasSubstr("2 x 3 pixels and 0 bytes")));
}

TEST(Resize, EqualsPillowOnThousandRandomSizes) {
  const char* python = std::getenv("WEFT_PYTHON");
  if (!python) GTEST_SKIP() << "WEFT_PYTHON names no Python with Pillow";
  struct Case {
    int32_t width, height, new_width, new_height, filter;
  };
  const auto seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937_64 random(seed);
  const auto side = [&](int32_t largest) {
    return static_cast<int32_t>(1 + random() % static_cast<uint64_t>(largest));
  };
  // By Pillow's numbers: nearest 0, lanczos 1, bilinear 2, bicubic 3, box 4, hamming 5.
  constexpr Filter kByNumber[] = {Filter::nearest, Filter::lanczos, Filter::bilinear,
                                  Filter::bicubic, Filter::box,     Filter::hamming};
  std::vector<Case> cases;
  for (int32_t i = 0; i < 1000; ++i) {
    const int32_t most = i % 20 == 0 ? 1500 : 300;
    const int32_t filter = i % 10 < 4 ? 3 : i % 10 < 7 ? 2 : i % 6;
    cases.push_back({side(most), side(300), side(most), side(300), filter});
    if (i % 25 == 0) cases.back().new_width = cases.back().width;
    if (i % 25 == 1) cases.back().new_height = cases.back().height;
  }
  const auto folder = std::filesystem::temp_directory_path();
  const auto stem = fmt::format("weft_resize_{}", ::getpid());
  const auto requests = folder / (stem + ".requests"), results = folder / (stem + ".results");
  std::vector<Image> images;
  {
    std::ofstream file(requests, std::ios::binary);
    for (const auto& c : cases) {
      images.push_back(noise(c.width, c.height, random));
      file.write(reinterpret_cast<const char*>(&c), sizeof(c));
      file.write(reinterpret_cast<const char*>(images.back().rgb.data()),
                 static_cast<std::streamsize>(images.back().rgb.size()));
    }
  }
  const auto command = fmt::format("'{}' '{}' '{}' '{}'", python, WEFT_PILLOW_RESIZE,
                                   requests.string(), results.string());
  const int status = std::system(command.c_str());
  std::ifstream file(results, std::ios::binary);
  std::filesystem::remove(requests);
  std::filesystem::remove(results);
  ASSERT_EQ(status, 0) << command;
  for (size_t i = 0; i < cases.size(); ++i) {
    const auto& c = cases[i];
    Image expected{.width = c.new_width, .height = c.new_height, .rgb = {}};
    expected.rgb.resize(static_cast<size_t>(3 * expected.width * expected.height));
    ASSERT_TRUE(file.read(reinterpret_cast<char*>(expected.rgb.data()),
                          static_cast<std::streamsize>(expected.rgb.size())));
    const auto found = weft::io::resize(images[i], c.new_width, c.new_height,
                                        kByNumber[static_cast<size_t>(c.filter)]);
    ASSERT_TRUE(found == expected) << fmt::format("{} x {} to {} x {}, Pillow's filter {}", c.width,
                                                  c.height, c.new_width, c.new_height, c.filter);
  }
}

}  // namespace resize_test
