#include <fstream>
#include <iostream>
#include <map>

#include <torch/types.h>
#include <torch/utils.h>

#include <weft/checkpoint/tensors.hpp>
#include <weft/eval/zero_shot.hpp>
#include <weft/io/file.hpp>

#include "support/gmock.hpp"
#include "support/python.hpp"
#include "support/shared_data.hpp"
#include "support/tensors.hpp"

namespace zero_shot_test {

using namespace weft::test;
using weft::Error;
using weft::Json;
using Texts = std::vector<std::string>;

static std::filesystem::path file_of(const TempFolder& folder, const std::string& text) {
  const auto path = folder / "file";
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

TEST(Classes, ComeInFourForms) {
  const TempFolder folder;
  const auto read = [&](const char* text) {
    return weft::eval::read_classes(file_of(folder, text));
  };
  EXPECT_THAT(read(R"(["hat", "dress"])").names, ElementsAre("hat", "dress"));
  auto both =
      read(R"({"classes": ["hat", "dress"], "prompts": ["a hat", ["a dress", "dresses"]]})");
  EXPECT_THAT(both.names, ElementsAre("hat", "dress"));
  EXPECT_THAT(both.prompts, ElementsAre(Texts{"a hat"}, Texts{"a dress", "dresses"}));
  EXPECT_TRUE(read(R"({"classes": ["hat"]})").prompts.empty());
  EXPECT_THAT(read(R"({"hat": 1, "dress": 0})").names, ElementsAre("dress", "hat"));
  both = read(R"({"hat": ["a hat", "hats"], "dress": "a dress"})");
  EXPECT_THAT(both.names, ElementsAre("hat", "dress"));
  EXPECT_THAT(both.prompts, ElementsAre(Texts{"a hat", "hats"}, Texts{"a dress"}));
}

TEST(Classes, SayWhatIsWrong) {
  const TempFolder folder;
  const auto expect = [&](const char* text, const char* message) {
    EXPECT_THAT([&] { weft::eval::read_classes(file_of(folder, text)); },
                ThrowsMessage<Error>(AllOf(HasSubstr("file"), HasSubstr(message))))
        << text;
  };
  expect("[]", "found an empty one");
  expect("[1]", "string");
  expect("3", "expected an array of class names or an object");
  expect("{}", "found an empty object");
  expect(R"({"classes": "hat"})", "classes: expected an array of class names, found");
  expect(R"({"classes": ["hat"], "prompts": []})", "expected an array of 1");
  expect(R"({"classes": ["hat"], "prompts": [[]]})", "prompts of 'hat'");
  expect(R"({"hat": 0, "dress": 2})", "every label from 0 to 1 once, found 2 for class 'dress'");
  expect(R"({"hat": 0, "dress": 0})", "found 0 for class 'dress'");
  expect(R"({"hat": 0, "dress": "a"})", "the label of class 'dress'");
  expect(R"({"hat": "a", "dress": 0})", "class 'dress': expected a prompt");
  expect(R"({"0": ["n01440764", "tench"]})",
         "expected class names as keys, found labels such as '0'");
}

TEST(Classes, OfTheSharedDataHavePrompts) {
  const auto file = shared_file("data/clothing-128/classes.json");
  WEFT_SKIP_WITHOUT(file);
  const auto classes = weft::eval::read_classes(file);
  EXPECT_EQ(classes.names.size(), 10u);
  EXPECT_EQ(classes.names[9], "t-shirt");
  EXPECT_THAT(classes.prompts[2], ElementsAre("a photo of a long-sleeved shirt"));
}

TEST(Templates, AreLinesOrJson) {
  const TempFolder folder;
  using weft::eval::read_templates;
  EXPECT_THAT(read_templates(file_of(folder, "a {}.\r\n\n the {c} \n{}")),
              ElementsAre("a {}.", " the {c} ", "{}"));
  EXPECT_THAT(read_templates(file_of(folder, R"( ["a {}", "{c}"])")), ElementsAre("a {}", "{c}"));
  EXPECT_THAT([&] { read_templates(file_of(folder, "a {}\na cat")); },
              ThrowsMessage<Error>(AllOf(HasSubstr("template 2"), HasSubstr("'a cat'"))));
  EXPECT_THAT([&] { read_templates(file_of(folder, " \n")); },
              ThrowsMessage<Error>(HasSubstr("found none")));
}

TEST(Templates, TakeTheNameAtEveryPlace) {
  EXPECT_THAT(
      weft::eval::fill_templates({"hat", "{}"}, {"a {}.", "{c}, {} {x}", "plain"}),
      ElementsAre(Texts{"a hat.", "hat, hat {x}", "plain"}, Texts{"a {}.", "{}, {} {x}", "plain"}));
}

TEST(ZeroShotClassifier, IsTheUnitMeanOfUnitPrompts) {
  // Two prompts at right angles, and a class with one: the means are at 45 and at 0 degrees.
  const std::map<std::string, std::vector<float>> table{
      {"x", {1, 0}}, {"y", {0, 1}}, {"z", {1, 0}}};
  int64_t calls = 0;
  const auto encode = [&](const Texts& texts) {
    ++calls;
    std::vector<torch::Tensor> rows;
    for (const auto& text : texts) rows.push_back(torch::tensor(table.at(text)));
    return torch::stack(rows);
  };
  const auto rows = weft::eval::zero_shot_classifier(encode, {{"x", "y"}, {"z"}});
  const auto r = std::sqrt(0.5);
  EXPECT_TRUE(close(rows, torch::tensor({{r, r}, {1.0, 0.0}}), 1e-6));
  EXPECT_EQ(calls, 1);
  EXPECT_THAT(
      [&] {
        weft::eval::zero_shot_classifier(encode, {{"x"}, {}});
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("class 1 has no prompt")));

  // More texts than one chunk holds give what one at a time gives.
  const std::vector<Texts> many(3000, {"x", "y"});
  calls = 0;
  const auto all = weft::eval::zero_shot_classifier(encode, many);
  EXPECT_EQ(calls, 2);
  EXPECT_TRUE(close(all, torch::full({3000, 2}, r), 1e-6));
}

TEST(ZeroShot, EqualsOpenClip) {
  WEFT_NEEDS_PYTHON();
  const TempFolder folder;
  const auto log = folder / "log.txt";
  const auto status =
      run_python_file(WEFT_EVAL_REFERENCES, {"zero_shot", folder.path().string()}, log);
  std::cout << weft::io::read_file(log);
  ASSERT_EQ(status, 0);
  const auto tensors = weft::checkpoint::read_tensors(folder / "zero_shot.safetensors");
  const auto expected = Json::read(folder / "zero_shot.json");

  const auto table = tensors.at("table");
  const auto texts = expected.at("texts").as_strings();
  std::map<std::string, int64_t> place;
  for (size_t i = 0; i < texts.size(); ++i) place[texts[i]] = static_cast<int64_t>(i);
  const auto classes = weft::eval::read_classes(folder / "classes.json");
  const auto prompts = weft::eval::fill_templates(
      classes.names, weft::eval::read_templates(folder / "templates.txt"));
  const auto classifier = weft::eval::zero_shot_classifier(
      [&](const Texts& batch) {
        std::vector<int64_t> rows;
        for (const auto& text : batch) rows.push_back(place.at(text));
        const auto x = table.index_select(0, torch::tensor(rows));
        return x / x.norm(2, {1}, true);
      },
      prompts);
  EXPECT_TRUE(close(classifier, tensors.at("classifier").t(), 1e-6));
  const auto result = weft::eval::zero_shot(tensors.at("images"), classifier, tensors.at("labels"));
  EXPECT_EQ(result.samples, 500);
  EXPECT_NEAR(result.top1, expected.at("top1").as_double(), 1e-12);
  EXPECT_NEAR(result.top5, expected.at("top5").as_double(), 1e-12);
  EXPECT_GT(result.top1, 0.1);
  EXPECT_LT(result.top1, 0.999);
  EXPECT_GT(result.top5, result.top1);
}

}  // namespace zero_shot_test
