#include <weft/checkpoint/preprocessor.hpp>
#include <weft/checkpoint/tiling.hpp>

#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

using vision::Resolution;
using vision::TilingOptions;

constexpr const char *kNext = "LlavaNextImageProcessor",
                     *kOneVision = "LlavaOnevisionImageProcessor", *kPadded = "LlavaImageProcessor";

std::string processor_type(const Json& preprocessor) {
  auto type = preprocessor.get("image_processor_type", "").as_string();
  for (const std::string_view suffix : {"Fast", "Pil"})
    if (type.ends_with(suffix)) type = type.substr(0, type.size() - suffix.size());
  return type;
}

/// The transform of one tile: what the processor is without its tiles.
vision::ImageTransformOptions tile_view(const Json& preprocessor, const std::string& type,
                                        const std::string& origin) {
  auto plain = preprocessor;
  plain.erase("do_pad").erase("image_grid_pinpoints");
  const bool onevision = type == kOneVision;
  plain.set("image_processor_type", onevision ? "SiglipImageProcessor" : "CLIPImageProcessor");
  const TilingOptions defaults;
  plain.set("image_mean", preprocessor.get("image_mean", defaults.view.mean))
      .set("image_std", preprocessor.get("image_std", defaults.view.std));
  if (onevision)
    plain.set("size", preprocessor.get("size", Json::object({{"height", 384}, {"width", 384}})));
  return image_transform(plain, origin);
}

}  // namespace

std::vector<Resolution> grid_pinpoints(const Json& value, const std::string& where) {
  std::vector<Resolution> out;
  if (!value.is_array() || value.size() == 0)
    fail("{}: 'image_grid_pinpoints' must be a list of [height, width], found {}", where,
         value.dump());
  for (size_t i = 0; i < value.size(); ++i) {
    const auto pair = value.at(i);
    if (!pair.is_array() || pair.size() != 2 || !pair.at(0).is_integer() ||
        !pair.at(1).is_integer())
      fail("{}: 'image_grid_pinpoints' must be a list of [height, width], found {}", where,
           pair.dump());
    out.push_back({pair.at(0).as_int(), pair.at(1).as_int()});
  }
  return out;
}

Json grid_pinpoints(const std::vector<Resolution>& value) {
  auto out = Json::array();
  for (const auto& [height, width] : value) out.push_back(std::vector<int64_t>{height, width});
  return out;
}

std::vector<Resolution> onevision_pinpoints() {
  std::vector<Resolution> out;
  for (int64_t rows = 1; rows <= 6; ++rows)
    for (int64_t columns = 1; columns <= 6; ++columns) out.push_back({384 * rows, 384 * columns});
  return out;
}

TilingOptions tiling_options(const Json& preprocessor, const std::string& origin) {
  const auto type = processor_type(preprocessor);
  TilingOptions out;
  if (type == kPadded) {
    const bool pad = preprocessor.get("do_pad", false).as_bool();
    out.tiling = pad ? vision::Tiling::pad : vision::Tiling::none;
    out.view = tile_view(preprocessor, type, origin);
    return out;
  }
  if (type != kNext && type != kOneVision) {
    out.tiling = vision::Tiling::none;
    out.view = image_transform(preprocessor, origin);
    return out;
  }
  out.view = tile_view(preprocessor, type, origin);
  if (out.view.resize != 0)
    fail("{}: tiles are resized to {} pixels and cropped to {}, and only equal sizes are supported",
         origin, out.view.resize, out.view.size);
  out.view.resize_mode = vision::ResizeMode::squash;
  const auto pinpoints = preprocessor.get("image_grid_pinpoints");
  if (!pinpoints.is_null()) {
    out.grid_pinpoints = grid_pinpoints(pinpoints, origin);
  } else if (type == kOneVision) {
    out.grid_pinpoints = onevision_pinpoints();
  }
  for (const auto& [height, width] : out.grid_pinpoints)
    if (height <= 0 || width <= 0 || height % out.view.size != 0 || width % out.view.size != 0)
      fail("{}: 'image_grid_pinpoints' must be multiples of the tiles' {} pixels, found [{}, {}]",
           origin, out.view.size, height, width);
  return out;
}

Json tiling_config(const TilingOptions& options, const std::string& processor, const Json& kept) {
  auto view = options.view;
  if (options.tiling != vision::Tiling::anyres) {
    auto out = preprocessor_config(view, kept);
    out.erase("image_grid_pinpoints").erase("do_pad");
    if (options.tiling == vision::Tiling::none) return out;
    return out.set("image_processor_type", kPadded).set("do_pad", true);
  }
  if (processor != kNext && processor != kOneVision)
    fail("preprocessor_config.json: tiles are written for {} or {}, found '{}'", kNext, kOneVision,
         processor);
  if (processor == kNext) view.resize_mode = vision::ResizeMode::shortest;
  auto out = preprocessor_config(view, kept);
  return out.set("image_processor_type", processor)
      .set("do_pad", true)
      .set("image_grid_pinpoints", grid_pinpoints(options.grid_pinpoints));
}

}  // namespace weft::checkpoint
