#include <weft/data/sample.hpp>

#include "support/gmock.hpp"

namespace sample_test {

using namespace weft::test;
using weft::data::BadCause;
using weft::data::BadSample;
using weft::data::Sample;

static Sample with(std::map<std::string, std::string> fields) {
  return {.key = "k", .shard = "s.tar", .offset = 512, .fields = std::move(fields)};
}
static BadCause cause_of(std::map<std::string, std::string> fields) {
  try {
    weft::data::captions(with(std::move(fields)));
  } catch (const BadSample& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("s.tar: sample 'k' at byte 512"));
    return error.cause();
  }
  ADD_FAILURE() << "no BadSample";
  return {};
}

TEST(Captions, ComeFromTextOrJson) {
  using weft::data::captions;
  EXPECT_THAT(captions(with({{"txt", " a dog \n"}})), ElementsAre("a dog"));
  EXPECT_THAT(captions(with({{"json", R"({"captions": ["a", " b ", ""]})"}})),
              ElementsAre("a", "b"));
  EXPECT_THAT(captions(with({{"json", R"({"caption": "one"})"}})), ElementsAre("one"));
  EXPECT_THAT(captions(with({{"json", R"({"caption": ["one", "two"]})"}})),
              ElementsAre("one", "two"));
  EXPECT_THAT(captions(with({{"json", R"({"captions": "one"})"}})), ElementsAre("one"));
  EXPECT_THAT(captions(with({{"json", R"({"captions": ["j"]})"}, {"txt", "t"}})), ElementsAre("j"));
  EXPECT_THAT(captions(with({{"json", R"({"width": 3})"}, {"txt", "t"}})), ElementsAre("t"));
}

TEST(Captions, SayWhyThereAreNone) {
  EXPECT_EQ(cause_of({{"jpg", ""}}), BadCause::missing_caption);
  EXPECT_EQ(cause_of({{"txt", " \n"}}), BadCause::missing_caption);
  EXPECT_EQ(cause_of({{"json", R"({"captions": []})"}}), BadCause::missing_caption);
  EXPECT_EQ(cause_of({{"json", R"({"captions": [1]})"}}), BadCause::bad_caption);
  EXPECT_EQ(cause_of({{"json", R"({"captions": {"en": "a"}})"}}), BadCause::bad_caption);
  EXPECT_EQ(cause_of({{"json", R"({"captions": ["a)"}}), BadCause::bad_caption);
  EXPECT_EQ(cause_of({{"json", R"({"captions": ["a"], "captions": ["b"]})"}}),
            BadCause::bad_caption);
  EXPECT_EQ(cause_of({{"json", "{\"captions\": [\"\xe4\"]}"}}), BadCause::bad_caption);
  EXPECT_EQ(cause_of({{"txt", "a caf\xe9"}}), BadCause::bad_caption);
}

TEST(ImageBytes, AreThoseOfAnyImageField) {
  EXPECT_EQ(weft::data::image_bytes(with({{"jpeg", "x"}})), "x");
  EXPECT_EQ(weft::data::image_bytes(with({{"png", "y"}, {"txt", ""}})), "y");
  EXPECT_THROW(weft::data::image_bytes(with({{"gif", "x"}})), BadSample);
}

TEST(ImageName, EndsInAnyOfTheExtensions) {
  for (const auto* name : {"a.jpg", "b/Cat.JPEG", "x.y.webp", "x.bmp", "x.Png"})
    EXPECT_TRUE(weft::data::is_image_name(name)) << name;
  for (const auto* name : {"jpg", ".jpg", "a.jpgx", "a.gif", "a.", "a.txt", "xpng"})
    EXPECT_FALSE(weft::data::is_image_name(name)) << name;
}

TEST(Label, IsAWholeNumberInCls) {
  using weft::data::label;
  EXPECT_EQ(label(with({{"cls", "7"}})), 7);
  EXPECT_EQ(label(with({{"cls", " 012\n"}})), 12);
  const auto cause = [](std::map<std::string, std::string> fields) {
    try {
      label(with(std::move(fields)));
    } catch (const BadSample& error) {
      return error.cause();
    }
    return BadCause::read_error;
  };
  EXPECT_EQ(cause({{"txt", "7"}}), BadCause::missing_label);
  for (const auto* text : {"", "-1", "1.5", "3 4", "+2", "x", "99999999999999999999"})
    EXPECT_EQ(cause({{"cls", text}}), BadCause::bad_label) << text;
}

}  // namespace sample_test
