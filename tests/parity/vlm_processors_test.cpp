#include <gmock/gmock.h>

#include <ATen/ATen.h>

#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/data/vlm_inputs.hpp>
#include <weft/io/file.hpp>
#include <weft/text/generation.hpp>

#include "support/python.hpp"
#include "support/temp_folder.hpp"

namespace vlm_processors_test {

namespace fs = std::filesystem;
using weft::io::Image;

std::vector<Image> images_in(const fs::path& folder) {
  std::vector<Image> out;
  for (size_t i = 0;; ++i) {
    fs::path found;
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".rgb" &&
          entry.path().filename().string().starts_with(std::to_string(i) + "_"))
        found = entry.path();
    if (found.empty()) return out;
    const auto name = found.stem().string();
    const auto size = name.substr(name.find('_') + 1);
    const auto bytes = weft::io::read_file(found);
    const int64_t width = std::stoll(size), height = std::stoll(size.substr(size.find('x') + 1));
    out.push_back({width, height, std::vector<uint8_t>(bytes.begin(), bytes.end())});
  }
}

// Whole conversations: placeholders, what stands around them, line breaks, pixels; and what the
// model answers.
TEST(VlmProcessorsParity, ConversationsAreThoseOfTransformersProcessors) {
  WEFT_NEEDS_PYTHON();
  const weft::test::TempFolder made;
  ASSERT_EQ(weft::test::run_python_file(WEFT_PARITY_SOURCES "/vlm_processors.py",
                                        {made.path().string()}, made / "log"),
            0)
      << weft::io::read_file(made / "log");
  SCOPED_TRACE(weft::io::read_file(made / "log"));  // the seed
  for (const std::string family : {"idefics3", "internvl", "llava_onevision"}) {
    SCOPED_TRACE(family);
    const auto folder = made / family;
    const auto model = weft::checkpoint::load_vlm(folder);
    // The same from what transformers 5 writes for a processor.
    const auto copy = made / (family + "-model");
    fs::copy(folder, copy);
    fs::remove(copy / "preprocessor_config.json");
    fs::copy(folder / "saved" / "processor_config.json", copy);
    EXPECT_EQ(weft::to_json(weft::checkpoint::load_vlm(copy).tiling), weft::to_json(model.tiling));
    const auto transform = weft::data::visual_transform(model);
    const auto encoder = weft::data::conversation_encoder(model, "model", 100'000);
    const auto images = images_in(folder);
    const auto cases = weft::Json::read(folder / "cases.json");
    ASSERT_GE(cases.size(), 4u);
    for (size_t c = 0; c < cases.size(); ++c) {
      SCOPED_TRACE(c);
      const auto given = cases.at(c);
      const auto numbers = given.at("images").as_ints();
      std::vector<weft::data::VisualTokens> visual;
      std::vector<weft::vision::Tiles> cut;
      std::string marks, tiles;
      for (const auto number : numbers) {
        const auto seen = transform(images.at(static_cast<size_t>(number)), numbers.size() > 1);
        visual.push_back({seen.tokens, seen.ids});
        cut.push_back({seen.pixels, seen.row});
        marks += c == 2 ? "<image>" : "<image>\n";  // the template decides what stands between
        tiles.append(static_cast<const char*>(seen.pixels.const_data_ptr()), seen.pixels.nbytes());
      }
      std::vector<weft::tokenizers::Message> messages;
      for (const auto& text : given.at("messages").as_strings())
        messages.push_back({.role = messages.size() % 2 == 0 ? "user" : "assistant",
                            .content = (messages.empty() ? marks : "") + text});
      const auto prompt = encoder.prompt(messages, numbers, visual);
      EXPECT_EQ(prompt.ids, given.at("ids").as_ints());
      const at::NoGradGuard no_grad;
      auto vlm = model.model;
      weft::LmInput input{.ids = at::tensor(prompt.ids, at::kLong).unsqueeze(0)};
      if (!cut.empty()) {
        const auto all = weft::vision::join(cut);
        input = vlm->splice(input, vlm->embed_images({.data = all.pixels, .images = all.images}));
      }
      EXPECT_EQ(weft::text::generate(*vlm->language, input, {.max_new_tokens = 8}).front().ids,
                given.at("answer").as_ints());
      if (numbers.empty()) continue;
      const auto expected = weft::io::read_file(folder / (std::to_string(c) + ".chw"));
      EXPECT_EQ(tiles.size(), expected.size());
      EXPECT_TRUE(tiles == expected);
      // As many placeholders as the model gives tokens.
      int64_t placeholders = 0, count = 0;
      for (const auto id : prompt.ids) placeholders += id == model.model->options.image_token;
      for (const auto& tokens : visual) count += tokens.count;
      EXPECT_EQ(placeholders, count);
    }
  }
}

}  // namespace vlm_processors_test
