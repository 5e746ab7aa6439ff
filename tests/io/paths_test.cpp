#include <fstream>

#include <gmock/gmock.h>

#include <weft/core/error.hpp>
#include <weft/io/paths.hpp>

#include "support/temp_folder.hpp"

namespace paths_test {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::Error;
using weft::io::expand_braces;
using weft::io::expand_paths;

TEST(Braces, ExpandAsShellsDo) {
  EXPECT_THAT(expand_braces("a"), ElementsAre("a"));
  EXPECT_THAT(expand_braces("x-{000009..000011}.tar"),
              ElementsAre("x-000009.tar", "x-000010.tar", "x-000011.tar"));
  EXPECT_THAT(expand_braces("{a,b}{1..2}"), ElementsAre("a1", "a2", "b1", "b2"));
  EXPECT_THAT(expand_braces("{x{1,2},y}"), ElementsAre("x1", "x2", "y"));
  EXPECT_THAT(expand_braces("{2..0}"), ElementsAre("2", "1", "0"));
  EXPECT_THAT(expand_braces("{0..10..5}"), ElementsAre("0", "5", "10"));
  EXPECT_THAT(expand_braces("{-1..1}"), ElementsAre("-1", "0", "1"));
  EXPECT_THAT(expand_braces("{8..010}"), ElementsAre("008", "009", "010"));
  EXPECT_THAT(expand_braces("{a..c}"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(expand_braces("{,a}b"), ElementsAre("b", "ab"));
  EXPECT_THAT(expand_braces("{ab}{}"), ElementsAre("{ab}{}"));
}

TEST(Braces, RefuseTooManyNamesAndUnbalancedBraces) {
  EXPECT_THAT([] { expand_braces("x{0..1000000}"); },
              ThrowsMessage<Error>("'x{0..1000000}': names more than 1000000 files"));
  EXPECT_THAT([] { expand_braces("{0..999}{0..999}{0,1}"); },
              ThrowsMessage<Error>(HasSubstr("more than 1000000")));
  EXPECT_THAT([] { expand_braces("{0..999999999999999}"); },
              ThrowsMessage<Error>(HasSubstr("more than 1000000")));
  EXPECT_THAT([] { expand_braces(std::string(1000, 'x') + "{0..999999}"); },
              ThrowsMessage<Error>(HasSubstr("bytes")));
  EXPECT_THAT([] { expand_braces("{0..1..0}"); }, ThrowsMessage<Error>(HasSubstr("step 0")));
  for (const auto* text : {"{", "}", "a{b", "a}b", "{a,{b}", "}{"})
    EXPECT_THAT([text] { expand_braces(text); }, ThrowsMessage<Error>(HasSubstr("not balanced")))
        << text;
  EXPECT_THAT([] { expand_braces(std::string(100, '{') + std::string(100, '}')); },
              ThrowsMessage<Error>(HasSubstr("nested deeper")));
}

TEST(Paths, GlobSortsAndStaysWithinComponents) {
  weft::test::TempFolder folder;
  std::filesystem::create_directories(folder / "s1");
  std::filesystem::create_directories(folder / "s2");
  for (const auto* name : {"s1/b.tar", "s1/a.tar", "s1/.hidden.tar", "s2/a.tar", "s2/a.txt"})
    std::ofstream(folder / name) << "x";
  const auto in = [&](const std::string& name) { return (folder / name).string(); };
  EXPECT_THAT(expand_paths(in("*/*.tar")),
              ElementsAre(in("s1/a.tar"), in("s1/b.tar"), in("s2/a.tar")));
  EXPECT_THAT(expand_paths(in("s?/a*")),
              ElementsAre(in("s1/a.tar"), in("s2/a.tar"), in("s2/a.txt")));
  EXPECT_THAT(expand_paths(in("s{2,1}/a.t*r") + "::" + in("s2/a.txt")),
              ElementsAre(in("s2/a.tar"), in("s1/a.tar"), in("s2/a.txt")));
  EXPECT_THAT([&] { expand_paths(in("*/*.tar"), 2); },
              ThrowsMessage<Error>(HasSubstr("names more than 2 files")));
  EXPECT_THAT([&] { expand_paths(in("*/*.jpg")); }, ThrowsMessage<Error>(HasSubstr("*/*.jpg'")));
}

TEST(Paths, AMissingShardStaysButAllMissingIsAnError) {
  weft::test::TempFolder folder;
  std::ofstream(folder / "0.tar") << "x";
  const auto in = [&](const std::string& name) { return (folder / name).string(); };
  EXPECT_THAT(expand_paths(in("{0..1}.tar")), ElementsAre(in("0.tar"), in("1.tar")));
  EXPECT_THAT([&] { expand_paths(in("{1..2}.tar")); },
              ThrowsMessage<Error>(HasSubstr("{1..2}.tar': no such files")));
  EXPECT_THAT([] { expand_paths(""); }, ThrowsMessage<Error>(HasSubstr("empty")));
  EXPECT_THAT([] { expand_paths("a::"); }, ThrowsMessage<Error>(testing::_));
}

}  // namespace paths_test
