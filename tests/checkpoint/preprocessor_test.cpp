#include <gmock/gmock.h>

#include <weft/checkpoint/preprocessor.hpp>
#include <weft/core/error.hpp>

namespace preprocessor_test {

using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::Error;
using weft::Json;
using weft::checkpoint::image_transform;
using weft::checkpoint::preprocessor_config;
using weft::vision::CropRounding;
using weft::vision::ResizeMode;

TEST(Preprocessor, ReadsTheFormsOfSize) {
  const auto dino = image_transform(Json::parse(
      R"({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "resample": 3,
          "do_center_crop": true, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.2, 0.3, 0.4],
          "image_processor_type": "BitImageProcessor"})"));
  EXPECT_EQ(dino.size, 224);
  EXPECT_EQ(dino.resize, 256);
  EXPECT_EQ(dino.resize_mode, ResizeMode::shortest);
  EXPECT_EQ(dino.filter, weft::io::Filter::bicubic);
  EXPECT_EQ(dino.std, (std::vector<double>{0.2, 0.3, 0.4}));

  const auto vit = image_transform(
      Json::parse(R"({"image_processor_type": "ViTImageProcessorFast", "size": 384})"));
  EXPECT_EQ(vit.size, 384);
  EXPECT_EQ(vit.resize_mode, ResizeMode::squash);
  EXPECT_EQ(vit.filter, weft::io::Filter::bilinear);
  EXPECT_EQ(vit.mean, (std::vector<double>{0.5, 0.5, 0.5}));

  const auto clip = image_transform(Json::parse(
      R"({"feature_extractor_type": "CLIPFeatureExtractor", "size": 336, "crop_size": 336,
                      "image_std": 0.5})"));
  EXPECT_EQ(clip.size, 336);
  EXPECT_EQ(clip.resize, 0);
  EXPECT_EQ(clip.resize_mode, ResizeMode::shortest);
  EXPECT_EQ(clip.mean[0], 0.48145466);
  EXPECT_EQ(clip.std, (std::vector<double>{0.5, 0.5, 0.5}));
}

TEST(Preprocessor, TakesTheDefaultsOfTheNamedProcessor) {
  const auto siglip = image_transform(
      Json::parse(R"({"image_processor_type": "SiglipImageProcessor", "do_convert_rgb": null,
                      "size": {"height": 384, "width": 384}})"));
  EXPECT_EQ(siglip.size, 384);
  EXPECT_EQ(siglip.resize_mode, ResizeMode::squash);
  EXPECT_EQ(siglip.filter, weft::io::Filter::bicubic);
  EXPECT_EQ(siglip.std, (std::vector<double>{0.5, 0.5, 0.5}));
  const auto deit = image_transform(Json::object({{"image_processor_type", "DeiTImageProcessor"}}));
  EXPECT_EQ(deit.size, 224);
  EXPECT_EQ(deit.resize, 256);
  EXPECT_EQ(deit.resize_mode, ResizeMode::squash);
}

TEST(Preprocessor, RoundTripsAndKeepsUnknownFields) {
  weft::vision::ImageTransformOptions crop{.size = 126, .resize = 140, .mean = {.1, .2, .3}};
  crop.filter = weft::io::Filter::lanczos;
  const weft::vision::ImageTransformOptions squash{.size = 64, .resize_mode = ResizeMode::squash};
  const weft::vision::ImageTransformOptions both{.size = 64,
                                                 .resize = 72,
                                                 .resize_mode = ResizeMode::squash,
                                                 .crop_rounding = CropRounding::half_to_even};
  for (const auto& options : {crop, squash, both}) {
    const auto json = preprocessor_config(options, Json::object({{"mine", 1}}));
    EXPECT_EQ(json.at("mine").as_int(), 1);
    EXPECT_EQ(weft::to_json(image_transform(json)), weft::to_json(options));
  }
}

TEST(Preprocessor, WhatWouldGiveOtherPixelsIsAnErrorThatNamesTheField) {
  const auto read = [](const char* key, const char* value) {
    auto json = preprocessor_config({.size = 64});
    json.set(key, Json::parse(value));
    return [json] { image_transform(json, "p.json"); };
  };
  EXPECT_THAT(read("do_center_crop", "false"),
              ThrowsMessage<Error>(HasSubstr("p.json: 'size' is a shortest edge without")));
  EXPECT_THAT(read("rescale_factor", "0.5"), ThrowsMessage<Error>(HasSubstr("'rescale_factor'")));
  EXPECT_THAT(read("crop_size", R"({"height": 3, "width": 4})"),
              ThrowsMessage<Error>(HasSubstr(R"(square, found {"height":3,"width":4})")));
  EXPECT_THAT(read("size", R"({"shortest_edge": 3, "longest_edge": 4})"),
              ThrowsMessage<Error>(HasSubstr("'size' must be")));
  EXPECT_THAT(read("crop_pct", "0.9"), ThrowsMessage<Error>(HasSubstr("'crop_pct' is 0.9")));
  EXPECT_THAT(read("max_num_patches", "256"),
              ThrowsMessage<Error>(HasSubstr("'max_num_patches' is 256, and is not supported")));
  EXPECT_THAT([] { preprocessor_config({.resize_mode = ResizeMode::longest}); },
              ThrowsMessage<Error>(HasSubstr("longest")));
  EXPECT_THAT(read("resample", "9"), ThrowsMessage<Error>(HasSubstr("0 to 5, found 9")));
  EXPECT_THAT(read("do_resize", "false"), ThrowsMessage<Error>(HasSubstr("'do_resize' is false")));
  EXPECT_THAT(
      [] {
        image_transform(Json::object({{"size", 3}, {"crop_size", 3}, {"do_center_crop", true}}));
      },
      ThrowsMessage<Error>(HasSubstr("the field 'resample' is missing")));
}

}  // namespace preprocessor_test
