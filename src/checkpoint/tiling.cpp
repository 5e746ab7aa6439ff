#include <weft/checkpoint/preprocessor.hpp>
#include <weft/checkpoint/tiling.hpp>

#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

using vision::Resolution;
using vision::TilingOptions;

constexpr const char *kNext = "LlavaNextImageProcessor",
                     *kOneVision = "LlavaOnevisionImageProcessor", *kPadded = "LlavaImageProcessor",
                     *kIdefics = "Idefics3ImageProcessor", *kSmol = "SmolVLMImageProcessor",
                     *kGotOcr = "GotOcr2ImageProcessor";
/// What makes inputs for InternVL, and crops whatever its image processor's own default is.
constexpr const char* kInternVlProcessor = "InternVLProcessor";
/// Fields of which none belongs to the transform of one tile.
constexpr const char* kOfTiles[] = {"crop_to_patches",      "do_image_splitting", "do_pad",
                                    "image_grid_pinpoints", "max_image_size",     "max_patches",
                                    "min_patches",          "return_row_col_info"};

bool splits(const std::string& type) { return type == kIdefics || type == kSmol; }

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
  for (const char* key : kOfTiles) plain.erase(key);
  const bool onevision = type == kOneVision;
  plain.set("image_processor_type", onevision ? "SiglipImageProcessor" : "CLIPImageProcessor");
  const TilingOptions defaults;
  plain.set("image_mean", preprocessor.get("image_mean", defaults.view.mean))
      .set("image_std", preprocessor.get("image_std", defaults.view.std));
  if (onevision)
    plain.set("size", preprocessor.get("size", Json::object({{"height", 384}, {"width", 384}})));
  return image_transform(plain, origin);
}

/// `field` of an object of sizes, {"longest_edge": 364}.
int64_t longest_edge(const Json& preprocessor, const char* field, int64_t otherwise,
                     const std::string& origin) {
  const auto size = preprocessor.get(field, Json::object({{"longest_edge", otherwise}}));
  const auto value = size.is_object() ? size.get("longest_edge") : Json();
  if (!value.is_integer() || value.as_int() <= 0)
    fail("{}: '{}' must be {{longest_edge}}, found {}", origin, field, size.dump());
  return value.as_int();
}

/// A view by SigLIP's fields, with other defaults.
vision::ImageTransformOptions square_view(const Json& preprocessor, const Json& size,
                                          const std::vector<double>& mean,
                                          const std::vector<double>& deviation, int resample,
                                          const std::string& origin) {
  auto plain = preprocessor;
  for (const char* key : kOfTiles) plain.erase(key);
  plain.set("image_processor_type", "SiglipImageProcessor")
      .set("size", size)
      .set("image_mean", preprocessor.get("image_mean", mean))
      .set("image_std", preprocessor.get("image_std", deviation))
      .set("resample", preprocessor.get("resample", resample));
  return image_transform(plain, origin);
}

TilingOptions split_options(const Json& preprocessor, const std::string& origin) {
  const std::vector<double> half(3, 0.5);
  const auto side = longest_edge(preprocessor, "max_image_size", 364, origin);
  const auto square = Json::object({{"height", side}, {"width", side}});
  return {.view = square_view(preprocessor, square, half, half, 1, origin),
          .tiling = vision::Tiling::split,
          .grid_pinpoints = {},
          .longest_edge = longest_edge(preprocessor, "size", int64_t{4} * 364, origin),
          .do_image_splitting = preprocessor.get("do_image_splitting", true).as_bool()};
}

TilingOptions crop_options(const Json& preprocessor, const std::string& origin) {
  const TilingOptions defaults;
  const auto size = preprocessor.get("size", Json::object({{"height", 384}, {"width", 384}}));
  TilingOptions out{
      .view = square_view(preprocessor, size, defaults.view.mean, defaults.view.std, 3, origin),
      .tiling = vision::Tiling::crop,
      .grid_pinpoints = {},
      .min_tiles = preprocessor.get("min_patches", 1).as_int(),
      .max_tiles = preprocessor.get("max_patches", 12).as_int()};
  if (out.min_tiles < 0 || out.max_tiles < 1 || out.max_tiles > 4096)
    fail("{}: 'min_patches' must not be negative and 'max_patches' 1 to 4096, found {} and {}",
         origin, out.min_tiles, out.max_tiles);
  if (!preprocessor.get("crop_to_patches", false).as_bool() &&
      preprocessor.get("processor_class", "").as_string() != kInternVlProcessor)
    out.max_tiles = 1;
  return out;
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
  if (splits(type)) return split_options(preprocessor, origin);
  if (type == kGotOcr) return crop_options(preprocessor, origin);
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
  out.pad_several = type == kOneVision;
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
  const auto plain = [&] {
    auto out = preprocessor_config(view, kept);
    for (const char* key : kOfTiles) out.erase(key);
    return out;
  };
  const auto need = [&](bool known, std::string_view names) {
    if (!known)
      fail("preprocessor_config.json: {} tiles are written for {}, found '{}'",
           to_json(options.tiling).as_string(), names, processor);
  };
  switch (options.tiling) {
    case vision::Tiling::none:
      return plain();
    case vision::Tiling::pad:
      return plain().set("image_processor_type", kPadded).set("do_pad", true);
    case vision::Tiling::split:
      need(splits(processor), std::string(kIdefics) + " or " + kSmol);
      return plain()
          .set("image_processor_type", processor)
          .set("do_pad", true)
          .set("do_image_splitting", options.do_image_splitting)
          .set("size", Json::object({{"longest_edge", options.longest_edge}}))
          .set("max_image_size", Json::object({{"longest_edge", view.size}}));
    case vision::Tiling::crop:
      need(processor == kGotOcr, kGotOcr);
      return plain()
          .set("image_processor_type", processor)
          .set("crop_to_patches", true)
          .set("min_patches", options.min_tiles)
          .set("max_patches", options.max_tiles);
    case vision::Tiling::anyres:
      break;
  }
  if (processor != kNext && processor != kOneVision)
    fail("preprocessor_config.json: tiles are written for {} or {}, found '{}'", kNext, kOneVision,
         processor);
  if (options.pad_several != (processor == kOneVision))
    fail("preprocessor_config.json: of several images {}, found pad_several = {}",
         processor == kOneVision ? std::string(kOneVision) + " pads each to a square"
                                 : processor + " cuts each into tiles",
         options.pad_several);
  if (processor == kNext) view.resize_mode = vision::ResizeMode::shortest;
  return plain()
      .set("image_processor_type", processor)
      .set("do_pad", true)
      .set("image_grid_pinpoints", grid_pinpoints(options.grid_pinpoints));
}

}  // namespace weft::checkpoint
