#include <csignal>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <torch/torch.h>

#include <weft/train/trainer.hpp>

#include "support/gmock.hpp"

namespace trainer_test {

using namespace weft::test;
using weft::Json;
using weft::report::read_metrics;
using weft::report::RunLog;
using weft::train::StepResult;
using weft::train::Trainer;
using weft::train::TrainerOptions;
using weft::train::TrainSummary;

// Random generators matter by dropout, buffers by batch norm.
torch::nn::Sequential make_net() {
  torch::manual_seed(11);
  return torch::nn::Sequential(torch::nn::Linear(8, 32), torch::nn::BatchNorm1d(32),
                               torch::nn::ReLU(), torch::nn::Dropout(0.3),
                               torch::nn::Linear(32, 1));
}

// Regression of a fixed function; batches come in the order of a stream whose position is the
// state.
struct Toy : weft::train::Task {
  explicit Toy(torch::nn::Sequential net) : net(std::move(net)) {}
  StepResult step() override {
    if (position == end) return {};
    torch::Generator generator = at::detail::createCPUGenerator(static_cast<uint64_t>(position));
    const auto x = torch::randn({16, 8}, generator);
    const auto y = x.narrow(1, 0, 2).sum(1, true);
    ++position;
    if (before_loss) before_loss();
    auto loss = (net->forward(x) - y).square().mean();
    last_dtype = net[0]->as<torch::nn::Linear>()->forward(x).scalar_type();
    if (position > bad_from && position <= bad_to) loss = loss * std::nan("");
    return {.loss = loss.to(torch::kFloat),
            .samples = 16,
            .epoch = static_cast<double>(position) / 10,
            .epoch_end = position % 10 == 0,
            .data_wait_seconds = 1e-4,
            .extra = {{"position", static_cast<double>(position)}},
            .counts = {{"rows", 16}}};
  }
  void after_step() override { ++after; }
  void epoch_end(int64_t epoch) override { epochs.push_back(epoch); }
  int64_t steps_per_epoch() const override { return 10; }
  Json state() const override { return Json::object({{"position", position}}); }
  void restore(const Json& state) override { position = state.at("position").as_int(); }

  torch::nn::Sequential net;
  int64_t position = 0, end = -1, bad_from = 1'000'000, bad_to = 1'000'000, after = 0;
  std::vector<int64_t> epochs;
  std::function<void()> before_loss;
  torch::ScalarType last_dtype = torch::kFloat;
};

TrainerOptions toy_options() {
  return {.epochs = 4, .lr = 1e-2, .warmup = 3, .grad_clip_norm = 1.0, .save_every = 7};
}

struct Quiet : RunLog {  // the log goes to a file
  explicit Quiet(const std::filesystem::path& folder) : RunLog(folder, {.console = file()}) {}
  static int file() {
    static const int file = ::open("/dev/null", O_WRONLY);
    return file;
  }
};

struct Result {
  TrainSummary summary;
  std::map<std::string, torch::Tensor> tensors;
};

// One thread while it lives: the toys are too small for more, and on a busy machine threads that
// wait for each other take seconds.
struct OneThread {
  OneThread() { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(threads); }
  int threads = at::get_num_threads();
};

Result run(const std::filesystem::path& folder, const TrainerOptions& options,
           const std::function<void(Toy&)>& adjust = {}) {
  const OneThread one_thread;
  auto net = make_net();
  Toy task(net);
  if (adjust) adjust(task);
  Quiet log(folder);
  Trainer trainer(*net, task, options, log);
  Result out{.summary = trainer.run(), .tensors = {}};
  for (const auto& item : net->named_parameters()) out.tensors[item.key()] = item.value().detach();
  for (const auto& item : net->named_buffers()) out.tensors[item.key()] = item.value();
  for (const auto& [name, tensor] : trainer.optimizer().state())
    out.tensors["optimizer." + name] = tensor;
  return out;
}

void expect_same(const Result& a, const Result& b) {
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, tensor] : a.tensors)
    EXPECT_TRUE(torch::equal(tensor, b.tensors.at(name))) << name;
  EXPECT_EQ(a.summary.steps, b.summary.steps);
  EXPECT_EQ(a.summary.samples, b.summary.samples);
}

void expect_same_metrics(const std::filesystem::path& a, const std::filesystem::path& b) {
  const auto left = read_metrics(a), right = read_metrics(b);
  ASSERT_EQ(left.size(), right.size());
  for (size_t i = 0; i < left.size(); ++i) {
    EXPECT_EQ(left[i].step, static_cast<int64_t>(i + 1));
    EXPECT_EQ(left[i].step, right[i].step);
    EXPECT_EQ(left[i].loss, right[i].loss) << i;
    EXPECT_EQ(left[i].lr, right[i].lr) << i;
    EXPECT_EQ(left[i].grad_norm, right[i].grad_norm) << i;
    EXPECT_EQ(left[i].samples, right[i].samples) << i;
    EXPECT_EQ(left[i].extra, right[i].extra) << i;
  }
}

double mean_loss(const std::vector<weft::report::StepMetrics>& lines, size_t first) {
  double sum = 0;
  for (size_t i = first; i < first + 5; ++i) sum += lines[i].loss;
  return sum / 5;
}

TEST(Trainer, RunsTheScheduleAndWritesALineAStep) {
  const OneThread one_thread;
  const TempFolder folder;
  auto net = make_net();
  Toy task(net);
  Quiet log(folder / "run");
  Trainer trainer(*net, task, toy_options(), log);
  EXPECT_EQ(trainer.total_steps(), 40);
  const auto summary = trainer.run();
  EXPECT_EQ(summary.steps, 40);
  EXPECT_EQ(summary.samples, 640);
  EXPECT_EQ(summary.exit_status(), 0);
  EXPECT_EQ(task.after, 40);
  EXPECT_THAT(task.epochs, testing::ElementsAre(1, 2, 3, 4));
  const auto lines = read_metrics(folder / "run");
  ASSERT_EQ(lines.size(), 40u);
  EXPECT_DOUBLE_EQ(lines[0].lr, 1e-2 / 3);
  EXPECT_DOUBLE_EQ(lines[39].lr, 1e-2 * (1 - 36.0 / 37));
  EXPECT_DOUBLE_EQ(lines[14].epoch, 1.5);
  EXPECT_GT(lines[14].samples_per_second, 0);
  EXPECT_GT(lines[14].data_wait, 0);
  EXPECT_LT(mean_loss(lines, 35), mean_loss(lines, 0));
  EXPECT_EQ(weft::checkpoint::Snapshots(folder / "run" / "checkpoints").list().size(), 2u);
  EXPECT_EQ(summary.snapshot.filename(), "step-00000040");
}

TEST(Trainer, ResumesBitForBit) {
  const TempFolder folder;
  const auto whole = run(folder / "whole", toy_options());
  auto options = toy_options();
  options.max_steps = 17;  // in the middle of an epoch
  EXPECT_EQ(run(folder / "parts", options).summary.steps, 17);
  options.max_steps = 0;
  options.resume = "latest";
  const auto parts = run(folder / "parts", options);
  expect_same(whole, parts);
  expect_same_metrics(folder / "whole", folder / "parts");
}

TEST(Trainer, ResumesBitForBitWithAccumulationAndBf16) {
  const TempFolder folder;
  auto options = toy_options();
  options.accum_freq = 3;
  options.precision = weft::nn::Precision::bf16;
  const auto whole = run(folder / "whole", options);
  EXPECT_EQ(whole.summary.steps, 13);
  EXPECT_EQ(whole.summary.samples, 13 * 3 * 16);
  const std::vector<std::pair<std::string, double>> second = {{"position", 5}, {"rows", 48}};
  EXPECT_EQ(read_metrics(folder / "whole").at(1).extra, second);  // of batches 4, 5 and 6
  options.max_steps = 6;
  run(folder / "parts", options);
  options.max_steps = 0;
  options.resume = "latest";
  expect_same(whole, run(folder / "parts", options));
  expect_same_metrics(folder / "whole", folder / "parts");
}

TEST(Trainer, AveragesParametersAlsoAcrossAResume) {
  const OneThread one_thread;
  const TempFolder folder;
  const auto averages = [&](const char* name, int64_t max_steps, const char* resume) {
    auto options = toy_options();
    options.ema_decay = 0.9;
    options.max_steps = max_steps;
    options.resume = resume;
    auto net = make_net();
    Toy task(net);
    Quiet log(folder / name);
    Trainer trainer(*net, task, options, log);
    trainer.run();
    return trainer.average()->averages();
  };
  const auto whole = averages("whole", 0, "");
  averages("parts", 17, "");
  const auto parts = averages("parts", 0, "latest");
  ASSERT_EQ(whole.size(), parts.size());
  for (size_t i = 0; i < whole.size(); ++i)
    EXPECT_TRUE(torch::equal(whole[i].second, parts[i].second)) << whole[i].first;
  EXPECT_THAT(
      [&] {
        run(folder / "without", toy_options());
        averages("without", 0, "latest");
      },
      testing::ThrowsMessage<weft::Error>(testing::HasSubstr("begun without --ema-decay")));
}

TEST(Trainer, ResumesFromANamedSnapshotAndDropsWhatCameLater) {
  const TempFolder folder;
  auto options = toy_options();
  options.keep = 10;
  const auto whole = run(folder / "run", options);
  options.resume = (folder / "run" / "checkpoints" / "step-00000014").string();
  options.max_steps = 20;
  EXPECT_EQ(run(folder / "run", options).summary.steps, 20);
  EXPECT_EQ(read_metrics(folder / "run").size(), 20u);
  const auto left = weft::checkpoint::Snapshots(folder / "run" / "checkpoints").list();
  ASSERT_EQ(left.size(), 3u);  // 7, 14 and the new 20
  EXPECT_EQ(left.back().filename(), "step-00000020");
  options.resume = "latest";
  options.max_steps = 0;
  expect_same(whole, run(folder / "run", options));
}

TEST(Trainer, StartsAnewWhereThereIsNothingToResume) {
  const TempFolder folder;
  auto options = toy_options();
  options.resume = "latest";
  expect_same(run(folder / "a", toy_options()), run(folder / "b", options));
}

TEST(Trainer, WillNotMixTwoRuns) {
  const TempFolder folder;
  run(folder / "run", toy_options());
  EXPECT_THAT([&] { run(folder / "run", toy_options()); },
              ThrowsMessage<weft::Error>(
                  testing::AllOf(HasSubstr("step-00000040"), HasSubstr("--resume latest"))));
}

TEST(Trainer, AveragesAccumulatedGradients) {
  // One batch three times is one batch, but for the batch norm's and dropout's state.
  struct Linear : weft::train::Task {
    torch::nn::Linear net{nullptr};
    int64_t batches = 0;
    StepResult step() override {
      torch::Generator generator = at::detail::createCPUGenerator(1);
      ++batches;
      return {.loss = net->forward(torch::randn({4, 3}, generator)).square().mean(), .samples = 4};
    }
  };
  const TempFolder folder;
  std::vector<torch::Tensor> weights;
  for (const int64_t accum : {1, 3}) {
    torch::manual_seed(1);
    Linear task;
    task.net = torch::nn::Linear(3, 2);
    Quiet log(folder / std::to_string(accum));
    Trainer(*task.net, task, {.total_steps = 5, .accum_freq = accum}, log).run();
    EXPECT_EQ(task.batches, 5 * accum);
    weights.push_back(task.net->weight.detach());
  }
  EXPECT_TRUE(torch::allclose(weights[0], weights[1], 1e-5, 1e-7));
}

TEST(Trainer, AveragesAStepThatTheDataCutsShort) {
  const weft::test::TempFolder folder;
  std::vector<double> norms;
  for (const int64_t accum : {2, 5}) {  // the data holds two batches either way
    auto net = make_net();
    net[3]->as<torch::nn::Dropout>()->eval();
    Toy task(net);
    task.end = 2;
    Quiet log(folder / std::to_string(accum));
    Trainer(*net, task, {.total_steps = 1, .accum_freq = accum}, log).run();
    const auto metrics = read_metrics(folder / std::to_string(accum));
    norms.push_back(metrics.at(0).grad_norm);
  }
  EXPECT_NEAR(norms[0], norms[1], 1e-5 * norms[0]);
}

TEST(Trainer, ComputesUnderAutocastAndKeepsWeightsInFp32) {
  const OneThread one_thread;
  const TempFolder folder;
  for (const auto precision : {weft::nn::Precision::fp32, weft::nn::Precision::bf16}) {
    const bool bf16 = precision == weft::nn::Precision::bf16;
    auto net = make_net();
    Toy task(net);
    auto options = toy_options();
    options.precision = precision;
    Quiet log(folder / (bf16 ? "bf16" : "fp32"));
    Trainer(*net, task, options, log).run();
    EXPECT_EQ(task.last_dtype, bf16 ? torch::kBFloat16 : torch::kFloat);
    EXPECT_EQ(net[0]->as<torch::nn::Linear>()->weight.scalar_type(), torch::kFloat);
    const auto lines = read_metrics(folder / (bf16 ? "bf16" : "fp32"));
    EXPECT_LT(mean_loss(lines, 35), mean_loss(lines, 0));
  }
}

TEST(Trainer, SkipsStepsThatAreNotFinite) {
  const TempFolder folder;
  const auto result = run(folder / "run", toy_options(), [](Toy& task) {
    task.bad_from = 5;
    task.bad_to = 8;
  });
  EXPECT_EQ(result.summary.steps, 40);
  EXPECT_EQ(result.summary.skipped, 3);
  EXPECT_EQ(result.tensors.at("optimizer.0.weight.step").item<double>(), 37);
  const auto lines = read_metrics(folder / "run");
  EXPECT_TRUE(std::isnan(lines[5].loss));
  EXPECT_TRUE(std::isfinite(lines[8].loss));
}

TEST(Trainer, StopsAfterTenBadStepsInARowAndNamesTheTensor) {
  const TempFolder folder;
  try {
    run(folder / "run", toy_options(), [](Toy& task) {
      task.before_loss = [&task] {
        if (task.position == 16)
          task.net[4]->as<torch::nn::Linear>()->weight.data()[0][3] = INFINITY;
      };
    });
    FAIL() << "no error";
  } catch (const weft::Error& error) {
    EXPECT_EQ(error.kind(), weft::ErrorKind::diverged);
    EXPECT_EQ(error.exit_status(), 4);
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("10 in a row, up to step 25"),
                                             HasSubstr("is 4.weight"), HasSubstr("step-00000021")));
  }
  EXPECT_EQ(read_metrics(folder / "run").size(), 25u);
}

TEST(Trainer, NamesTheFirstBadGradient) {
  const TempFolder folder;
  struct Root : weft::train::Task {
    torch::nn::Linear net{nullptr};
    StepResult step() override {
      // sqrt has an infinite slope at 0 while the loss itself is 0.
      return {.loss = (net->weight * 0).sum().sqrt(), .samples = 1};
    }
  } task;
  task.net = torch::nn::Linear(2, 2);
  Quiet log(folder / "run");
  EXPECT_THAT([&] { Trainer(*task.net, task, {.total_steps = 50, .max_bad_steps = 2}, log).run(); },
              ThrowsMessage<weft::Error>(HasSubstr("is weight.grad")));
}

TEST(Trainer, EndsWhereTheDataEnds) {
  const TempFolder folder;
  const auto result = run(folder / "run", toy_options(), [](Toy& task) { task.end = 12; });
  EXPECT_EQ(result.summary.steps, 12);
  EXPECT_EQ(result.summary.snapshot.filename(), "step-00000012");
}

TEST(Trainer, ListsWeightsThatDoNotFitTheSnapshot) {
  const TempFolder folder;
  run(folder / "run", toy_options());
  torch::nn::Sequential net(torch::nn::Linear(8, 16), torch::nn::BatchNorm1d(32), torch::nn::ReLU(),
                            torch::nn::Linear(32, 1));
  Toy task(net);
  Quiet log(folder / "run");
  auto options = toy_options();
  options.resume = "latest";
  EXPECT_THAT([&] { Trainer(*net, task, options, log).run(); },
              ThrowsMessage<weft::Error>(
                  testing::AllOf(HasSubstr("0.weight: expected shape [16, 8], found [32, 8]"),
                                 HasSubstr("3.weight: missing"), HasSubstr("4.bias: unexpected"))));
}

TEST(Trainer, RefusesOptionsOutOfRange) {
  const TempFolder folder;
  auto options = toy_options();
  options.accum_freq = 0;
  EXPECT_THAT([&] { run(folder / "run", options); },
              ThrowsMessage<c10::ValueError>(HasSubstr("accum_freq must be at least 1, got 0")));
  struct Unknown : Toy {
    using Toy::Toy;
    int64_t steps_per_epoch() const override { return 0; }
  };
  auto net = make_net();
  Unknown task(net);
  Quiet log(folder / "run");
  EXPECT_THAT([&] { Trainer(*net, task, toy_options(), log); },
              ThrowsMessage<c10::ValueError>(HasSubstr("total_steps must be given")));
}

// Children are this program again (a forked copy could not use torch's threads), running the test
// below on what WEFT_TEST_CHILD says: a mode and a folder.
TEST(DISABLED_TrainerChild, Run) {
  const auto* words = std::getenv("WEFT_TEST_CHILD");
  if (!words) GTEST_SKIP() << "runs only as a child of TrainerSignals";
  std::string mode;
  std::filesystem::path folder;
  std::istringstream(words) >> mode >> folder;
  auto options = toy_options();
  if (mode == "long") options.total_steps = 100'000;
  if (mode == "resume") {
    options.save_every = 1;
    options.resume = "latest";
  }
  const auto result = run(folder / "run", options, [&](Toy& task) {
    task.before_loss = [&task, mode, folder] {
      std::ofstream(folder / "started") << "x";
      if (mode == "long") std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (mode == "stuck") std::this_thread::sleep_for(std::chrono::seconds(30));
    };
  });
  _exit(result.summary.exit_status());
}

// Starts a child, waits until it trains, calls `meanwhile`, and returns the exit status.
int in_child(const std::string& mode, const std::filesystem::path& folder,
             const std::function<void(pid_t)>& meanwhile) {
  std::filesystem::remove(folder / "started");
  const auto words = mode + " \"" + folder.string() + '"';
  const auto pid = ::fork();
  if (pid == 0) {
    ::setenv("WEFT_TEST_CHILD", words.c_str(), 1);
    ::execl("/proc/self/exe", "weft_tests", "--gtest_filter=DISABLED_TrainerChild.Run",
            "--gtest_also_run_disabled_tests", "--gtest_brief=1", nullptr);
    _exit(99);
  }
  for (int i = 0; i < 6000 && !std::filesystem::exists(folder / "started"); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    if (::waitpid(pid, nullptr, WNOHANG) != 0) return -1;
  }
  meanwhile(pid);
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

void pause(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

TEST(TrainerSignals, SaveAfterTheStepAndExitByTheirNumber) {
  for (const auto& [signal, status] :
       {std::pair(SIGTERM, 143), std::pair(SIGINT, 130), std::pair(SIGUSR1, 138)}) {
    const TempFolder folder;
    EXPECT_EQ(in_child("long", folder.path(),
                       [signal = signal](pid_t pid) {
                         pause(30);
                         ::kill(pid, signal);
                       }),
              status);
    const auto lines = read_metrics(folder / "run");
    ASSERT_FALSE(lines.empty());
    const auto snapshot = weft::checkpoint::Snapshots(folder / "run" / "checkpoints").load_latest();
    ASSERT_TRUE(snapshot);
    EXPECT_EQ(snapshot->step, lines.back().step);
    EXPECT_EQ(snapshot->state.at("task").at("position").as_int(), snapshot->step);
  }
}

TEST(TrainerSignals, ASecondOneEndsTheProcessAtOnce) {
  const TempFolder folder;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(in_child("stuck", folder.path(),
                     [](pid_t pid) {
                       ::kill(pid, SIGTERM);
                       pause(50);
                       ::kill(pid, SIGTERM);
                     }),
            143);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(25));
  EXPECT_TRUE(weft::checkpoint::Snapshots(folder / "run" / "checkpoints").list().empty());
}

TEST(TrainerSignals, ARunKilledAnywhereEndsAsAnUndisturbedOne) {
  const TempFolder folder;
  std::mt19937 random(5);
  int kills = 0;
  for (int i = 0; i < 5; ++i)
    kills += in_child("resume", folder.path(), [&](pid_t pid) {
               pause(std::uniform_int_distribution(0, 60)(random));
               ::kill(pid, SIGKILL);
             }) == 1000 + SIGKILL;
  EXPECT_GE(kills, 1);
  auto options = toy_options();
  options.resume = "latest";
  const auto killed = run(folder / "run", options);
  const auto whole = run(folder / "whole", toy_options());
  expect_same(whole, killed);
  expect_same_metrics(folder / "whole", folder / "run");
}

}  // namespace trainer_test
