#include "checkpoint/open_clip_transform.hpp"

#include "checkpoint/config_reader.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {

vision::ImageTransformOptions read_open_clip_transform(const Json& config,
                                                       const vision::ImageTransformOptions& other) {
  const auto cfg = config.get("preprocess_cfg", Json::object());
  const ConfigReader read(cfg, "open_clip");
  auto out = other;
  out.size = read.side("size", other.size);
  const auto channels = [&](const char* key, std::vector<double>& values) {
    if (cfg.get(key).is_null()) return;
    values = cfg.at(key).as_doubles();
    if (values.size() != 3)
      fail("open_clip_config.json: '{}' must have 3 values, found {}", key, values.size());
  };
  channels("mean", out.mean);
  channels("std", out.std);
  read.require("mode", "RGB");
  const auto interpolation = read.text("interpolation", "bicubic");
  if (interpolation != "bicubic" && interpolation != "bilinear")
    fail(
        "open_clip_config.json: 'interpolation' is '{}', and only bicubic and bilinear are "
        "supported",
        interpolation);
  out.filter = interpolation == "bicubic" ? io::Filter::bicubic : io::Filter::bilinear;
  const auto mode = read.text("resize_mode", "shortest");
  if (mode != "shortest" && mode != "longest" && mode != "squash")
    fail(
        "open_clip_config.json: 'resize_mode' is '{}', and only shortest, longest and squash are "
        "supported",
        mode);
  out.resize = 0;
  from_json(Json(mode), out.resize_mode);
  out.crop_rounding = vision::CropRounding::half_to_even;
  out.fill_color = read.integer("fill_color", 0);
  if (out.fill_color < 0 || out.fill_color > 255)
    fail("open_clip_config.json: 'fill_color' must be 0 to 255, found {}", out.fill_color);
  return out;
}

void write_open_clip_transform(Json& config, const vision::ImageTransformOptions& transform) {
  if (transform.filter != io::Filter::bicubic && transform.filter != io::Filter::bilinear)
    refuse_option("open_clip", "another resize than bicubic or bilinear");
  if (transform.resize > 0 && transform.resize != transform.size)
    refuse_option("open_clip", "a resize to more than the crop");
  auto cfg = config.get("preprocess_cfg", Json::object());
  cfg.set("size", transform.size)
      .set("mode", "RGB")
      .set("mean", transform.mean)
      .set("std", transform.std)
      .set("interpolation", transform.filter == io::Filter::bicubic ? "bicubic" : "bilinear")
      .set("resize_mode", to_json(transform.resize_mode));
  if (transform.fill_color != 0) cfg.set("fill_color", transform.fill_color);
  config.set("preprocess_cfg", cfg);
}

}  // namespace weft::checkpoint
