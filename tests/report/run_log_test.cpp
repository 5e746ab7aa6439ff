#include <cmath>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <weft/io/file.hpp>
#include <weft/report/run_log.hpp>

#include "support/gmock.hpp"
#include "support/python.hpp"

namespace run_log_test {

using namespace weft::test;
using weft::Json;
using weft::report::Console;
using weft::report::read_metrics;
using weft::report::RunLog;
using weft::report::StepMetrics;

struct OpenFile {  // a file descriptor, closed at the end
  explicit OpenFile(const std::filesystem::path& path)
      : value(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644)) {}
  ~OpenFile() { ::close(value); }
  int value;
};

StepMetrics make_step(int64_t step) {
  return {.step = step,
          .epoch = 0.1 * static_cast<double>(step),
          .samples = 32 * step,
          .loss = 3.0 / static_cast<double>(step),
          .lr = 1e-3 / static_cast<double>(step),
          .grad_norm = 0.7,
          .samples_per_second = 1234.5,
          .data_wait = 0.25,
          .extra = {{"scale \"x\"", 14.25}}};
}

struct RunLogTest : testing::Test {
  TempFolder folder;
  OpenFile console{folder / "console"};
  weft::report::RunLogOptions options{.console = console.value, .console_every = 0.05};
  std::string text() const { return weft::io::read_file(folder / "console"); }
};

TEST_F(RunLogTest, WritesWhatReadMetricsReads) {
  {
    RunLog log(folder / "run", options);
    log.begin(0, 3);
    for (int64_t step = 1; step <= 3; ++step) log.step(make_step(step));
    auto bad = make_step(4);
    bad.loss = bad.grad_norm = std::nan("");
    bad.lr = 0;
    log.step(bad);
  }
  const auto lines = read_metrics(folder / "run");
  ASSERT_EQ(lines.size(), 4u);
  for (int64_t step = 1; step <= 3; ++step) {
    const auto expected = make_step(step);
    const auto& found = lines[static_cast<size_t>(step - 1)];
    EXPECT_EQ(found.step, step);
    EXPECT_EQ(found.epoch, expected.epoch);
    EXPECT_EQ(found.samples, expected.samples);
    EXPECT_EQ(found.loss, expected.loss);
    EXPECT_EQ(found.lr, expected.lr);
    EXPECT_EQ(found.grad_norm, expected.grad_norm);
    EXPECT_EQ(found.samples_per_second, expected.samples_per_second);
    EXPECT_EQ(found.data_wait, expected.data_wait);
    EXPECT_EQ(found.extra, expected.extra);
  }
  EXPECT_TRUE(std::isnan(lines[3].loss));
  const auto first = weft::io::read_file(folder / "run" / "metrics.jsonl");
  const auto json = Json::parse(first.substr(0, first.find('\n')));
  EXPECT_THAT(json.keys(),
              testing::ElementsAre("step", "epoch", "samples", "loss", "lr", "grad_norm",
                                   "samples_per_second", "data_wait", "scale \"x\""));
}

TEST_F(RunLogTest, KeepsExactlyTheLinesOfTheRunThatGoesOn) {
  {
    RunLog log(folder / "run", options);
    log.begin(0, 10);
    for (int64_t step = 1; step <= 8; ++step) log.step(make_step(step));
  }
  // As a process that was killed leaves it.
  std::ofstream(folder / "run" / "metrics.jsonl", std::ios::app) << R"({"step":9,"epo)";
  EXPECT_EQ(read_metrics(folder / "run").size(), 8u);
  {
    RunLog log(folder / "run", options);
    log.begin(5, 10);
    auto other = make_step(6);
    other.loss = 42;
    log.step(other);
  }
  auto lines = read_metrics(folder / "run");
  ASSERT_EQ(lines.size(), 6u);
  EXPECT_EQ(lines[4].loss, make_step(5).loss);
  EXPECT_EQ(lines[5].loss, 42);
  EXPECT_THAT(text(), testing::Not(HasSubstr("warning")));
  {
    RunLog log(folder / "run", options);
    log.begin(0, 10);
  }
  EXPECT_TRUE(read_metrics(folder / "run").empty());
  {
    RunLog log(folder / "run", options);
    log.begin(5, 10);
  }
  EXPECT_THAT(text(), HasSubstr("0 of the 5 lines before the restored step are there"));
}

TEST_F(RunLogTest, LinesArriveOnFlush) {
  RunLog log(folder / "run", options);
  log.begin(0, 10);
  log.step(make_step(1));
  log.flush();
  EXPECT_EQ(read_metrics(folder / "run").size(), 1u);
}

TEST_F(RunLogTest, NamesTheDamagedLine) {
  std::ofstream(folder / "metrics.jsonl") << R"({"step":1,"samples":1,"loss":1})"
                                          << "\n{oops}\n";
  EXPECT_THAT([&] { read_metrics(folder.path()); },
              ThrowsMessage<weft::Error>(HasSubstr("metrics.jsonl, line 2")));
  EXPECT_THAT([&] { read_metrics(folder / "absent"); },
              ThrowsMessage<weft::Error>(HasSubstr("absent")));
}

TEST_F(RunLogTest, WritesTheResolvedConfiguration) {
  RunLog log(folder / "run", options);
  log.config(Json::object({{"lr", 1e-3}, {"vision", "vit_tiny"}}));
  EXPECT_EQ(Json::read(folder / "run" / "config.json").at("vision").as_string(), "vit_tiny");
}

TEST_F(RunLogTest, PrintsALineEveryFewSecondsWithoutControlCharacters) {
  RunLog log(folder / "run", options);
  log.begin(0, 1000);
  log.log("hello");
  for (int64_t step = 1; step <= 20; ++step) {
    log.step(make_step(step));
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  log.warn("careful");
  log.end();
  EXPECT_THAT(text(),
              testing::AllOf(HasSubstr("hello\n"), HasSubstr("warning: careful\n"),
                             HasSubstr("step 20/1000  epoch 2.00  loss 0.1500"),
                             HasSubstr("data wait"), HasSubstr("ETA "), HasSubstr("samples/s")));
  EXPECT_THAT(text(), testing::Not(testing::AnyOf(HasSubstr("\r"), HasSubstr("\033"))));
  const auto printed = text();
  const auto count = std::count(printed.begin(), printed.end(), '\n');
  EXPECT_GT(count, 3);
  EXPECT_LT(count, 12);
}

// What a terminal of 100 columns would get.
std::string on_terminal(const std::function<void(Console&)>& use) {
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY);
  ::grantpt(master);
  ::unlockpt(master);
  const int slave = ::open(::ptsname(master), O_RDWR | O_NOCTTY);
  {
    Console console(slave);
    use(console);
  }
  ::close(slave);
  std::string out;
  char bytes[1 << 12];
  // A read may give a part of what was written.
  for (ssize_t count; (count = ::read(master, bytes, sizeof bytes)) > 0;)
    out.append(bytes, static_cast<size_t>(count));
  ::close(master);
  return out;
}

TEST(ConsoleOnATerminal, RedrawsOneLineAndColoursWarnings) {
  const auto* before = std::getenv("NO_COLOR");
  const std::string kept = before ? before : "";
  const auto* term = std::getenv("TERM");
  const std::string kept_term = term ? term : "";
  ::setenv("TERM", "xterm", 1);
  const auto use = [](Console& console) {
    EXPECT_TRUE(console.terminal());
    console.progress("step 1", true);
    console.progress("step 2", true);
    console.warning("careful");
    console.progress(std::string(500, 'x'), true);
  };
  ::unsetenv("NO_COLOR");
  const auto colored = on_terminal(use);
  EXPECT_THAT(colored, testing::StartsWith("\rstep 1\033[K\rstep 2\033[K\r\033[K"));
  EXPECT_THAT(colored, HasSubstr("\033[33mwarning:\033[0m careful"));
  EXPECT_THAT(colored, testing::EndsWith("x\033[K\r\n"));
  EXPECT_EQ(std::count(colored.begin(), colored.end(), 'x'), 79);
  ::setenv("NO_COLOR", "1", 1);
  EXPECT_THAT(on_terminal(use), testing::Not(HasSubstr("\033[33m")));
  before ? ::setenv("NO_COLOR", kept.c_str(), 1) : ::unsetenv("NO_COLOR");
  term ? ::setenv("TERM", kept_term.c_str(), 1) : ::unsetenv("TERM");
}

TEST(Progress, CountsRateAndTimeLeft) {
  const TempFolder folder;
  const OpenFile file(folder / "log");
  Console console(file.value, 0.0);
  weft::report::Progress progress(console, "features", 100, "images");
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  progress.update(50, 0.02, "of 2 shards");
  progress.update(100);
  progress.finish();
  EXPECT_THAT(weft::io::read_file(folder / "log"),
              testing::ContainsRegex("features 50/100  of 2 shards  [0-9]+ images/s  data wait "
                                     "[0-9]+ %  ETA 0:00\n"));
}

TEST(Progress, FormatsDurations) {
  EXPECT_EQ(weft::report::format_duration(0.4), "0:00");
  EXPECT_EQ(weft::report::format_duration(75), "1:15");
  EXPECT_EQ(weft::report::format_duration(3700), "1:01:40");
}

TEST(Crc32c, GivesTheKnownValues) {
  // RFC 3720, appendix B.4.
  EXPECT_EQ(weft::report::crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(weft::report::crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(weft::report::crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  EXPECT_EQ(weft::report::crc32c(""), 0u);
}

TEST_F(RunLogTest, TensorBoardReadsTheEvents) {
  WEFT_NEEDS_PYTHON();
  {
    RunLog log(folder / "run", options);
    log.begin(0, 300);
    for (int64_t step = 1; step <= 300; ++step) log.step(make_step(step));
    log.scalars(300, {{"val/r1", 0.5}});
  }
  std::this_thread::sleep_for(
      std::chrono::milliseconds(1100));  // files are read in order of seconds
  {
    RunLog log(folder / "run", options);
    log.begin(200, 300);
    auto other = make_step(201);
    other.loss = 42;
    log.step(other);
  }
  ASSERT_TRUE(weft::test::run_python(R"(
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
a = EventAccumulator(sys.argv[1] + "/tensorboard", size_guidance={"scalars": 0}); a.Reload()
json.dump({"tags": sorted(a.Tags()["scalars"]), "steps": [e.step for e in a.Scalars("train/loss")],
           "losses": [e.value for e in a.Scalars("train/loss")]}, open(sys.argv[1] + "/read.json", "w"))
)",
                                     folder / "run"));
  const auto read = Json::read(folder / "run" / "read.json");
  const auto tags = read.at("tags").as_strings();
  EXPECT_THAT(tags, testing::IsSupersetOf({"train/loss", "train/lr", "train/grad_norm",
                                           "train/data_wait", "train/scale \"x\""}));
  const auto steps = read.at("steps").as_ints();
  const auto losses = read.at("losses").as_doubles();
  ASSERT_EQ(steps.size(), 201u);  // the steps behind 200 were forgotten
  for (size_t i = 0; i < 200; ++i) {
    EXPECT_EQ(steps[i], static_cast<int64_t>(i + 1));
    EXPECT_FLOAT_EQ(static_cast<float>(losses[i]), static_cast<float>(make_step(steps[i]).loss));
  }
  EXPECT_EQ(losses[200], 42);
}

}  // namespace run_log_test
