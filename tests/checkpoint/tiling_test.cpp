#include <weft/checkpoint/tiling.hpp>

#include "support/gmock.hpp"

namespace tiling_test {

using namespace weft::test;
using weft::Error;
using weft::Json;
using weft::checkpoint::tiling_config;
using weft::checkpoint::tiling_options;
using weft::vision::ResizeMode;
using weft::vision::Resolution;
using weft::vision::Tiling;

TEST(TilingConfig, ReadsTheDefaultsOfTheirClasses) {
  const auto next =
      tiling_options(Json::parse(R"({"image_processor_type": "LlavaNextImageProcessorFast",
          "size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}})"));
  EXPECT_EQ(next.tiling, Tiling::anyres);
  EXPECT_EQ(next.view.size, 336);
  EXPECT_EQ(next.view.resize_mode, ResizeMode::squash);
  EXPECT_EQ(next.view.filter, weft::io::Filter::bicubic);
  EXPECT_EQ(next.view.mean[0], 0.48145466);
  EXPECT_EQ(next.grid_pinpoints.size(), 5u);
  EXPECT_EQ(next.grid_pinpoints[3], (Resolution{1008, 336}));
  const auto onevision =
      tiling_options(Json::parse(R"({"image_processor_type": "LlavaOnevisionImageProcessor",
          "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]})"));
  EXPECT_EQ(onevision.view.size, 384);
  EXPECT_EQ(onevision.view.mean, (std::vector<double>{0.5, 0.5, 0.5}));
  ASSERT_EQ(onevision.grid_pinpoints.size(), 36u);
  EXPECT_EQ(onevision.grid_pinpoints[8], (Resolution{768, 1152}));
  const auto padded = tiling_options(
      Json::parse(R"({"image_processor_type": "LlavaImageProcessor", "do_pad": true})"));
  EXPECT_EQ(padded.tiling, Tiling::pad);
  EXPECT_EQ(padded.view.size, 224);
  const auto plain =
      tiling_options(Json::parse(R"({"image_processor_type": "CLIPImageProcessor"})"));
  EXPECT_EQ(plain.tiling, Tiling::none);
}

TEST(TilingConfig, ReadsSplitsAndCrops) {
  const auto split =
      tiling_options(Json::parse(R"({"image_processor_type": "Idefics3ImageProcessorFast"})"));
  EXPECT_EQ(split.tiling, Tiling::split);
  EXPECT_EQ(split.view.size, 364);
  EXPECT_EQ(split.longest_edge, 1456);
  EXPECT_EQ(split.view.filter, weft::io::Filter::lanczos);
  EXPECT_EQ(split.view.mean, (std::vector<double>{0.5, 0.5, 0.5}));
  EXPECT_TRUE(split.do_image_splitting);
  const auto smol = tiling_options(Json::parse(
      R"({"image_processor_type": "SmolVLMImageProcessor", "do_image_splitting": false,
          "size": {"longest_edge": 2048}, "max_image_size": {"longest_edge": 512}})"));
  EXPECT_EQ(smol.view.size, 512);
  EXPECT_EQ(smol.longest_edge, 2048);
  EXPECT_FALSE(smol.do_image_splitting);
  // As InternVL's folders hold it: its processor crops all the same.
  auto intern = Json::parse(R"({"image_processor_type": "GotOcr2ImageProcessorFast",
      "crop_to_patches": false, "max_patches": 9, "min_patches": 2, "crop_size": null,
      "do_center_crop": null, "size": {"height": 448, "width": 448}})");
  EXPECT_EQ(tiling_options(intern).max_tiles, 1);
  const auto crop = tiling_options(intern.set("processor_class", "InternVLProcessor"));
  EXPECT_EQ(crop.tiling, Tiling::crop);
  EXPECT_EQ(crop.view.size, 448);
  EXPECT_EQ(crop.view.resize_mode, ResizeMode::squash);
  EXPECT_EQ(crop.min_tiles, 2);
  EXPECT_EQ(crop.max_tiles, 9);
}

TEST(TilingConfig, ReadsWhatItWrites) {
  for (const char* type : {"LlavaNextImageProcessor", "LlavaOnevisionImageProcessor"}) {
    weft::vision::TilingOptions options;
    options.view.size = 16;
    options.view.mean = {0.1, 0.2, 0.3};
    options.view.filter = weft::io::Filter::bilinear;
    options.grid_pinpoints = {{16, 32}, {48, 16}};
    options.pad_several = type == std::string("LlavaOnevisionImageProcessor");
    const auto config = tiling_config(options, type, Json::object({{"kept", 1}}));
    EXPECT_EQ(config.at("kept"), Json(1));
    EXPECT_EQ(weft::to_json(tiling_options(config)), weft::to_json(options));
    options.pad_several = !options.pad_several;
    EXPECT_THAT([&] { tiling_config(options, type); },
                ThrowsMessage<Error>(testing::AllOf(HasSubstr(type), HasSubstr("pad_several"))));
  }
  for (const auto& [type, tiling] : {std::pair{"Idefics3ImageProcessor", Tiling::split},
                                     {"SmolVLMImageProcessor", Tiling::split},
                                     {"GotOcr2ImageProcessor", Tiling::crop}}) {
    weft::vision::TilingOptions options{.tiling = tiling, .grid_pinpoints = {}};
    options.view.size = 16;
    if (tiling == Tiling::crop)
      options.max_tiles = 5;
    else
      options.longest_edge = 48;
    const auto again = tiling_options(tiling_config(options, type));
    EXPECT_EQ(weft::to_json(again), weft::to_json(options)) << type;
    // And nothing of it is left where the tiles are.
    EXPECT_EQ(tiling_options(tiling_config({.view = options.view, .tiling = Tiling::none}, "",
                                           tiling_config(options, type)))
                  .tiling,
              Tiling::none);
  }
  weft::vision::TilingOptions padded{.view = {.size = 16}, .tiling = Tiling::pad};
  const auto again = tiling_options(tiling_config(padded));
  EXPECT_EQ(weft::to_json(again), weft::to_json(padded));
  padded.tiling = Tiling::none;
  EXPECT_EQ(tiling_options(tiling_config(padded, "", tiling_config(again))).tiling, Tiling::none);
}

TEST(TilingConfigErrors, NameTheField) {
  const auto read = [](const char* text) {
    return [=] { tiling_options(Json::parse(text), "p.json"); };
  };
  EXPECT_THAT(read(R"({"image_processor_type": "LlavaNextImageProcessor",
                       "image_grid_pinpoints": [[336, 672], [672]]})"),
              ThrowsMessage<Error>(HasSubstr("p.json: 'image_grid_pinpoints' must be a list of "
                                             "[height, width], found [672]")));
  EXPECT_THAT(
      read(R"({"image_processor_type": "LlavaNextImageProcessor",
                       "image_grid_pinpoints": [[224, 300]]})"),
      ThrowsMessage<Error>(HasSubstr("multiples of the tiles' 224 pixels, found [224, 300]")));
  EXPECT_THAT(read(R"({"image_processor_type": "LlavaNextImageProcessor",
                       "size": {"shortest_edge": 336}})"),
              ThrowsMessage<Error>(HasSubstr("resized to 336 pixels and cropped to 224")));
  EXPECT_THAT(
      read(R"({"image_processor_type": "Idefics3ImageProcessor", "size": {"height": 3}})"),
      ThrowsMessage<Error>(HasSubstr("'size' must be {longest_edge}, found {\"height\":3}")));
  EXPECT_THAT(read(R"({"image_processor_type": "GotOcr2ImageProcessor", "max_patches": 0})"),
              ThrowsMessage<Error>(HasSubstr("'max_patches' 1 to 4096, found 1 and 0")));
  EXPECT_THAT(
      [] { tiling_config({.tiling = Tiling::split}, "GotOcr2ImageProcessor"); },
      ThrowsMessage<Error>(HasSubstr("split tiles are written for Idefics3ImageProcessor")));
  EXPECT_THAT([] { tiling_config({}, "ViTImageProcessor"); },
              ThrowsMessage<Error>(HasSubstr("found 'ViTImageProcessor'")));
}

}  // namespace tiling_test
