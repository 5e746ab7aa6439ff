#include <chrono>

#include <gmock/gmock.h>

#include <weft/core/json.hpp>
#include <weft/core/options.hpp>
#include <weft/core/registry.hpp>

namespace json_test {

using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::Error;
using weft::Json;

enum class Fruit { apple, pear };

struct Inner {
  int64_t size;
  std::optional<double> scale = {};
  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("size", o.size, weft::required);
    v("scale", o.scale, "a factor");
  }
};
struct Outer {
  Fruit fruit = Fruit::apple;
  std::vector<Inner> parts = {};
  std::string name = "none";
  bool flag = false;
  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("fruit", o.fruit);
    v("parts", o.parts);
    v("name", o.name);
    v("flag", o.flag);
  }
};

}  // namespace json_test

template <>
inline constexpr std::string_view weft::enum_names<json_test::Fruit>[] = {"apple", "pear"};

namespace json_test {

TEST(Json, KeepsTheOrderOfKeysAndRoundTrips) {
  const auto json = Json::parse(R"({"b": 1, "a": [true, null, "x\u00e9", 1.5], "c": {}})");
  EXPECT_EQ(json.dump(), R"({"b":1,"a":[true,null,"xé",1.5],"c":{}})");
  EXPECT_EQ(Json::parse(json.dump()), json);
  EXPECT_EQ(json.at("a").at(3).as_double(), 1.5);
}

TEST(Json, ErrorsNameWhatWasFound) {
  const auto json = Json::parse(R"({"a": "text"})");
  EXPECT_THAT([&] { json.at("a").as_int(); },
              ThrowsMessage<Error>("expected an integer, found string"));
  EXPECT_THAT([&] { json.at("b"); }, ThrowsMessage<Error>("the key 'b' is missing"));
  EXPECT_THAT([&] { Json::parse("{\"a\": }", "x.json"); },
              ThrowsMessage<Error>(HasSubstr("x.json: not valid JSON")));
  EXPECT_THAT([&] { Json::parse(std::string(100, '['), "deep"); },
              ThrowsMessage<Error>(HasSubstr("deeper than 64")));
}

TEST(Json, AKeyThatStandsTwiceIsNamedWithItsByte) {
  const auto parse = [](const char* text) { return [text] { Json::parse(text, "x.json"); }; };
  EXPECT_THAT(parse(R"({"a": {"b": 1, "c": 2, "b": 3}})"),
              ThrowsMessage<Error>("x.json: the key 'b' stands twice in one object, again at byte "
                                   "23"));
  // By what it says, not by how it is spelled.
  EXPECT_THAT(parse(R"({"a\"b": 1, "a\u0022b": 2})"),
              ThrowsMessage<Error>(HasSubstr("at byte 12")));
  EXPECT_THAT(parse(R"({"\\": 1, "\\" : 2})"), ThrowsMessage<Error>(HasSubstr("at byte 10")));
  EXPECT_NO_THROW(parse(R"([{"a": {"a": 1}}, {"a": 1}])")());
  EXPECT_THAT(parse(R"({"a": 1, "a": })"), ThrowsMessage<Error>(HasSubstr("'a' stands twice")));
}

TEST(Json, ParsesManyMembersInLinearTime) {
  constexpr int kMembers = 400'000;
  std::string text = "{";
  for (int i = 0; i < kMembers; ++i)
    text += (i ? ",\"" : "\"") + std::to_string(i) + "\":" + std::to_string(i);
  const auto start = std::chrono::steady_clock::now();
  const auto json = Json::parse(text + "}");
  // 0.2 s; looking through the members at each insertion took minutes.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  EXPECT_EQ(json.size(), static_cast<size_t>(kMembers));
  EXPECT_EQ(json.keys().back(), std::to_string(kMembers - 1));
}

TEST(Json, EqualityDoesNotSeeTheOrderOfMembers) {
  const auto value = Json::parse(R"({"a": [{"b": 1, "c": 2}], "d": null})");
  EXPECT_EQ(value, Json::parse(R"({"d": null, "a": [{"c": 2, "b": 1}]})"));
  EXPECT_FALSE(value == Json::parse(R"({"d": null, "a": [{"c": 1, "b": 2}]})"));
  EXPECT_FALSE(value == Json::parse(R"({"d": null, "a": [{"c": 2, "b": 1}], "e": 0})"));
  EXPECT_FALSE(Json::parse("[1, 2]") == Json::parse("[2, 1]"));
}

TEST(Json, EveryKindOfValueKeepsItsPlace) {
  for (const auto* text : {"null", "-3", "18446744073709551615", "1.5", "\"x\"", "[]", "{}",
                           "[[],{},[{}]]", R"({"a":{"b":[1,{"c":null}],"d":{}},"e":[true,false]})"})
    EXPECT_EQ(Json::parse(text).dump(), text);
  for (const auto* text : {"", "{", "[1,]", "1 2", "{\"a\":1}}", "1e999", "\"\xff\"", "\"a"})
    EXPECT_THAT([&] { Json::parse(text, "x"); }, ThrowsMessage<Error>(HasSubstr("x: not valid")));
}

TEST(Options, RoundTripNestedOptionalAndEnumMembers) {
  Outer outer{.fruit = Fruit::pear,
              .parts = {{.size = 3}, {.size = 4, .scale = 0.5}},
              .name = "n",
              .flag = true};
  const auto json = weft::to_json(outer);
  EXPECT_EQ(
      json.dump(),
      R"({"fruit":"pear","parts":[{"size":3,"scale":null},{"size":4,"scale":0.5}],"name":"n","flag":true})");
  EXPECT_EQ(weft::to_json(weft::from_json<Outer>(json)), json);
}

TEST(Options, UnknownMissingAndWrongAreErrorsThatNameThePlace) {
  const auto read = [](const char* text) {
    return [text] { weft::from_json<Outer>(Json::parse(text), "config"); };
  };
  EXPECT_THAT(read(R"({"frut": "pear"})"),
              ThrowsMessage<Error>("config: unknown key 'frut'; nearest: fruit, flag, name"));
  EXPECT_THAT(read(R"({"fruit": "plum"})"),
              ThrowsMessage<Error>(HasSubstr("unknown value 'plum'; nearest: pear")));
  EXPECT_THAT(read(R"({"parts": [{"scale": 1}]})"),
              ThrowsMessage<Error>("config.parts[0]: the required key 'size' is missing"));
  EXPECT_THAT(read(R"({"parts": [{"size": "1"}]})"),
              ThrowsMessage<Error>("config.parts[0].size: expected an integer, found string"));
}

TEST(Registry, SuggestsTheNearestNames) {
  weft::Registry<int> registry("encoder");
  registry.add("dinov2", 1);
  registry.add("bert", 2);
  EXPECT_EQ(registry.at("bert"), 2);
  EXPECT_THAT([&] { registry.at("dinov3"); },
              ThrowsMessage<Error>("unknown encoder 'dinov3'; nearest: dinov2, bert"));
  EXPECT_THAT([&] { registry.add("bert", 3); },
              ThrowsMessage<Error>("encoder 'bert' is registered already"));
}

}  // namespace json_test
