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
  int64_t squash;  ///< side of the square that images become; 0 = the shorter side becomes 224
  bool crop;
  bool number_is_square;  ///< what a `size` of one number means
  std::vector<double> mean, std;
};

const std::vector<Defaults>& defaults() {
  static const std::vector<double> clip_mean = {0.48145466, 0.4578275, 0.40821073},
                                   clip_std = {0.26862954, 0.26130258, 0.27577711},
                                   half = {0.5, 0.5, 0.5};
  static const std::vector<Defaults> table = {
      {"BitImageProcessor", 3, 0, true, false, clip_mean, clip_std},
      {"CLIPImageProcessor", 3, 0, true, false, clip_mean, clip_std},
      {"DeiTImageProcessor", 3, 256, true, true, half, half},
      {"SiglipImageProcessor", 3, 224, false, false, half, half},
      {"ViTImageProcessor", 2, 224, false, true, half, half}};
  return table;
}

/// Of weft's own: image processors that are no Hugging Face's may crop as torchvision does.
constexpr const char* kRounding = "crop_rounding";

/// Fields of other processors that change the pixels.
constexpr const char* kRefused[] = {
    "crop_pct",     "do_align_long_axis", "do_flip_channel_order", "do_image_splitting",
    "do_pad",       "do_split_image",     "do_thumbnail",          "max_num_patches",
    "size_divisor", "use_square_size"};

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
    for (const char* key : kRefused) {
      const auto value = json_.get(key);
      if (!value.is_null() && value != Json(false))
        fail("{}: '{}' is {}, and is not supported", origin_, key, value.dump());
    }
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
    const int64_t squash = known_ ? known_->squash : 0;
    const auto size =
        json_.get("size", squash ? Json::object({{"height", squash}, {"width", squash}})
                                 : Json::object({{"shortest_edge", 224}}));
    const bool crop = flag("do_center_crop", known_ != nullptr && known_->crop);
    int64_t cropped = 0;
    if (crop) {
      const auto value = json_.get("crop_size", 224);
      cropped = square_side(value);
      if (cropped <= 0) fail("{}: 'crop_size' must be a square, found {}", origin_, value.dump());
    }
    const bool number_is_square = known_ != nullptr && known_->number_is_square;
    int64_t side = 0;
    if (size.is_object() ? size.contains("shortest_edge") : !number_is_square) {
      if (size.is_object() && size.size() != 1)
        fail("{}: 'size' must be {{shortest_edge}} or a square {{height, width}}, found {}",
             origin_, size.dump());
      side = size.is_object() ? size.at("shortest_edge").as_int() : size.as_int();
      if (!crop)
        fail(
            "{}: 'size' is a shortest edge without a centre crop, which gives images of different "
            "shapes; switch 'do_center_crop' on",
            origin_);
    } else {
      out.resize_mode = vision::ResizeMode::squash;
      side = square_side(size);
      if (side <= 0)
        fail("{}: 'size' must be {{shortest_edge}} or a square {{height, width}}, found {}",
             origin_, size.dump());
    }
    out.size = crop ? cropped : side;
    out.resize = side == out.size ? 0 : side;
    if (json_.contains(kRounding)) from_json(json_.at(kRounding), out.crop_rounding);
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
  if (transform.resize_mode == vision::ResizeMode::longest)
    fail("preprocessor_config.json cannot express the resize_mode longest");
  const bool squash = transform.resize_mode == vision::ResizeMode::squash;
  const auto side = transform.resize > 0 ? transform.resize : transform.size;
  const bool crop = !squash || side != transform.size;
  int resample = 0;
  while (kFilters[resample] != transform.filter) ++resample;
  auto out = kept;
  out.set("image_processor_type", !squash ? "BitImageProcessor"
                                  : crop  ? "DeiTImageProcessor"
                                          : "ViTImageProcessor")
      .set("do_convert_rgb", true)
      .set("do_resize", true)
      .set("resample", resample)
      .set("do_center_crop", crop)
      .set("do_rescale", true)
      .set("rescale_factor", 1.0 / 255)
      .set("do_normalize", true)
      .set("image_mean", transform.mean)
      .set("image_std", transform.std)
      .set("size", squash ? square(side) : Json::object({{"shortest_edge", side}}));
  out.erase("crop_size").erase(kRounding);
  if (crop) out.set("crop_size", square(transform.size));
  if (transform.crop_rounding != vision::CropRounding::down)
    out.set(kRounding, to_json(transform.crop_rounding));
  return out;
}

}  // namespace weft::checkpoint
