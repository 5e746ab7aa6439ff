#include <optional>

#include <gmock/gmock.h>

#include <weft/core/flags.hpp>

namespace flags_test {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::Error;

struct Inner {
  double lr = 1e-3;
  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("lr", o.lr, "peak learning rate");
  }
};
struct Program {
  int64_t batch_size = 32;
  std::string out = "runs/x";
  bool lock_vision = false;
  bool shuffle = true;
  std::optional<double> wd = {};
  std::vector<std::string> text = {};
  Inner inner = {};
  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("batch_size", o.batch_size, "samples a rank");
    v("out", o.out);
    v("lock_vision", o.lock_vision, "freeze it");
    v("shuffle", o.shuffle);
    v("wd", o.wd);
    v("text", o.text);
    v("inner", o.inner);
  }
};

static Program parse(std::vector<std::string> words, std::vector<std::string>* rest = nullptr) {
  Program program;
  std::vector<std::string> files;
  weft::Flags flags("program", "A test.");
  flags.add(program)
      .alias("batch-size", "batch")
      .positional("files", rest ? *rest : files, "images");
  words.insert(words.begin(), "program");
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  flags.parse(static_cast<int>(argv.size()), argv.data());
  return program;
}

TEST(Flags, ComeFromTheOptionsStruct) {
  std::vector<std::string> rest;
  const auto p = parse({"a.jpg", "--batch-size", "64", "--lock-vision", "--no-shuffle", "--wd=0.1",
                        "--lr", "2e-3", "--text", "one", "two"},
                       &rest);
  EXPECT_EQ(p.batch_size, 64);
  EXPECT_TRUE(p.lock_vision);
  EXPECT_FALSE(p.shuffle);
  EXPECT_EQ(p.wd, 0.1);
  EXPECT_EQ(p.inner.lr, 2e-3);
  EXPECT_THAT(p.text, ElementsAre("one", "two"));
  EXPECT_THAT(rest, ElementsAre("a.jpg"));
  EXPECT_EQ(p.out, "runs/x");
}

TEST(Flags, AliasesAndRepeatedFlags) {
  EXPECT_EQ(parse({"--batch", "8"}).batch_size, 8);
  EXPECT_EQ(parse({"--batch=8", "--batch-size", "9"}).batch_size, 9);
}

TEST(Flags, NothingBehindTwoDashesIsAFlag) {
  std::vector<std::string> rest;
  EXPECT_EQ(parse({"--batch", "3", "--", "--batch", "--unknown"}, &rest).batch_size, 3);
  EXPECT_THAT(rest, ElementsAre("--batch", "--unknown"));
}

TEST(Flags, MistakesAreUsageErrorsThatHelp) {
  const auto run = [](std::vector<std::string> words) { return [words] { parse(words); }; };
  EXPECT_THAT(run({"--batchsize", "1"}),
              ThrowsMessage<Error>(HasSubstr("unknown flag '--batchsize'; nearest: --batch-size")));
  EXPECT_THAT(run({"--batch-size", "1x"}),
              ThrowsMessage<Error>("--batch-size: expected an integer, found '1x'"));
  try {
    parse({"--batch-size"});
    FAIL() << "a flag without its value";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_status(), 2);
  }
}

TEST(RunProgram, TurnsErrorsIntoExitStatuses) {
  using weft::ErrorKind;
  const auto status = [](ErrorKind kind) {
    return weft::run_program("test", [kind]() -> int { throw Error("x", kind); });
  };
  EXPECT_EQ(status(ErrorKind::usage), 2);
  EXPECT_EQ(status(ErrorKind::input), 3);
  EXPECT_EQ(status(ErrorKind::diverged), 4);
  EXPECT_EQ(status(ErrorKind::bad_data), 5);
  EXPECT_EQ(weft::run_program("test", [] { return 7; }), 7);
  EXPECT_EQ(weft::run_program("test", []() -> int { throw std::runtime_error("x"); }), 1);
}

}  // namespace flags_test
