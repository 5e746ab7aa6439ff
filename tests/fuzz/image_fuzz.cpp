#include <cstddef>
#include <cstdint>
#include <span>

#include <weft/core/error.hpp>
#include <weft/io/image.hpp>

/// Any bytes decode or throw weft::Error.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const weft::io::ImageLimits limits{
      .max_pixels = 1 << 18, .max_bytes = 1 << 20, .max_memory = 16 << 20};
  try {
    const auto image =
        weft::io::decode_image(std::as_bytes(std::span(data, size)), "input", limits);
    if (image.rgb.size() != static_cast<size_t>(3 * image.width * image.height)) __builtin_trap();
  } catch (const weft::Error&) {
  }
  return 0;
}
