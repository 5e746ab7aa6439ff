#pragma once

#include <cstdint>
#include <optional>
#include <type_traits>

#include "ops/divisor.hpp"
#include "ops/pack.hpp"

struct CUstream_st;

// Free of torch and of CUDA's headers: kernels.cu runs these functions on the device, the tests run
// them on the CPU.
namespace weft::ops::cuda {

/// How pixels [B, C, H, W] of any strides become patches [B, h * w, C * patch * patch], contiguous.
///
/// A band is the w patches of one image that lie side by side; they follow each other in the
/// output, so a band is `vectors` pieces of `vector` elements, one for a thread. A piece lies
/// inside one patch, and is read as runs of `load` elements that lie inside one row of it.
struct PatchCut {
  int64_t bands = 0;  // B * h
  int64_t image_stride = 0, channel_stride = 0, row_stride = 0, column_stride = 0;
  int64_t h = 0;
  uint32_t patch = 0;
  uint32_t vector = 1, load = 1;
  uint32_t vectors = 0;            // in a band
  uint32_t chunks = 0, chunk = 0;  // a band's share for one block: `chunk` vectors, the last fewer
  Divisor per_patch;               // vectors in a patch
  Divisor per_plane;               // elements in one channel of a patch
  Divisor per_row;                 // elements in one row of a patch
};

/// What one block does at a time.
struct PatchTask {
  int64_t band = 0;
  int64_t source = 0;  // of the band's first pixel
  uint32_t begin = 0, end = 0;
};

constexpr uint32_t kPatchThreads = 256;
constexpr uint32_t kPatchChunk = 8 * kPatchThreads;

struct PixelLayout {
  int64_t batch = 0, channels = 0, height = 0, width = 0;
  int64_t strides[4] = {0, 0, 0, 0};
};

/// The widest accesses that sizes, strides and alignment allow: 16 bytes at most. None where a band
/// has 2^31 elements or more, or nothing at all.
inline std::optional<PatchCut> make_patch_cut(const PixelLayout& pixels, int64_t patch,
                                              uint64_t address, uint32_t in_bytes,
                                              uint32_t out_bytes) {
  const auto h = pixels.height / patch, w = pixels.width / patch;
  const auto size = pixels.channels * patch * patch;
  constexpr int64_t kMost = (int64_t{1} << 31) - 1;
  if (pixels.batch == 0 || size == 0 || h == 0 || w == 0 || w > kMost / size) return {};

  PatchCut cut;
  cut.bands = pixels.batch * h;
  cut.image_stride = pixels.strides[0];
  cut.channel_stride = pixels.strides[1];
  cut.row_stride = pixels.strides[2];
  cut.column_stride = pixels.strides[3];
  cut.h = h;
  cut.patch = static_cast<uint32_t>(patch);
  for (const auto vector : {16 / out_bytes, uint32_t{4}}) {
    if (vector > cut.vector && vector * out_bytes <= 16 && size % vector == 0) cut.vector = vector;
  }
  const auto can_load = [&](uint32_t load) {
    const auto bytes = load * in_bytes;
    const auto aligned = [&](int64_t elements) { return elements * in_bytes % bytes == 0; };
    return bytes <= 16 && patch % load == 0 && pixels.strides[3] == 1 && address % bytes == 0 &&
           aligned(cut.image_stride) && aligned(cut.channel_stride) && aligned(cut.row_stride);
  };
  for (const auto load : {cut.vector, uint32_t{4}, uint32_t{2}}) {
    if (load > cut.load && load <= cut.vector && can_load(load)) cut.load = load;
  }
  cut.vectors = static_cast<uint32_t>(w * size / cut.vector);
  const auto most = (cut.vectors + kPatchChunk - 1) / kPatchChunk;
  cut.chunk = (cut.vectors + most - 1) / most;
  cut.chunks = (cut.vectors + cut.chunk - 1) / cut.chunk;
  cut.per_patch = Divisor(static_cast<uint32_t>(size / cut.vector));
  cut.per_plane = Divisor(static_cast<uint32_t>(patch * patch));
  cut.per_row = Divisor(static_cast<uint32_t>(patch));
  return cut;
}

/// task in [0, bands * chunks).
WEFT_HOST_DEVICE inline PatchTask patch_task(const PatchCut& cut, int64_t task) {
  PatchTask out;
  out.band = task / cut.chunks;
  const auto image = out.band / cut.h;
  out.source = image * cut.image_stride + (out.band - image * cut.h) * cut.patch * cut.row_stride;
  out.begin = static_cast<uint32_t>(task - out.band * cut.chunks) * cut.chunk;
  out.end = cut.vectors - out.begin < cut.chunk ? cut.vectors : out.begin + cut.chunk;
  return out;
}

/// In to Out of the same type, or uint8 to a floating Out minus the offset: exact in fp32 before
/// the one rounding to Out.
template <class Out, class In>
WEFT_HOST_DEVICE Out patch_value(In value, float offset) {
  if constexpr (std::is_same_v<In, Out>)
    return value;
  else
    return static_cast<Out>(static_cast<float>(value) - offset);
}

/// Writes piece t of the task's band.
template <uint32_t kVector, uint32_t kLoad, class In, class Out>
WEFT_HOST_DEVICE void cut_piece(const PatchCut& cut, const PatchTask& task, uint32_t t,
                                const In* in, Out* out, float offset) {
  const auto column = cut.per_patch.quotient(t);  // of patches
  const auto element = (t - column * cut.per_patch.divisor()) * kVector;
  auto channel = cut.per_plane.quotient(element);
  const auto in_plane = element - channel * cut.per_plane.divisor();
  auto y = cut.per_row.quotient(in_plane);
  auto x = in_plane - y * cut.patch;
  const auto left = static_cast<int64_t>(column) * cut.patch;

  Pack<Out, kVector> piece;
  for (uint32_t k = 0; k < kVector; k += kLoad) {
    const auto* source = in + (task.source + channel * cut.channel_stride + y * cut.row_stride +
                               (left + x) * (kLoad > 1 ? 1 : cut.column_stride));
    const auto run = load_pack<kLoad>(source);
    for (uint32_t i = 0; i < kLoad; ++i)
      piece.value[k + i] = patch_value<Out>(run.value[i], offset);
    x += kLoad;
    if (x == cut.patch) {
      x = 0;
      if (++y == cut.patch) {
        y = 0;
        ++channel;
      }
    }
  }
  store_pack(piece, out + (task.band * cut.vectors + t) * kVector);
}

/// Calls f with the cut's vector and load widths as constants.
template <class In, class Out, class F>
void with_patch_widths(const PatchCut& cut, const F& f) {
  const auto with_load = [&](auto vector) {
    constexpr uint32_t kVector = decltype(vector)::value;
    const auto load = [&](auto width) {
      constexpr uint32_t kLoad = decltype(width)::value;
      if constexpr (kLoad <= kVector && kLoad * sizeof(In) <= 16) f(vector, width);
    };
    if (cut.load == 1) return load(std::integral_constant<uint32_t, 1>());
    if (cut.load == 2) return load(std::integral_constant<uint32_t, 2>());
    if (cut.load == 4) return load(std::integral_constant<uint32_t, 4>());
    load(vector);
  };
  constexpr uint32_t kWidest = 16 / sizeof(Out);
  if (cut.vector == kWidest) return with_load(std::integral_constant<uint32_t, kWidest>());
  if constexpr (kWidest > 4)
    if (cut.vector == 4) return with_load(std::integral_constant<uint32_t, 4>());
  with_load(std::integral_constant<uint32_t, 1>());
}

/// Launches the kernel on the current device; errors are left to cudaGetLastError. Compiled for
/// In = Out of unsigned integers (any type of that size), and uint8 -> Half, BFloat16, float,
/// double.
template <class In, class Out>
void launch_patchify(const PatchCut& cut, const In* in, Out* out, float offset,
                     CUstream_st* stream);

}  // namespace weft::ops::cuda
