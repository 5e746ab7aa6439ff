#include <cmath>
#include <string>
#include <string_view>

#include <weft/checkpoint/preprocessor.hpp>

#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

using vision::ImageTransformOptions;

// PIL.Image.Resampling, by its numbers.
constexpr io::Filter kFilters[] = {io::Filter::nearest, io::Filter::lanczos, io::Filter::bilinear,
                                   io::Filter::bicubic, io::Filter::box,     io::Filter::hamming};

struct Defaults {
  std::string_view type;
  int resample;
  bool crop, square;
  std::vector<double> mean, std;
};

const std::vector<Defaults>& defaults() {
  static const std::vector<double> clip_mean = {0.48145466, 0.4578275, 0.40821073},
                                   clip_std = {0.26862954, 0.26130258, 0.27577711},
                                   half = {0.5, 0.5, 0.5};
  static const std::vector<Defaults> table = {
      {"BitImageProcessor", 3, true, false, clip_mean, clip_std},
      {"CLIPImageProcessor", 3, true, false, clip_mean, clip_std},
      {"ViTImageProcessor", 2, false, true, half, half}};
  return table;
}

class Reader {
 public:
  Reader(const Json& json, const std::string& origin) : json_(json), origin_(origin) {
    auto type =
        json.get("image_processor_type", json.get("feature_extractor_type", "")).as_string();
    const auto without = [&](std::string_view suffix) {
      return type.ends_with(suffix) ? type.substr(0, type.size() - suffix.size()) : type;
    };
    type = without("Fast");
    type = without("Pil");
    if (type.ends_with("FeatureExtractor")) type = without("FeatureExtractor") + "ImageProcessor";
    for (const auto& candidate : defaults())
      if (candidate.type == type) known_ = &candidate;
    type_ = type;
  }

  ImageTransformOptions read() const {
    ImageTransformOptions out;
    if (!flag("do_resize", true))
      fail("{}: 'do_resize' is false, and only true is supported", origin_);
    if (!flag("do_rescale", true))
      fail("{}: 'do_rescale' is false, and only true is supported", origin_);
    const double factor = json_.get("rescale_factor", 1.0 / 255).as_double();
    if (std::abs(factor * 255 - 1) > 1e-6)
      fail("{}: 'rescale_factor' is {}, and only 1/255 is supported", origin_, factor);
    if (flag("do_pad", false)) fail("{}: 'do_pad' is true, and only false is supported", origin_);
    read_sizes(out);
    const auto resample = integer("resample", known_ ? Json(known_->resample) : Json());
    if (resample < 0 || resample >= static_cast<int64_t>(std::size(kFilters)))
      fail("{}: 'resample' must be one of Pillow's filters 0 to 5, found {}", origin_, resample);
    out.filter = kFilters[resample];
    const bool normalized = flag("do_normalize", true);
    out.mean = normalized ? channels("image_mean", known_ ? &known_->mean : nullptr)
                          : std::vector<double>{0, 0, 0};
    out.std = normalized ? channels("image_std", known_ ? &known_->std : nullptr)
                         : std::vector<double>{1, 1, 1};
    return out;
  }

 private:
  bool flag(const char* key, bool fallback) const { return json_.get(key, fallback).as_bool(); }

  int64_t integer(const char* key, const Json& fallback) const {
    const auto value = json_.get(key, fallback);
    if (value.is_null())
      fail(
          "{}: the field '{}' is missing, and '{}' names no image processor whose default is known",
          origin_, key, type_);
    return value.as_int();
  }

  std::vector<double> channels(const char* key, const std::vector<double>* fallback) const {
    const auto value = json_.get(key, fallback ? Json(*fallback) : Json());
    if (value.is_null())
      fail(
          "{}: the field '{}' is missing, and '{}' names no image processor whose default is known",
          origin_, key, type_);
    auto out = value.is_number() ? std::vector<double>(3, value.as_double()) : value.as_doubles();
    if (out.size() != 3) fail("{}: '{}' must have 3 values, found {}", origin_, key, value.dump());
    return out;
  }

  // One number, or {height, width} with equal values; 0 where it is neither.
  static int64_t square_side(const Json& value) {
    if (value.is_integer()) return value.as_int();
    if (!value.is_object() || !value.contains("height") || !value.contains("width")) return 0;
    return value.at("height") == value.at("width") ? value.at("height").as_int() : 0;
  }

  void read_sizes(ImageTransformOptions& out) const {
    const bool squares = known_ != nullptr && known_->square;
    const auto size = json_.get("size", squares ? Json::object({{"height", 224}, {"width", 224}})
                                                : Json::object({{"shortest_edge", 224}}));
    const bool crop = flag("do_center_crop", known_ != nullptr && known_->crop);
    int64_t cropped = 0;
    if (crop) {
      const auto value = json_.get("crop_size", 224);
      cropped = square_side(value);
      if (cropped <= 0) fail("{}: 'crop_size' must be a square, found {}", origin_, value.dump());
    }
    if (size.is_object() ? size.contains("shortest_edge") : !squares) {
      if (size.is_object() && size.size() != 1)
        fail("{}: 'size' must be {{shortest_edge}} or a square {{height, width}}, found {}",
             origin_, size.dump());
      const auto edge = size.is_object() ? size.at("shortest_edge").as_int() : size.as_int();
      if (!crop)
        fail(
            "{}: 'size' is a shortest edge without a centre crop, which gives images of different "
            "shapes; switch 'do_center_crop' on",
            origin_);
      out.size = cropped;
      out.resize = edge == cropped ? 0 : edge;
      return;
    }
    out.size = square_side(size);
    out.squash = true;
    if (out.size <= 0)
      fail("{}: 'size' must be {{shortest_edge}} or a square {{height, width}}, found {}", origin_,
           size.dump());
    if (crop && cropped != out.size)
      fail("{}: 'crop_size' {} differs from 'size' {}, which is not supported for squares", origin_,
           cropped, out.size);
  }

  const Json& json_;
  std::string origin_, type_;
  const Defaults* known_ = nullptr;
};

}  // namespace

ImageTransformOptions image_transform(const Json& preprocessor, const std::string& origin) {
  try {
    return Reader(preprocessor, origin).read();
  } catch (const Error& error) {
    const std::string_view message = error.what();
    if (message.starts_with(origin)) throw;
    fail("{}: {}", origin, message);
  }
}

ImageTransformOptions read_preprocessor(const std::filesystem::path& folder) {
  const auto file = folder / "preprocessor_config.json";
  return image_transform(Json::read(file), file.string());
}

Json preprocessor_config(const ImageTransformOptions& transform, const Json& kept) {
  const auto square = [](int64_t side) {
    return Json::object({{"height", side}, {"width", side}});
  };
  int resample = 0;
  while (kFilters[resample] != transform.filter) ++resample;
  auto out = kept;
  out.set("image_processor_type", transform.squash ? "ViTImageProcessor" : "BitImageProcessor")
      .set("do_convert_rgb", true)
      .set("do_resize", true)
      .set("resample", resample)
      .set("do_center_crop", !transform.squash)
      .set("do_rescale", true)
      .set("rescale_factor", 1.0 / 255)
      .set("do_normalize", true)
      .set("image_mean", transform.mean)
      .set("image_std", transform.std);
  if (transform.squash) {
    out.set("size", square(transform.size)).erase("crop_size");
  } else {
    const auto edge = transform.resize > 0 ? transform.resize : transform.size;
    out.set("size", Json::object({{"shortest_edge", edge}}))
        .set("crop_size", square(transform.size));
  }
  return out;
}

}  // namespace weft::checkpoint
