// JPEG files to one normalised batch: decode, resize, centre crop, normalise, on this thread.
#include <ATen/ops/empty.h>

#include <weft/io/image.hpp>
#include <weft/io/tar.hpp>
#include <weft/vision/image_batch.hpp>

#include "works.hpp"

namespace weft::benchmarks {

Work jpeg_to_tensor(const Json& args) {
  std::vector<io::TarMember> files;
  io::TarReader reader(args.at("images").as_string());
  while (auto member = reader.next()) files.push_back(std::move(*member));
  const vision::ImageTransformOptions options{.size = args.at("size").as_int()};
  return [files = std::move(files), options] {
    const auto count = static_cast<int64_t>(files.size()), side = options.size;
    const auto pixels = at::empty({count, 3, side, side}, at::kByte);
    auto* out = pixels.mutable_data_ptr<uint8_t>();
    for (const auto& file : files) {
      const auto image = io::decode_image(std::as_bytes(std::span(file.bytes)), file.name);
      vision::to_pixels_into(image, options, out);
      out += 3 * side * side;
    }
    return Outputs{{"pixels", vision::normalize(pixels, options.mean, options.std)}};
  };
}

}  // namespace weft::benchmarks
