#include <cmath>

#include <weft/checkpoint/preprocessor.hpp>

#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

// Pillow's Resampling numbers, in the order of io::Filter.
constexpr int kPillow[] = {0, 2, 3, 4, 5, 1};

io::Filter filter_of(int64_t pillow, const std::string& origin) {
  for (size_t i = 0; i < std::size(kPillow); ++i)
    if (kPillow[i] == pillow) return static_cast<io::Filter>(i);
  fail("{}: 'resample' must be one of Pillow's filters 0 to 5, found {}", origin, pillow);
}

/// A square's side from a number or {"height", "width"}.
int64_t square(const Json& size, const char* field, const std::string& origin) {
  if (size.is_number()) return size.as_int();
  if (size.contains("height") && size.contains("width")) {
    const auto height = size.at("height").as_int(), width = size.at("width").as_int();
    if (height == width) return height;
    fail("{}: '{}' is {} x {}; only squares are supported", origin, field, height, width);
  }
  fail("{}: '{}' must be a number or have height and width, found {}", origin, field, size.dump());
}

}  // namespace

vision::ImageTransformOptions image_transform(const Json& preprocessor, const std::string& origin) {
  vision::ImageTransformOptions out;
  if (preprocessor.is_null()) return out;
  const auto flag = [&](const char* name, bool fallback) { return preprocessor.get(name, fallback).as_bool(); };
  if (!flag("do_resize", true)) fail("{}: 'do_resize' is off; images of differing sizes cannot share a batch", origin);
  if (!flag("do_rescale", true) || std::abs(preprocessor.get("rescale_factor", 1.0 / 255).as_double() * 255 - 1) > 1e-6)
    fail("{}: pixels must be rescaled by 1/255, found rescale_factor {}", origin, preprocessor.get("rescale_factor").dump());
  out.filter = filter_of(preprocessor.get("resample", 3).as_int(), origin);
  const auto size = preprocessor.get("size", 224);
  const bool crop = flag("do_center_crop", preprocessor.contains("crop_size"));
  if (size.contains("shortest_edge") || (size.is_number() && crop)) {
    out.resize = size.is_number() ? size.as_int() : size.at("shortest_edge").as_int();
    out.size = crop ? square(preprocessor.get("crop_size", out.resize), "crop_size", origin) : out.resize;
  } else {
    out.resize = square(size, "size", origin);
    out.squash = true;
    out.size = crop ? square(preprocessor.get("crop_size", out.resize), "crop_size", origin) : out.resize;
    if (out.size != out.resize)
      fail("{}: a crop of {} from a squashed square of {} is not supported", origin, out.size, out.resize);
  }
  if (out.size < 1 || out.resize < 1) fail("{}: sizes must be positive, found {} and {}", origin, out.size, out.resize);
  const auto statistics = [&](const char* name, double neutral, const std::vector<double>& fallback) {
    if (!flag("do_normalize", true)) return std::vector<double>(3, neutral);
    if (preprocessor.get(name).is_null()) return fallback;
    auto values = preprocessor.at(name).as_doubles();
    if (values.size() != 3) fail("{}: '{}' must have 3 values, found {}", origin, name, values.size());
    return values;
  };
  out.mean = statistics("image_mean", 0, out.mean);
  out.std = statistics("image_std", 1, out.std);
  return out;
}

vision::ImageTransformOptions read_preprocessor(const std::filesystem::path& folder) {
  const auto file = folder / "preprocessor_config.json";
  return image_transform(Json::read(file), file.string());
}

Json preprocessor_json(const vision::ImageTransformOptions& transform, const Json& base) {
  auto out = base.is_null() ? Json::object({{"image_processor_type", "BitImageProcessor"}, {"do_convert_rgb", true}}) : base;
  const auto side = [](int64_t pixels) { return Json::object({{"height", pixels}, {"width", pixels}}); };
  const int64_t resize = transform.resize > 0 ? transform.resize : transform.size;
  out.set("do_resize", true).set("resample", kPillow[static_cast<size_t>(transform.filter)]);
  out.set("size", transform.squash ? side(transform.size) : Json::object({{"shortest_edge", resize}}));
  out.set("do_center_crop", !transform.squash);
  if (transform.squash) {
    out.erase("crop_size");
  } else {
    out.set("crop_size", side(transform.size));
  }
  out.set("do_rescale", true).set("rescale_factor", 1.0 / 255).set("do_normalize", true);
  return out.set("image_mean", transform.mean).set("image_std", transform.std);
}

}  // namespace weft::checkpoint
