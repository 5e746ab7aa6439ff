#include <cmath>

#include <gmock/gmock.h>

#include <ATen/ATen.h>

#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/checkpoint/dual_families.hpp>
#include <weft/io/file.hpp>
#include <weft/vision/vision_transformer.hpp>

#include "support/python.hpp"
#include "support/temp_folder.hpp"

namespace presets_test {

using weft::Json;
using weft::checkpoint::dual_presets;

// Every name is open_clip's with open_clip's configuration, and a fresh model has the mean and the
// spread of open_clip's in every tensor.
TEST(ParityPresets, EqualOpenClipsConfigurationsAndInitialisation) {
  WEFT_NEEDS_PYTHON();
  const weft::test::TempFolder folder;
  const auto log = folder / "log.txt";
  std::vector<std::string> arguments = {folder.path().string()};
  for (const auto& name : dual_presets().names()) arguments.push_back(name);
  ASSERT_EQ(
      weft::test::run_python_file(WEFT_PARITY_SOURCES "/open_clip_presets.py", arguments, log), 0)
      << weft::io::read_file(log);
  const auto configs = Json::read(folder / "configs.json");
  EXPECT_GE(configs.size(), 50u);
  for (const auto& name : configs.keys())
    EXPECT_TRUE(dual_presets().at(name) == configs.at(name))
        << name << ": " << dual_presets().at(name).dump() << "\n"
        << configs.at(name).dump();

  const auto fresh = weft::checkpoint::make_dual_encoder("ViT-S-32-alt");
  weft::checkpoint::save_dual_encoder(fresh, folder / "saved", "open_clip");
  const auto expected = Json::read(folder / "init.json");
  const auto file = weft::io::Safetensors::open(folder / "saved/open_clip_model.safetensors");
  const auto key_map = weft::checkpoint::dual_families().at("open_clip").key_map(fresh.config);
  size_t count = 0;
  for (const auto& [name, tensor] : key_map.save(weft::checkpoint::named_tensors(*fresh.model))) {
    SCOPED_TRACE(name);
    const auto wanted = expected.at("state." + name).as_doubles();
    const auto n = static_cast<double>(tensor.numel());
    const auto spread = std::max(wanted[1], 1e-9);
    EXPECT_NEAR(tensor.mean().item<double>(), wanted[0], 6 * spread * std::sqrt(2 / n) + 1e-9);
    EXPECT_NEAR(tensor.std(/*unbiased=*/false).item<double>(), wanted[1],
                6 * spread / std::sqrt(n) + 1e-9);
    ++count;
  }
  EXPECT_EQ(count, expected.size());
}

// timm's names of architectures stand for what timm builds.
TEST(ParityPresets, TimmsNamesMeanWhatTimmBuilds) {
  WEFT_NEEDS_PYTHON();
  std::vector<std::string> names;
  for (const auto* size : {"tiny_patch16", "small_patch16", "small_patch32", "base_patch8",
                           "base_patch16", "base_patch32", "large_patch16", "large_patch32"})
    names.push_back("vit_" + std::string(size) + "_224");
  for (const auto* rest : {"small_patch16_384",
                           "base_patch16_384",
                           "huge_patch14_224",
                           "giant_patch14_224",
                           "gigantic_patch14_224",
                           "medium_patch16_clip_224",
                           "xsmall_patch16_clip_224",
                           "base_patch16_plus_240",
                           "base_patch32_plus_256",
                           "base_patch16_plus_clip_240",
                           "base_patch16_clip_224",
                           "base_patch16_clip_quickgelu_224",
                           "base_patch32_clip_256",
                           "large_patch14_clip_336",
                           "huge_patch14_clip_378",
                           "giant_patch14_clip_224",
                           "gigantic_patch14_clip_224",
                           "betwixt_patch32_clip_224",
                           "base_patch16_siglip_224",
                           "base_patch16_siglip_512",
                           "base_patch32_siglip_256",
                           "large_patch16_siglip_384",
                           "large_patch16_siglip_512",
                           "so400m_patch14_siglip_378",
                           "so400m_patch16_siglip_256",
                           "giantopt_patch16_siglip_256",
                           "base_patch16_siglip_gap_256",
                           "so400m_patch14_siglip_gap_896",
                           "small_patch14_dinov2",
                           "base_patch14_dinov2",
                           "large_patch14_reg4_dinov2",
                           "giant_patch14_dinov2",
                           "giant_patch14_reg4_dinov2",
                           "wee_patch16_reg1_gap_256",
                           "little_patch16_reg4_gap_256",
                           "medium_patch16_reg4_gap_256",
                           "mediumd_patch16_reg4_gap_384",
                           "betwixt_patch16_reg4_gap_256",
                           "base_patch16_reg4_gap_256"})
    names.push_back("vit_" + std::string(rest));
  const weft::test::TempFolder folder;
  auto arguments = names;
  arguments.insert(arguments.begin(), "--timm");
  const auto log = folder / "log.txt";
  ASSERT_EQ(
      weft::test::run_python_file(WEFT_PARITY_SOURCES "/open_clip_presets.py", arguments, log), 0)
      << weft::io::read_file(log);
  const auto text = weft::io::read_file(log);
  const auto timm = Json::parse(text.substr(text.find("{\"vit_")));
  const auto& family = weft::checkpoint::families().at("timm_vit");
  for (const auto& name : names) {
    SCOPED_TRACE(name);
    const auto config = Json::object({{"architecture", name}});
    const auto expected = timm.at(name);
    // One block stands for all: the larger models do not fit in memory.
    const auto shapes = expected.at("shapes");
    int64_t depth = 0;
    for (const auto& key : shapes.keys())
      if (key.starts_with("blocks."))
        depth = std::max<int64_t>(depth, std::stoll(key.substr(7)) + 1);
    const auto one = Json(config).set("model_args", Json::object({{"depth", 1}}));
    const auto encoder = family.make(one, [](std::string_view) { return true; });
    EXPECT_EQ(family
                  .make(Json(config).set("model_args",
                                         Json::object({{"embed_dim", 16}, {"num_heads", 1}})),
                        {})
                  ->info()
                  .num_layers,
              depth);
    const auto& o = dynamic_cast<weft::vision::VisionTransformerImpl&>(*encoder).options;
    EXPECT_EQ(o.eps, expected.at("eps").as_double());
    EXPECT_EQ(o.num_heads, expected.at("num_heads").as_int());
    EXPECT_EQ(o.norm_pooled, expected.at("fc_norm").as_bool());
    const auto act = expected.at("act").as_strings();
    const auto ours = weft::to_json(o.activation).as_string();
    const auto theirs = act[0] == "GELU" ? (act[1] == "tanh" ? "gelu_tanh" : "gelu")
                        : act[0] == "GELUTanh" || act[0] == "GeluTanh"   ? "gelu_tanh"
                        : act[0] == "QuickGELU" || act[0] == "QuickGelu" ? "quick_gelu"
                        : act[0] == "SiLU"                               ? "silu"
                                                                         : act[0];
    EXPECT_EQ(ours, theirs);
    size_t count = 0;
    for (const auto& [key, tensor] :
         family.key_map(one).save(weft::checkpoint::named_tensors(*encoder))) {
      ASSERT_TRUE(shapes.contains(key)) << key;
      EXPECT_EQ(tensor.sizes().vec(), shapes.at(key).as_ints()) << key;
      ++count;
    }
    size_t wanted = 0;
    for (const auto& key : shapes.keys())
      wanted += !key.starts_with("blocks.") || key.starts_with("blocks.0.");
    EXPECT_EQ(count, wanted);
  }
}

}  // namespace presets_test
