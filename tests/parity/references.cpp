#include "parity/references.hpp"

#include <algorithm>
#include <iostream>

#include <gtest/gtest.h>

#include <weft/checkpoint/tensors.hpp>
#include <weft/core/json.hpp>
#include <weft/io/file.hpp>

#include "support/python.hpp"
#include "support/shared_data.hpp"
#include "support/tensors.hpp"

namespace weft::parity {
namespace {

struct References {
  std::filesystem::path folder;
  std::string failure;
};

References make() {
  if (test::python() == nullptr) return {};
  const std::filesystem::path folder = WEFT_PARITY_DIR;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const auto log = folder / "log.txt";
  const auto status =
      test::run_python_file(WEFT_PARITY_SOURCES "/references.py",
                            {folder.string(), test::real_model("").string(),
                             test::shared_file("data/flickr8k-128/val-000000.tar").string()},
                            log);
  std::cout << io::read_file(log) << std::flush;  // the seed, or what went wrong
  if (status != 0) return {{}, "tests/parity/references.py failed, see " + log.string()};
  return {folder, ""};
}

const References& instance() {
  static const References made = make();
  return made;
}

}  // namespace

const std::filesystem::path& references() { return instance().folder; }
const std::string& failure() { return instance().failure; }

std::vector<Case> read_cases(const std::filesystem::path& folder) {
  std::vector<Case> out;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (!name.starts_with("case-")) continue;
    out.push_back({entry.path(), checkpoint::read_tensors(entry.path())});
  }
  std::sort(out.begin(), out.end(), [](const Case& a, const Case& b) { return a.file < b.file; });
  return out;
}

void expect_gradients(const torch::nn::Module& module, const torch::nn::Module& expected) {
  constexpr double kGradients = 1e-4;
  const auto gradients = expected.named_parameters();
  double largest = 0;
  for (const auto& item : gradients) largest = std::max(largest, test::max_norm(item.value()));
  for (const auto& item : module.named_parameters()) {
    const auto& reference = gradients[item.key()];
    const auto& actual = item.value().grad();
    if (!actual.defined()) {
      EXPECT_EQ(test::max_norm(reference), 0) << item.key() << " has no gradient";
      continue;
    }
    // A small gradient is a sum of larger terms that cancel, and the keys' bias, which softmax does
    // not see, has none but for rounding: these are held to the scale of the others.
    // A single number (a temperature) sums over everything.
    const auto floor = (reference.numel() == 1 ? 0.2 : 1e-2) * largest;
    EXPECT_TRUE(test::close(actual, reference, kGradients, floor)) << "gradient of " << item.key();
  }
}

void expect_rows(const std::string& table, const std::vector<std::string>& registered,
                 int64_t configurations) {
  const auto rows = Json::read(std::string(WEFT_PARITY_SOURCES "/") + table);
  for (const auto& name : registered) {
    ASSERT_TRUE(rows.contains(name)) << name << " has no row in " << table;
    EXPECT_EQ(rows.at(name).at("configurations").as_int(), configurations);
    for (const auto* proof : {"load", "forward", "gradients", "greedy", "save"})
      EXPECT_TRUE(rows.at(name).at(proof).as_bool()) << name << ": " << proof;
  }
  for (const auto& name : rows.keys())
    EXPECT_NE(std::find(registered.begin(), registered.end(), name), registered.end())
        << name << " is not registered";
}

void expect_logits_and_run_backward(const at::Tensor& logits, const Case& given) {
  constexpr double kForward = 1e-5;
  const auto real = given.at("mask").unsqueeze(2);
  EXPECT_TRUE(test::close(logits * real, given.at("logits"), kForward)) << "logits";
  const auto T = logits.size(1);
  const auto loss = at::cross_entropy_loss(logits.narrow(1, 0, T - 1).flatten(0, 1),
                                           given.at("labels").narrow(1, 1, T - 1).flatten());
  EXPECT_NEAR(loss.item<double>(), given.at("loss").item<double>(),
              kForward * given.at("loss").item<double>());
  (loss + 0.1 * (logits * real * given.at("weight.logits")).sum()).backward();
}

void take_one_from_norms(torch::nn::Module& gradients) {
  const at::NoGradGuard no_grad;
  for (const auto& item : gradients.named_parameters())
    if (item.key().find("norm") != std::string::npos) item.value().sub_(1);
}

}  // namespace weft::parity
