#include <gmock/gmock.h>

#include <ATen/ATen.h>

#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/checkpoint/dual_families.hpp>
#include <weft/io/file.hpp>

#include "parity/references.hpp"
#include "support/shared_data.hpp"
#include "support/temp_folder.hpp"
#include "support/tensors.hpp"

namespace duals_test {

namespace fs = std::filesystem;
using weft::checkpoint::load_dual_encoder;
using weft::test::close;

int configurations(const std::string& layout) { return layout == "open_clip" ? 5 : 3; }

struct Log {
  int status;
  std::string text;
};

Log run_script(const weft::test::TempFolder& folder, const std::vector<std::string>& arguments) {
  const auto log = folder / "log.txt";
  const auto status = weft::test::run_python_file(WEFT_PARITY_SOURCES "/duals.py", arguments, log);
  return {status, weft::io::read_file(log)};
}

// Forward, loss, gradients, and saving, of every registered layout of dual encoders.
TEST(ParityDualEncoders, EqualTransformersAndReloadThere) {
  WEFT_NEEDS_PYTHON();
  const weft::test::TempFolder folder;
  const auto references = folder / "references", saved = folder / "saved";
  const auto made = run_script(folder, {references.string()});
  ASSERT_EQ(made.status, 0) << made.text;
  SCOPED_TRACE(made.text);  // the seed
  for (const auto& layout : weft::checkpoint::dual_families().names()) {
    fs::create_directories(saved / layout);
    for (int k = 0; k < configurations(layout); ++k) {
      const auto index = std::to_string(k);
      SCOPED_TRACE(layout + " " + index);
      const auto source = references / layout / index;
      ASSERT_TRUE(fs::exists(source)) << "tests/parity/duals.py draws no " << layout;
      auto loaded = load_dual_encoder(source);
      EXPECT_EQ(loaded.layout, layout);
      const auto given = weft::parity::read_cases(source).at(0);
      const auto image = loaded.model->encode_image({.data = given.at("pixels").to(at::kFloat)});
      const auto text =
          loaded.model->encode_text({.data = given.at("ids"), .mask = given.at("mask")});
      EXPECT_TRUE(close(image, given.at("image"), 1e-5));
      EXPECT_TRUE(close(text, given.at("text"), 1e-5));
      const auto loss = loaded.model->loss(image, text);
      EXPECT_TRUE(close(loss, given.at("loss"), 1e-5));
      loss.backward();
      weft::parity::expect_gradients(*loaded.model,
                                     *load_dual_encoder(source / "gradients-0").model);
      if (layout == "open_clip") {
        EXPECT_THAT(loaded.transform.mean, testing::ElementsAre(0.1, 0.2, 0.3));
        EXPECT_THAT(loaded.transform.std, testing::ElementsAre(0.5, 0.6, 0.7));
        EXPECT_EQ(loaded.transform.filter, weft::io::Filter::bilinear);
        EXPECT_EQ(loaded.transform.resize_mode, weft::vision::ResizeMode::squash);
        EXPECT_EQ(loaded.transform.size, loaded.model->image->info().image_size);
      }
      EXPECT_EQ(loaded.tokenizer, nullptr);
      const auto vocabulary =
          weft::test::shared_file("data/tokenizers/clip/bpe_simple_vocab_16e6.txt.gz");
      if (fs::exists(vocabulary)) loaded.tokenizer = weft::tokenizers::load_tokenizer(vocabulary);
      const auto target = saved / layout / index;
      save_dual_encoder(loaded, target, layout);
      if (!loaded.tokenizer) continue;
      // open_clip's layout keeps its cleaning; Hugging Face's has its own.
      const auto again = load_dual_encoder(target);
      ASSERT_NE(again.tokenizer, nullptr);
      EXPECT_EQ(again.tokenizer->pad_id(), layout == "open_clip" ? 0 : 49407);
      EXPECT_EQ(fs::exists(target / "tokenizer.json"), layout != "open_clip");
    }
  }
  const auto reloaded = run_script(folder, {"--reload", references.string(), saved.string()});
  EXPECT_EQ(reloaded.status, 0) << reloaded.text;
}

}  // namespace duals_test
