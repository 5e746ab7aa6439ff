#include <gmock/gmock.h>

#include <ATen/ATen.h>

#include <weft/checkpoint/key_map.hpp>
#include <weft/checkpoint/tensors.hpp>
#include <weft/core/error.hpp>

#include "support/temp_folder.hpp"

namespace key_map_test {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::checkpoint::KeyMap;
using weft::checkpoint::NamedTensor;
using Tensors = std::vector<NamedTensor>;

struct File {
  explicit File(const Tensors& tensors) {
    weft::checkpoint::TensorMap map;
    for (const auto& [name, tensor] : tensors) map.emplace(name, tensor);
    weft::checkpoint::write_tensors(folder / "model.safetensors", map);
  }
  weft::io::Safetensors open() const { return weft::io::Safetensors::open(folder.path()); }
  weft::test::TempFolder folder;
};

// Writes `theirs`, loads it into tensors shaped like `ours`, compares, and translates back.
void round_trip(const KeyMap& map, const Tensors& theirs, const Tensors& ours) {
  const File file(theirs);
  Tensors loaded;
  for (const auto& [name, tensor] : ours) loaded.push_back({name, at::zeros_like(tensor)});
  map.load(file.open(), loaded);
  for (size_t i = 0; i < ours.size(); ++i)
    EXPECT_TRUE(at::equal(loaded[i].tensor, ours[i].tensor)) << ours[i].name;
  const auto back = map.save(ours);
  ASSERT_EQ(back.size(), theirs.size());
  for (const auto& [name, tensor] : theirs) {
    bool found = false;
    for (const auto& other : back)
      if (other.name == name) found = at::equal(other.tensor, tensor);
    EXPECT_TRUE(found) << name;
  }
}

TEST(KeyMap, RenamesWithCaptures) {
  KeyMap map;
  map.rename("enc.{i}.att.{p}", "blocks.{i}.q.{p}").rename("{x...}.last", "tail.{x...}");
  const auto a = at::randn({2, 3}), b = at::randn({3}), c = at::randn({4});
  round_trip(map, {{"enc.0.att.weight", a}, {"enc.11.att.bias", b}, {"one.two.last", c}},
             {{"blocks.0.q.weight", a}, {"blocks.11.q.bias", b}, {"tail.one.two", c}});
}

TEST(KeyMap, MovesNamesOfAPart) {
  KeyMap part;
  part.rename("model.{i}.{p}", "blocks.{i}.{p}")
      .rename("head", "head")
      .tie("copy", "model.0.weight")
      .drop("model.count", "counted");
  KeyMap map;
  map.nest(part.move("model.", "model.text."), "", "language.");
  const auto a = at::randn({2, 3}), b = at::randn({3});
  round_trip(map, {{"model.text.0.weight", a}, {"head", b}},
             {{"language.blocks.0.weight", a}, {"language.head", b}});
  const File file({{"copy", a}, {"head", b}, {"model.text.count", b}});
  Tensors ours = {{"language.blocks.0.weight", at::zeros({2, 3})},
                  {"language.head", at::zeros({3})}};
  map.load(file.open(), ours);
  EXPECT_TRUE(at::equal(ours[0].tensor, a));
}

TEST(KeyMap, SplitsJoinsTransposesAndPermutesBothWays) {
  KeyMap map;
  map.split("{i}.qkv.{p}", {"{i}.q.{p}", "{i}.k.{p}", "{i}.v.{p}"})
      .join({"w1.{p}", "w2.{p}"}, "w.{p}", 1)
      .transpose("conv1d", "linear")
      .permute(
          "rotary", "mine", [](const at::Tensor& t) { return t.flip(0); },
          [](const at::Tensor& t) { return t.flip(0); });
  const auto q = at::randn({2, 5}), k = at::randn({2, 5}), v = at::randn({2, 5});
  const auto w1 = at::randn({3, 2}), w2 = at::randn({3, 2}), conv = at::randn({4, 2}),
             rotary = at::randn({6});
  round_trip(map,
             {{"7.qkv.weight", at::cat({q, k, v})},
              {"w1.weight", w1},
              {"w2.weight", w2},
              {"conv1d", conv},
              {"rotary", rotary}},
             {{"7.q.weight", q},
              {"7.k.weight", k},
              {"7.v.weight", v},
              {"w.weight", at::cat({w1, w2}, 1)},
              {"linear", conv.t().contiguous()},
              {"mine", rotary.flip(0)}});
}

TEST(KeyMap, ReadsAliasesTiesDefaultsAndHeadsAndSaysWhatItLeft) {
  KeyMap map;
  map.rename("norm.{p}", "norm.{p}")
      .rename("embed", "embed")
      .rename("extra", "extra")
      .alias("{x...}.gamma", "{x...}.weight")
      .tie("lm_head", "embed")
      .drop("position_ids", "counted")
      .otherwise("extra", 3)
      .prefix("bert.");
  const auto w = at::randn({3}), e = at::randn({2, 3});
  const File file({{"bert.norm.gamma", w},
                   {"bert.lm_head", e},
                   {"bert.position_ids", at::arange(4)},
                   {"cls.bias", w}});
  const Tensors ours = {
      {"norm.weight", at::zeros({3})}, {"embed", at::zeros({2, 3})}, {"extra", at::zeros({2})}};
  const auto report = map.load(file.open(), ours);
  EXPECT_TRUE(at::equal(ours[0].tensor, w));
  EXPECT_TRUE(at::equal(ours[1].tensor, e));
  EXPECT_TRUE(at::equal(ours[2].tensor, at::full({2}, 3.0)));
  ASSERT_EQ(report.dropped.size(), 2u);
  EXPECT_EQ(report.dropped[0].name, "cls.bias");
  EXPECT_EQ(report.dropped[1].reason, "counted");
  EXPECT_EQ(report.defaulted, std::vector<std::string>{"extra"});
  EXPECT_TRUE(map.has(file.open(), "norm.gamma"));
  EXPECT_FALSE(map.has(file.open(), "pooler"));
}

TEST(KeyMap, ConvertsFloatingPointTypesExactly) {
  KeyMap map;
  map.rename("{x}", "{x}");
  const auto values = at::randn({5, 3});
  for (const auto type : {at::kHalf, at::kBFloat16, at::kDouble}) {
    const File file({{"w", values.to(type)}});
    const Tensors ours = {{"w", at::zeros({5, 3})}};
    map.load(file.open(), ours);
    EXPECT_TRUE(at::equal(ours[0].tensor, values.to(type).to(at::kFloat)));
  }
}

TEST(KeyMap, ListsEveryWeightThatDoesNotFitAndCopiesNothing) {
  KeyMap map;
  map.rename("a.{p}", "x.{p}").rename("n", "n");
  const File file({{"a.weight", at::ones({2, 3})}, {"b", at::ones({4})}, {"n", at::arange(2)}});
  const Tensors ours = {
      {"x.weight", at::zeros({3, 2})}, {"x.bias", at::zeros({3})}, {"n", at::zeros({2})}};
  EXPECT_THAT([&] { map.load(file.open(), ours); },
              ThrowsMessage<weft::Error>(
                  AllOf(HasSubstr("the weights do not fit the model"),
                        HasSubstr("missing (1):\n    a.bias [3] (for x.bias)"),
                        HasSubstr("unexpected (1):\n    b [4]"),
                        HasSubstr("a.weight: expected [3, 2], found [2, 3] (for x.weight)"),
                        HasSubstr("n: expected a floating-point type, found I64 (for n)"))));
  EXPECT_EQ(ours[0].tensor.abs().sum().item<float>(), 0);
  EXPECT_THAT(
      [&] {
        map.save({{"unknown", at::ones({2})}});
      },
      ThrowsMessage<weft::Error>(HasSubstr("no rule names unknown [2]")));
}

}  // namespace key_map_test
