#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>

#include <weft/io/resize.hpp>

#include "core/fail.hpp"
#include "io/resize_kernels.hpp"

namespace weft::io {
namespace {

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double support_of(Filter filter) {
  switch (filter) {
    case Filter::box:
      return 0.5;
    case Filter::bilinear:
    case Filter::hamming:
      return 1.0;
    case Filter::lanczos:
      return 3.0;
    default:
      return 2.0;
  }
}

double weight_of(Filter filter, double x) {
  const double d = std::fabs(x);
  switch (filter) {
    case Filter::box:
      return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    case Filter::bilinear:
      return d < 1.0 ? 1.0 - d : 0.0;
    case Filter::hamming:
      // The window's constants are single precision in Pillow.
      if (d == 0.0) return 1.0;
      if (d >= 1.0) return 0.0;
      return sinc(d) * (0.54f + 0.46f * std::cos(d * std::numbers::pi));
    case Filter::lanczos:
      return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
    default:
      // Keys' cubic convolution with a = -0.5.
      if (d < 1.0) return (1.5 * d - 2.5) * d * d + 1.0;
      if (d < 2.0) return (((d - 5.0) * d + 8.0) * d - 4.0) * -0.5;
      return 0.0;
  }
}

/// Scratch of one thread.
struct Scratch {
  struct Cached {
    Axis axis = {};
    Filter filter = Filter::nearest;
    const ResizeKernels* kernels = nullptr;
  };
  Cached horizontal = {}, vertical = {};
  std::vector<uint8_t> between = {};  // [height, stride], after the horizontal pass
  std::vector<uint8_t> padded = {};   // rows that end too close to the end of the input
  std::vector<double> weights = {};

  void trim() {
    constexpr size_t kKeep = size_t{64} << 20;
    if (between.capacity() > kKeep) std::vector<uint8_t>().swap(between);
  }
};

void fill_axis(Axis& axis, int64_t in, int64_t out, Filter filter, std::vector<double>& weights) {
  axis.in = in;
  axis.out = out;
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double filter_scale = std::max(scale, 1.0);
  const double support = support_of(filter) * filter_scale;
  const double inverse = 1.0 / filter_scale;
  axis.row = (static_cast<int64_t>(std::ceil(support)) * 2 + 1 + 3) / 4 * 4;
  axis.first.resize(static_cast<size_t>(out));
  axis.taps.resize(static_cast<size_t>(out));
  axis.k.assign(static_cast<size_t>(out * axis.row), 0);
  weights.resize(static_cast<size_t>(axis.row));
  for (int64_t i = 0; i < out; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const auto begin = std::max<int64_t>(static_cast<int64_t>(center - support + 0.5), 0);
    const auto end = std::min<int64_t>(static_cast<int64_t>(center + support + 0.5), in);
    const auto taps = static_cast<size_t>(end - begin);
    double sum = 0.0;
    for (size_t t = 0; t < taps; ++t) {
      weights[t] = weight_of(
          filter, (static_cast<double>(static_cast<int64_t>(t) + begin) - center + 0.5) * inverse);
      sum += weights[t];
    }
    int32_t* k = axis.k.data() + i * axis.row;
    for (size_t t = 0; t < taps; ++t) {
      const double weight = sum != 0.0 ? weights[t] / sum : weights[t];
      k[t] = static_cast<int32_t>((weight < 0 ? -0.5 : 0.5) + weight * (1 << kPrecisionBits));
    }
    axis.first[static_cast<size_t>(i)] = static_cast<int32_t>(begin);
    axis.taps[static_cast<size_t>(i)] = static_cast<int32_t>(taps);
  }
}

/// The axis and the fastest kernels that can hold its coefficients.
const Scratch::Cached& axis_for(Scratch::Cached& cached, int64_t in, int64_t out, Filter filter,
                                std::vector<double>& weights) {
  Axis& axis = cached.axis;
  if (cached.kernels && axis.in == in && axis.out == out && cached.filter == filter) return cached;
  cached.kernels = nullptr;
  fill_axis(axis, in, out, filter, weights);
  const auto [low, high] = std::minmax_element(axis.k.begin(), axis.k.end());
  const int64_t largest = std::max<int64_t>(-int64_t{*low}, *high);
  const ResizeKernels* kernels = &portable_resize_kernels();
  for (const auto* candidate : resize_kernels()) {
    if (largest > candidate->max_coefficient) continue;
    kernels = candidate;
    break;
  }
  if (kernels->pack) {
    const size_t groups = axis.k.size() / 4, words = static_cast<size_t>(kernels->words);
    axis.packed.resize(groups * words);
    for (size_t g = 0; g < groups; ++g)
      kernels->pack(axis.k.data() + 4 * g, axis.packed.data() + words * g);
  }
  cached.filter = filter;
  cached.kernels = kernels;
  return cached;
}

/// Rows [begin, end) of `rgb` [height, axis.in, 3] to `out`, `stride` bytes apart.
void horizontal_pass(const uint8_t* rgb, int64_t height, int64_t begin, int64_t end,
                     const Scratch::Cached& axis, Scratch& scratch, uint8_t* out, size_t stride) {
  constexpr size_t kSlack = 16;
  constexpr int kRows = ResizeKernels::kRows;
  const size_t row = 3 * static_cast<size_t>(axis.axis.in);
  const size_t out_row = 3 * static_cast<size_t>(axis.axis.out);
  const size_t total = row * static_cast<size_t>(height);
  // Without room behind the rows of the result, the last write of one would meet the next.
  const bool dense = stride == out_row;
  scratch.padded.resize(kRows * (row + out_row + 2 * kSlack));
  uint8_t* const results = scratch.padded.data() + kRows * (row + kSlack);
  for (int64_t y = begin; y < end; y += kRows) {
    std::array<const uint8_t*, kRows> rows;
    std::array<uint8_t*, kRows> to;
    for (size_t r = 0; r < kRows; ++r) {
      const auto source = std::min(static_cast<size_t>(y) + r, static_cast<size_t>(end - 1));
      rows[r] = rgb + row * source;
      to[r] = dense ? results + (out_row + kSlack) * r
                    : out + stride * (source - static_cast<size_t>(begin));
      if (row * (source + 1) + kSlack > total) {
        uint8_t* copy = scratch.padded.data() + (row + kSlack) * r;
        std::memcpy(copy, rows[r], row);
        rows[r] = copy;
      }
    }
    axis.kernels->horizontal(rows.data(), axis.axis, to.data());
    const auto count = dense ? static_cast<size_t>(std::min<int64_t>(kRows, end - y)) : 0;
    for (size_t r = 0; r < count; ++r)
      std::memcpy(out + stride * (static_cast<size_t>(y - begin) + r), to[r], out_row);
  }
}

void vertical_pass(const uint8_t* in, size_t stride, size_t bytes, const Scratch::Cached& axis,
                   uint8_t* out) {
  for (int64_t y = 0; y < axis.axis.out; ++y)
    axis.kernels->vertical(in, stride, bytes, axis.axis, y, out + bytes * static_cast<size_t>(y));
}

/// Since version 13 Pillow starts with the height where that loses more than twice as many lines as
/// the width. With 8 bits between the passes their order can be seen.
bool vertical_first(int64_t width, int64_t height, int64_t out_width, int64_t out_height) {
  return out_height < height && height - out_height > 2 * (width - out_width);
}

/// Pillow adds the step up instead of multiplying, and leaves black what drifts outside.
std::vector<int64_t> nearest_sources(int64_t in, int64_t out) {
  std::vector<int64_t> sources(static_cast<size_t>(out));
  const double step = static_cast<double>(in) / static_cast<double>(out);
  double at = step * 0.5;
  for (auto& source : sources) {
    source = static_cast<int64_t>(at) < in ? static_cast<int64_t>(at) : -1;
    at += step;
  }
  return sources;
}

void resize_nearest(const uint8_t* rgb, int64_t width, int64_t height, int64_t out_width,
                    int64_t out_height, uint8_t* out) {
  const auto columns = nearest_sources(width, out_width),
             rows = nearest_sources(height, out_height);
  std::memset(out, 0, static_cast<size_t>(3 * out_width * out_height));
  for (int64_t y = 0; y < out_height; ++y) {
    if (rows[static_cast<size_t>(y)] < 0) continue;
    const uint8_t* from = rgb + 3 * width * rows[static_cast<size_t>(y)];
    uint8_t* to = out + 3 * out_width * y;
    for (const int64_t x : columns) {
      if (x >= 0) std::memcpy(to, from + 3 * x, 3);
      to += 3;
    }
  }
}

}  // namespace

void resize_into(const uint8_t* rgb, int64_t width, int64_t height, int64_t out_width,
                 int64_t out_height, Filter filter, uint8_t* out) {
  constexpr int64_t kMaxSide = int64_t{1} << 24, kMaxBytes = int64_t{1} << 31;
  for (const int64_t side : {width, height, out_width, out_height}) {
    if (side < 1 || side > kMaxSide)
      fail("resize: sides must be 1..{} pixels, got {} x {} to {} x {}", kMaxSide, width, height,
           out_width, out_height);
  }
  if (3 * out_width * out_height > kMaxBytes || 3 * out_width * height > kMaxBytes ||
      3 * width * out_height > kMaxBytes)
    fail("resize: {} x {} to {} x {} pixels needs more than {} bytes", width, height, out_width,
         out_height, kMaxBytes);
  const auto out_row = 3 * static_cast<size_t>(out_width);
  if (width == out_width && height == out_height) {
    std::memcpy(out, rgb, out_row * static_cast<size_t>(out_height));
    return;
  }
  if (filter == Filter::nearest)
    return resize_nearest(rgb, width, height, out_width, out_height, out);

  thread_local Scratch scratch;
  const Scratch::Cached *horizontal = nullptr, *vertical = nullptr;
  if (width != out_width)
    horizontal = &axis_for(scratch.horizontal, width, out_width, filter, scratch.weights);
  if (height != out_height)
    vertical = &axis_for(scratch.vertical, height, out_height, filter, scratch.weights);
  if (!vertical) return horizontal_pass(rgb, height, 0, height, *horizontal, scratch, out, out_row);
  if (!horizontal) return vertical_pass(rgb, out_row, out_row, *vertical, out);
  if (vertical_first(width, height, out_width, out_height)) {
    const auto row = 3 * static_cast<size_t>(width);
    scratch.between.resize(row * static_cast<size_t>(out_height));
    vertical_pass(rgb, row, row, *vertical, scratch.between.data());
    horizontal_pass(scratch.between.data(), out_height, 0, out_height, *horizontal, scratch, out,
                    out_row);
  } else {
    const auto [begin, end] = vertical->axis.reach();
    const size_t stride = (out_row + 64) / 64 * 64;
    scratch.between.resize(stride * static_cast<size_t>(height));
    horizontal_pass(rgb, height, begin, end, *horizontal, scratch,
                    scratch.between.data() + stride * static_cast<size_t>(begin), stride);
    vertical_pass(scratch.between.data(), stride, out_row, *vertical, out);
  }
  scratch.trim();
}

Image resize(const Image& image, int64_t width, int64_t height, Filter filter) {
  if (image.width < 1 || image.height < 1 ||
      image.rgb.size() != static_cast<size_t>(3 * image.width * image.height))
    fail("resize: expected 3 bytes a pixel, got {} x {} pixels and {} bytes", image.width,
         image.height, image.rgb.size());
  constexpr int64_t kMaxPixels = (int64_t{1} << 31) / 3;
  if (width < 1 || height < 1 || width > kMaxPixels || height > kMaxPixels / width)
    fail("resize: the new size must be 1..{} pixels, got {} x {}", kMaxPixels, width, height);
  Image out{.width = width, .height = height, .rgb = {}};
  out.rgb.resize(static_cast<size_t>(3 * width * height));
  resize_into(image.rgb.data(), image.width, image.height, width, height, filter, out.rgb.data());
  return out;
}

}  // namespace weft::io
