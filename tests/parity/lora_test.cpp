#include <gmock/gmock.h>

#include <ATen/ATen.h>

#include <weft/checkpoint/lora_folder.hpp>
#include <weft/checkpoint/tensors.hpp>
#include <weft/io/file.hpp>
#include <weft/losses/preference.hpp>
#include <weft/nn/lora.hpp>
#include <weft/ops/linear_cross_entropy.hpp>
#include <weft/train/optimizer.hpp>

#include "parity/references.hpp"
#include "support/python.hpp"
#include "support/temp_folder.hpp"
#include "support/tensors.hpp"

namespace lora_parity_test {

namespace fs = std::filesystem;
using weft::test::close;
using weft::test::max_norm;

// Either kind of model.
struct Model {
  explicit Model(const fs::path& folder, at::ScalarType dtype = at::kFloat) {
    const auto type = weft::Json::read(folder / "config.json").get("model_type", "").as_string();
    if (weft::checkpoint::vlm_families().contains(type)) {
      vlm = weft::checkpoint::load_vlm(folder, dtype);
    } else {
      lm = weft::checkpoint::load_language_model(folder, dtype);
    }
  }
  bool is_vlm() const { return !vlm.model.is_empty(); }
  torch::nn::Module& module() {
    if (is_vlm()) return *vlm.model;
    return *lm.model;
  }
  std::string family() const { return is_vlm() ? vlm.layout : lm.family; }
  std::vector<std::string> load_lora(const fs::path& path) const {
    return is_vlm() ? weft::checkpoint::load_lora(vlm, path)
                    : weft::checkpoint::load_lora(lm, path);
  }
  void save_lora(const fs::path& path) const {
    is_vlm() ? weft::checkpoint::save_lora(vlm, path) : weft::checkpoint::save_lora(lm, path);
  }
  void save(const fs::path& path) const {
    is_vlm() ? weft::checkpoint::save_vlm(vlm, path, vlm.layout)
             : weft::checkpoint::save_language_model(lm, path);
  }
  at::Tensor logits(const weft::parity::Case& given) {
    const weft::LmInput text{.ids = given.at("ids"), .mask = given.at("mask")};
    return is_vlm() ? vlm.model->forward({text, {.data = given.at("pixels")}}).logits
                    : lm.model->forward(text).logits;
  }

  weft::checkpoint::LmFolder lm;
  weft::checkpoint::VlmFolder vlm;
};

// Where their layer is fused, PEFT has one A for what are several of ours.
std::string group_of(const std::string& family, std::string name) {
  if (!name.ends_with("lora_A.weight")) return name;
  std::vector<std::pair<std::string, std::string>> parts;
  if (family == "gpt2" || family == "phi3")
    parts = {{"attention.q.", "attention.qkv."},
             {"attention.k.", "attention.qkv."},
             {"attention.v.", "attention.qkv."}};
  if (family == "phi3") {
    parts.emplace_back("mlp.gate.", "mlp.gate_fc1.");
    parts.emplace_back("mlp.fc1.", "mlp.gate_fc1.");
  }
  for (const auto& [part, whole] : parts)
    if (const auto at = name.find(part); at != std::string::npos)
      return name.replace(at, part.size(), whole);
  return name;
}

void expect_adapter_gradients(Model& model, const fs::path& base, const fs::path& gradients) {
  Model expected_model(base, at::kDouble);
  expected_model.load_lora(gradients);
  std::map<std::string, at::Tensor> expected, found;
  double largest = 0;
  for (const auto& [name, value] : weft::nn::lora_parameters(expected_model.module())) {
    expected[group_of(model.family(), name)] = value.detach();
    largest = std::max(largest, max_norm(value));
  }
  for (const auto& [name, value] : weft::nn::lora_parameters(model.module())) {
    // Layers behind the last that is read have none.
    const auto gradient = value.grad().defined() ? value.grad() : at::zeros_like(value);
    auto& sum = found[group_of(model.family(), name)];
    sum = sum.defined() ? sum + gradient : gradient;
  }
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [name, value] : expected)
    EXPECT_TRUE(close(found[name], value, 1e-4, 1e-2 * largest)) << "gradient of " << name;
}

void save_variant(Model& model, const weft::parity::Case& given, const fs::path& folder) {
  const at::NoGradGuard no_grad;
  const auto real = given.at("mask").unsqueeze(2);
  model.save_lora(folder);
  weft::checkpoint::write_tensors(folder / "logits.safetensors",
                                  {{"logits", model.logits(given) * real}});
}

// As training leaves adapters: no two factors alike, one layer without, one of another rank.
void tune(Model& model) {
  const at::NoGradGuard no_grad;
  at::manual_seed(11);
  for (auto& [name, value] : weft::nn::lora_parameters(model.module()))
    value.add_(at::randn_like(value), 0.1);
  std::vector<weft::nn::Linear> adapted;
  for (auto& [name, layer] : weft::nn::linear_layers(model.module()))
    if (layer->lora()) adapted.push_back(layer);
  adapted[0]->set_lora(std::nullopt);
  auto& other = adapted[1];
  other->set_lora(std::nullopt);
  auto adapter = weft::nn::make_lora(*other, 7, 3.5);
  adapter.b->weight.normal_(0, 0.2);
  other->set_lora(adapter);
}

TEST(ParityLora, AdaptersOfPeftGiveItsResultsAndOursGiveThemInPeft) {
  WEFT_NEEDS_PYTHON();
  const weft::test::TempFolder references, saved;
  const auto log = references / "log.txt";
  const auto script = WEFT_PARITY_SOURCES "/peft_adapters.py";
  ASSERT_EQ(weft::test::run_python_file(script, {"make", references.path().string()}, log), 0)
      << weft::io::read_file(log);
  SCOPED_TRACE(weft::io::read_file(log));  // the seed
  int count = 0;
  for (const auto& entry : fs::directory_iterator(references.path())) {
    if (!entry.is_directory()) continue;
    const auto& folder = entry.path();
    const auto name = folder.filename().string();
    SCOPED_TRACE(name);
    ++count;
    const auto given = weft::parity::read_cases(folder).front();
    Model model(folder / "model");
    EXPECT_FALSE(model.load_lora(folder / "adapter").empty());
    weft::nn::freeze_all_but_lora(model.module());
    weft::parity::expect_logits_and_run_backward(model.logits(given), given);
    expect_adapter_gradients(model, folder / "model", folder / "gradients");
    EXPECT_THAT([&] { model.save(saved / "never"); },
                testing::ThrowsMessage<weft::Error>(testing::HasSubstr("nn::merge_lora")));
    EXPECT_FALSE(fs::exists(saved / "never"));

    fs::create_directories(saved / name);
    save_variant(model, given, saved / name / "same");
    tune(model);
    save_variant(model, given, saved / name / "tuned");

    // What was saved is read again, whatever it became.
    Model again(folder / "model");
    again.load_lora(saved / name / "tuned");
    const at::NoGradGuard no_grad;
    EXPECT_TRUE(close(again.logits(given), model.logits(given), 1e-5));

    Model merged(folder / "model"), expected(folder / "merged");
    merged.load_lora(folder / "adapter");
    weft::nn::merge_lora(merged.module());
    const auto weights = expected.module().named_parameters();
    for (const auto& item : merged.module().named_parameters())
      EXPECT_TRUE(close(item.value(), weights[item.key()], 1e-6)) << item.key();
    merged.save(saved / name / "merged");
    weft::checkpoint::write_tensors(
        saved / name / "merged" / "logits.safetensors",
        {{"logits", merged.logits(given) * given.at("mask").unsqueeze(2)}});
  }
  EXPECT_EQ(count, 10);
  const auto status = weft::test::run_python_file(
      script, {"check", references.path().string(), saved.path().string()}, log);
  EXPECT_EQ(status, 0) << weft::io::read_file(log);
}

// The starts and batches of tests/parity/tuning.py.
struct Tuning {
  Tuning() {
    const auto log = folder / "log.txt";
    status = weft::test::run_python_file(WEFT_PARITY_SOURCES "/tuning.py", {folder.path().string()},
                                         log);
    said = weft::io::read_file(log);
  }
  weft::test::TempFolder folder;
  int status;
  std::string said;
};

weft::train::AdamW optimizer_of(const torch::nn::Module& model, const weft::Json& settings) {
  return weft::train::AdamW(weft::train::trainable_parameters(model),
                            {.beta1 = settings.at("beta1").as_double(),
                             .beta2 = settings.at("beta2").as_double(),
                             .eps = settings.at("eps").as_double(),
                             .weight_decay = settings.at("weight_decay").as_double()});
}

TEST(ParityLora, TwentyStepsHaveTheLossesOfPeft) {
  WEFT_NEEDS_PYTHON();
  const Tuning tuning;
  ASSERT_EQ(tuning.status, 0) << tuning.said;
  SCOPED_TRACE(tuning.said);  // the seed
  const auto folder = tuning.folder / "lora";
  const auto settings = weft::Json::read(folder / "training.json");
  const auto expected = settings.at("losses").as_doubles();
  const auto loaded = weft::checkpoint::load_language_model(folder / "model");
  EXPECT_EQ(weft::checkpoint::load_lora(loaded, folder / "adapter").size(), 14u);
  auto& model = *loaded.model;
  weft::nn::freeze_all_but_lora(model);
  model.train();
  auto optimizer = optimizer_of(model, settings);
  const auto batches = weft::checkpoint::read_tensors(folder / "batches.safetensors").at("ids");
  ASSERT_EQ(batches.size(0), static_cast<int64_t>(expected.size()));
  const auto T = batches.size(2);
  for (int64_t step = 0; step < batches.size(0); ++step) {
    const auto hidden = model.forward({.ids = batches[step], .logits = weft::Logits::none}).hidden;
    const auto loss = weft::ops::linear_cross_entropy(
        hidden.narrow(1, 0, T - 1), model.head().weight, batches[step].narrow(1, 1, T - 1));
    optimizer.zero_grad();
    loss.backward();
    optimizer.step(settings.at("lr").as_double());
    EXPECT_NEAR(loss.item<double>(), expected[static_cast<size_t>(step)], 1e-4) << "step " << step;
  }
  EXPECT_LT(expected.back(), expected.front()) << "the reference did not learn";
}

TEST(ParityPreference, TwentyStepsOfDpoHaveTheLossesOfItsFormula) {
  WEFT_NEEDS_PYTHON();
  const Tuning tuning;
  ASSERT_EQ(tuning.status, 0) << tuning.said;
  SCOPED_TRACE(tuning.said);  // the seed
  const auto folder = tuning.folder / "dpo";
  const auto settings = weft::Json::read(folder / "training.json");
  const auto expected = settings.at("losses").as_doubles();
  const auto margins = settings.at("margins").as_doubles();
  const auto accuracies = settings.at("accuracies").as_doubles();
  const auto policy = weft::checkpoint::load_language_model(folder / "model").model;
  const auto reference = weft::checkpoint::load_language_model(folder / "model").model;
  policy->train();
  auto optimizer = optimizer_of(*policy, settings);
  const auto batches = weft::checkpoint::read_tensors(folder / "batches.safetensors");
  const auto steps = static_cast<int64_t>(expected.size());
  ASSERT_EQ(batches.at("chosen.ids").size(0), steps);
  for (int64_t step = 0; step < steps; ++step) {
    const auto of = [&](const char* name) {
      return at::cat({batches.at(std::string("chosen.") + name)[step],
                      batches.at(std::string("rejected.") + name)[step]});
    };
    const auto ids = of("ids"), labels = of("labels");  // [2 B, T]
    const auto log_probs = [&](weft::LanguageModel& model) {
      const auto out = model.forward({.ids = ids, .mask = ids != 0, .logits = weft::Logits::none});
      return weft::losses::sequence_log_probs(out.hidden, model.head(), labels).chunk(2);
    };
    const auto now = log_probs(*policy);
    const auto before = [&] {
      const at::NoGradGuard no_grad;
      return log_probs(*reference);
    }();
    const auto out = weft::losses::preference_loss({now[0], now[1], before[0], before[1]},
                                                   {.beta = settings.at("beta").as_double()});
    optimizer.zero_grad();
    out.loss.backward();
    optimizer.step(settings.at("lr").as_double());
    const auto i = static_cast<size_t>(step);
    EXPECT_NEAR(out.loss.item<double>(), expected[i], 1e-4) << "step " << step;
    EXPECT_NEAR(out.margin.item<double>(), margins[i], 1e-3) << "step " << step;
    // At first both are alike but for rounding.
    if (step > 0) {
      EXPECT_NEAR(out.accuracy.item<double>(), accuracies[i], 1e-6) << "step " << step;
    }
  }
  EXPECT_LT(expected.back(), expected.front() / 2) << "the reference did not learn";
}

}  // namespace lora_parity_test
