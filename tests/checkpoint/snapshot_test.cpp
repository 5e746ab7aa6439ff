#include <csignal>
#include <fstream>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <torch/torch.h>

#include <weft/checkpoint/snapshot.hpp>
#include <weft/core/error.hpp>

#include "support/temp_folder.hpp"

namespace snapshot_test {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::Json;
using weft::checkpoint::Snapshot;
using weft::checkpoint::Snapshots;

// Every value says which step it is of, so that a mixture would be seen.
Snapshot make_snapshot(int64_t step, int64_t size = 1000) {
  Snapshot out{.step = step};
  out.tensors["model"] = {{"weight", torch::full({size}, static_cast<double>(step))},
                          {"scale", torch::full({}, step, torch::kLong)}};
  out.tensors["optimizer"] = {{"weight.exp_avg", torch::full({size}, -static_cast<double>(step))}};
  out.state = Json::object({{"position", step}});
  return out;
}

void expect_consistent(const Snapshot& snapshot) {
  const auto step = static_cast<double>(snapshot.step);
  EXPECT_TRUE((snapshot.tensors.at("model").at("weight") == step).all().item<bool>());
  EXPECT_EQ(snapshot.tensors.at("model").at("scale").item<int64_t>(), snapshot.step);
  EXPECT_TRUE((snapshot.tensors.at("optimizer").at("weight.exp_avg") == -step).all().item<bool>());
  EXPECT_EQ(snapshot.state.at("position").as_int(), snapshot.step);
}

struct SnapshotsTest : testing::Test {
  weft::test::TempFolder folder;
  std::vector<std::string> warnings;
  Snapshots snapshots{folder / "checkpoints", 2,
                      [this](const std::string& text) { warnings.push_back(text); }};
};

TEST_F(SnapshotsTest, ComeBackAsTheyWere) {
  Snapshot saved{.step = 7};
  saved.tensors["model"] = {{"double", torch::randn({3, 4}, torch::kDouble)},
                            {"strided", torch::randn({4, 6}).t()},
                            {"half", torch::randn({5}).to(torch::kBFloat16)},
                            {"bytes", torch::arange(9).to(torch::kByte)},
                            {"flags", torch::tensor({true, false})},
                            {"scalar", torch::tensor(3)},
                            {"empty", torch::empty({0, 4})},
                            {"slice", torch::randn({8}).slice(0, 3)}};
  saved.tensors["random"] = {};
  saved.state = Json::parse(R"({"a": [1, 2.5, "x"], "b": {"c": null}})");
  EXPECT_EQ(snapshots.save(saved).filename(), "step-00000007");
  const auto loaded = snapshots.load_latest();
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->step, 7);
  EXPECT_EQ(loaded->state, saved.state);
  EXPECT_TRUE(loaded->tensors.at("random").empty());
  for (const auto& [name, tensor] : saved.tensors.at("model")) {
    const auto& other = loaded->tensors.at("model").at(name);
    EXPECT_EQ(tensor.scalar_type(), other.scalar_type()) << name;
    EXPECT_TRUE(torch::equal(tensor, other)) << name;
  }
  EXPECT_TRUE(warnings.empty());
}

TEST_F(SnapshotsTest, KeepTheNewestTwo) {
  EXPECT_FALSE(snapshots.load_latest());
  for (const int64_t step : {1, 2, 3, 100}) snapshots.save(make_snapshot(step));
  ASSERT_EQ(snapshots.list().size(), 2u);
  EXPECT_EQ(snapshots.list()[0].filename(), "step-00000003");
  EXPECT_EQ(snapshots.load_latest()->step, 100);
  // The same step again takes its place; an earlier one leaves the later ones behind.
  snapshots.save(make_snapshot(100, 50));
  EXPECT_EQ(snapshots.load_latest()->tensors.at("model").at("weight").numel(), 50);
  snapshots.save(make_snapshot(60));
  EXPECT_EQ(snapshots.load_latest()->step, 60);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "checkpoints"), {}), 2);
}

TEST_F(SnapshotsTest, PassOverDamagedOnes) {
  const auto good = snapshots.save(make_snapshot(1)), bad = snapshots.save(make_snapshot(2));
  const auto weights = bad / "model.safetensors";
  const auto size = fs::file_size(weights);

  fs::resize_file(weights, size - 1);
  EXPECT_EQ(snapshots.load_latest()->step, 1);
  EXPECT_THAT(warnings.back(), testing::AllOf(HasSubstr("model.safetensors"), HasSubstr("expected"),
                                              HasSubstr(std::to_string(size - 1))));
  snapshots.save(make_snapshot(2));

  {
    std::fstream file(weights, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(size - 5));
    const auto byte = static_cast<char>(file.get() ^ 4);
    file.seekp(static_cast<std::streamoff>(size - 5));
    file.put(byte);
  }
  EXPECT_EQ(snapshots.load_latest()->step, 1);
  EXPECT_THAT(warnings.back(), HasSubstr("damaged"));
  EXPECT_THAT([&] { Snapshots::load(bad); },
              ThrowsMessage<weft::Error>(HasSubstr("model.safetensors: damaged")));
  snapshots.save(make_snapshot(2));

  fs::remove(bad / "manifest.json");
  EXPECT_EQ(snapshots.load_latest()->step, 1);
  EXPECT_THAT(warnings.back(), HasSubstr("manifest.json is missing"));
  snapshots.save(make_snapshot(2));

  fs::remove(bad / "state.json");
  EXPECT_EQ(snapshots.load_latest()->step, 1);
  snapshots.save(make_snapshot(2));

  std::ofstream(bad / "manifest.json") << R"({"version": 1, "files": {"../x": {}}})";
  EXPECT_EQ(snapshots.load_latest()->step, 1);
  EXPECT_THAT(warnings.back(), HasSubstr("'../x' does not name a file in this folder"));
  std::ofstream(bad / "manifest.json") << R"({"version": 1, "files": {}})";
  EXPECT_EQ(snapshots.load_latest()->step, 1);
  EXPECT_THAT(warnings.back(), HasSubstr("does not list state.json"));
  std::ofstream(bad / "manifest.json") << R"({"version": 1, "fi)";
  EXPECT_EQ(snapshots.load_latest()->step, 1);
  fs::remove_all(good);
  EXPECT_FALSE(snapshots.load_latest());
}

TEST_F(SnapshotsTest, IgnoreWhatIsNone) {
  snapshots.save(make_snapshot(5));
  for (const auto* name : {"step-9", "step-00000009.bak", "notes", ".step-00000009.123-4.tmp"})
    fs::create_directory(folder / "checkpoints" / name);
  EXPECT_EQ(snapshots.list().size(), 1u);
  snapshots.save(make_snapshot(6));
  EXPECT_FALSE(fs::exists(folder / "checkpoints" / ".step-00000009.123-4.tmp"));
  EXPECT_TRUE(fs::exists(folder / "checkpoints" / "notes"));
}

TEST_F(SnapshotsTest, StayWhereTheDiskIsFull) {
  snapshots.save(make_snapshot(1));
  // A limit on the size of files fails as a full disk does, by an error of write(2).
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{.rlim_cur = 10'000, .rlim_max = old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  std::string message;
  try {
    snapshots.save(make_snapshot(2, 100'000));
  } catch (const weft::Error& error) {
    message = error.what();
  }
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(message, HasSubstr("safetensors"));
  EXPECT_EQ(snapshots.load_latest()->step, 1);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "checkpoints"), {}), 1);
  snapshots.save(make_snapshot(2, 100'000));
  EXPECT_EQ(snapshots.load_latest()->step, 2);
}

TEST_F(SnapshotsTest, NameTheFolderThatCannotBeWritten) {
  std::ofstream(folder / "checkpoints") << "a file";
  EXPECT_THAT([&] { snapshots.save(make_snapshot(1)); },
              ThrowsMessage<weft::Error>(HasSubstr("checkpoints")));
}

TEST_F(SnapshotsTest, SurviveAKillAtAnyMoment) {
  std::mt19937 random(9);
  int64_t last = 0;
  for (int round = 0; round < 20; ++round) {
    const auto pid = ::fork();
    if (pid == 0) {
      try {
        // Small copies run on this thread: a forked child has none of torch's others.
        for (int64_t step = last + 1;; ++step)
          Snapshots(folder / "checkpoints").save(make_snapshot(step));
      } catch (...) {
        _exit(1);
      }
    }
    std::this_thread::sleep_for(
        std::chrono::microseconds(std::uniform_int_distribution(10'000, 250'000)(random)));
    ::kill(pid, SIGKILL);
    int status = 0;
    ::waitpid(pid, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));
    const auto found = snapshots.load_latest();
    if (!found) {
      EXPECT_EQ(last, 0);  // killed before the first was whole
      continue;
    }
    expect_consistent(*found);
    EXPECT_GE(found->step, last);
    last = found->step;
  }
  EXPECT_GE(last, 3);
  EXPECT_THAT(warnings, testing::IsEmpty());
}

TEST(CopyTensors, ListsEverythingThatDoesNotFit) {
  auto weight = torch::zeros({2, 3}), bias = torch::zeros({3});
  const std::vector<std::pair<std::string, torch::Tensor>> into = {
      {"weight", weight}, {"bias", bias}, {"count", torch::zeros({}, torch::kLong)}};
  EXPECT_THAT(
      [&] {
        weft::checkpoint::copy_tensors({{"weight", torch::ones({3, 2})},
                                        {"count", torch::ones({})},
                                        {"other", torch::ones({})}},
                                       into, "here");
      },
      ThrowsMessage<weft::Error>(testing::AllOf(
          HasSubstr("here: 4 tensors"), HasSubstr("weight: expected shape [2, 3], found [3, 2]"),
          HasSubstr("bias: missing"), HasSubstr("count: expected Long, found Float"),
          HasSubstr("other: unexpected"))));
  EXPECT_TRUE((weight == 0).all().item<bool>());
}

}  // namespace snapshot_test
