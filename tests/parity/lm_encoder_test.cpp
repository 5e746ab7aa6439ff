#include <gmock/gmock.h>

#include <ATen/ATen.h>

#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/checkpoint/tensors.hpp>
#include <weft/core/json.hpp>
#include <weft/io/file.hpp>
#include <weft/text/lm_encoder.hpp>
#include <weft/text/token_batch.hpp>
#include <weft/tokenizers/added_tokens.hpp>
#include <weft/tokenizers/bpe_trainer.hpp>

#include "parity/references.hpp"
#include "support/python.hpp"
#include "support/temp_folder.hpp"
#include "support/tensors.hpp"

namespace lm_encoder_parity_test {

namespace fs = std::filesystem;
using weft::nn::Pooling;
using weft::test::close;

constexpr const char* kCases[] = {"llama", "llama_bare", "qwen2", "qwen2_bare"};
const std::string kScript = WEFT_PARITY_SOURCES "/lm_encoders.py";

void expect_case(const fs::path& folder) {
  SCOPED_TRACE(folder.string());
  const auto given = weft::parity::read_cases(folder).front();
  const auto loaded = weft::checkpoint::load_encoder(folder);
  auto encoder = loaded.encoder;
  EXPECT_EQ(weft::checkpoint::encoder_family(loaded.family).role, weft::checkpoint::Role::text);
  const auto& mask = given.at("mask");
  const auto out = encoder->encode({.data = given.at("ids"), .mask = mask});
  EXPECT_TRUE(close(out.tokens * mask.unsqueeze(2), given.at("tokens"), 1e-5));
  EXPECT_TRUE(at::equal(out.pooled, weft::nn::pool(out, Pooling::last)));
  at::Tensor loss = at::zeros({});
  for (const auto& [name, pooling] :
       {std::pair<std::string, Pooling>{"last", Pooling::last}, {"mean", Pooling::mean}}) {
    const auto pooled = weft::nn::pool(out, pooling);
    EXPECT_TRUE(close(pooled, given.at(name), 1e-5)) << name;
    loss = loss + (pooled * given.at("weight." + name)).sum();
  }
  loss.backward();
  const auto expected = weft::checkpoint::load_encoder(folder / "gradients-0", at::kDouble);
  weft::parity::expect_gradients(*encoder, *expected.encoder);
}

/// Saves a dual encoder with that text tower, and its rows of some texts.
void save_dual(const fs::path& tower, Pooling pooling, const fs::path& work) {
  using namespace weft;
  checkpoint::DualEncoderFolder made;
  made.image = checkpoint::make_encoder(
      "vit_tiny", checkpoint::Role::image,
      Json::object({{"hidden_size", 12}, {"num_layers", 1}, {"num_heads", 2}}));
  made.text = checkpoint::load_encoder(tower);
  made.model =
      models::DualEncoder(made.image.encoder, made.text.encoder,
                          models::DualEncoderOptions{.embed_dim = 8, .text_pool = pooling});
  const auto bare = tokenizers::train_byte_level_bpe(
      {"the dog the dog", "a cat on the sofa"},
      {.vocab_size = 270, .special_tokens = {"<end>"}, .bos_token = "", .eos_token = ""});
  made.tokenizer = tokenizers::with_end_token(*bare, 0);
  checkpoint::save_dual_encoder(made, work / "dual");

  const std::vector<std::string> texts = {"the dog", "", "a cat on the sofa, and a dog on it"};
  Json(texts).write(work / "texts.json");
  auto loaded = checkpoint::load_dual_encoder(work / "dual");
  const at::NoGradGuard no_grad;
  const auto tokens = text::tokenize(*loaded.tokenizer, texts);
  const auto rows = loaded.model->encode_text({.data = tokens.ids, .mask = tokens.mask});
  checkpoint::write_tensors(work / "rows.safetensors", {{"rows", rows}});
}

TEST(ParityLmEncoder, PoolsWhatAutoModelGivesAndIsSavedForIt) {
  WEFT_NEEDS_PYTHON();
  const weft::test::TempFolder work;
  const auto log = work / "log.txt";
  ASSERT_EQ(weft::test::run_python_file(kScript, {"write", work.path().string()}, log), 0)
      << weft::io::read_file(log);
  SCOPED_TRACE(weft::io::read_file(log));  // the seed
  std::vector<std::string> check{"check"};
  for (const std::string name : kCases) {
    expect_case(work / name);
    const auto folder = work / ("dual_" + name);
    fs::create_directories(folder);
    save_dual(work / name, name == "qwen2" ? Pooling::mean : Pooling::last, folder);
    check.push_back(folder.string());
  }
  EXPECT_EQ(weft::test::run_python_file(kScript, check, log), 0) << weft::io::read_file(log);
}

}  // namespace lm_encoder_parity_test
