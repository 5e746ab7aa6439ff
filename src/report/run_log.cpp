#include <algorithm>
#include <cmath>
#include <limits>

#include <unistd.h>

#include <weft/core/error.hpp>
#include <weft/io/file.hpp>
#include <weft/report/run_log.hpp>

#include "report/append.hpp"

namespace weft::report {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kWriteEvery = std::chrono::seconds(1);
constexpr uint64_t kMaxBytes = 10'000'000'000;

void put(std::string& line, std::string_view key, double value) {
  if (std::isfinite(value))
    fmt::format_to(std::back_inserter(line), ",\"{}\":{}", key, value);
  else
    fmt::format_to(std::back_inserter(line), ",\"{}\":null", key);
}

double number(const Json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.as_double();
}

std::string format_line(const StepMetrics& metrics) {
  auto line = fmt::format("{{\"step\":{}", metrics.step);
  put(line, "epoch", metrics.epoch);
  line += fmt::format(",\"samples\":{}", metrics.samples);
  put(line, "loss", metrics.loss);
  put(line, "lr", metrics.lr);
  put(line, "grad_norm", metrics.grad_norm);
  put(line, "samples_per_second", metrics.samples_per_second);
  put(line, "data_wait", metrics.data_wait);
  for (const auto& [name, value] : metrics.extra) {
    const auto key = Json(name).dump();
    put(line, std::string_view(key).substr(1, key.size() - 2), value);
  }
  line += "}\n";
  return line;
}

StepMetrics parse_line(std::string_view line, const std::string& where) {
  StepMetrics out;
  const auto json = Json::parse(line, where);
  try {
    out.step = json.at("step").as_int();
    out.samples = json.at("samples").as_int();
    for (const auto& key : json.keys()) {
      if (key == "step" || key == "samples") continue;
      const auto value = number(json.at(key));
      if (key == "epoch")
        out.epoch = value;
      else if (key == "loss")
        out.loss = value;
      else if (key == "lr")
        out.lr = value;
      else if (key == "grad_norm")
        out.grad_norm = value;
      else if (key == "samples_per_second")
        out.samples_per_second = value;
      else if (key == "data_wait")
        out.data_wait = value;
      else
        out.extra.emplace_back(key, value);
    }
  } catch (const Error& error) {
    fail("{}: {}", where, error.what());
  }
  return out;
}

/// Calls `use(line, number)` for each whole line until it returns false; returns the bytes used.
template <class Use>
size_t for_each_line(std::string_view text, Use&& use) {
  size_t start = 0;
  for (int64_t count = 1;; ++count) {
    const auto end = text.find('\n', start);
    if (end == std::string_view::npos || !use(text.substr(start, end - start), count)) return start;
    start = end + 1;
  }
}

}  // namespace

std::vector<StepMetrics> read_metrics(const std::filesystem::path& path) {
  const auto file = std::filesystem::is_directory(path) ? path / "metrics.jsonl" : path;
  const auto text = io::read_file(file, kMaxBytes);
  std::vector<StepMetrics> out;
  for_each_line(text, [&](std::string_view line, int64_t count) {
    out.push_back(parse_line(line, fmt::format("{}, line {}", file.string(), count)));
    return true;
  });
  return out;
}

RunLog::RunLog(std::filesystem::path folder, const RunLogOptions& options)
    : folder_(std::move(folder)),
      options_(options),
      console_(options.console, options.console_every) {
  std::error_code code;
  std::filesystem::create_directories(folder_, code);
  if (code) fail("{}: the run folder cannot be made: {}", folder_.string(), code.message());
}

RunLog::~RunLog() {
  try {
    end();
  } catch (const Error& error) {
    warn(error.what());
  }
  if (file_ >= 0) ::close(file_);
}

void RunLog::config(const Json& resolved) {
  io::write_file(folder_ / "config.json", resolved.dump(2) + "\n");
}

void RunLog::begin(int64_t done, int64_t total) {
  const auto path = metrics_path();
  int64_t kept = 0;
  size_t bytes = 0;
  last_ = {};
  if (done > 0 && std::filesystem::exists(path)) {
    // Only the lines of the run that goes on stay; a killed run has written more.
    const auto text = io::read_file(path, kMaxBytes);
    bytes = for_each_line(text, [&](std::string_view line, int64_t count) {
      const auto metrics = parse_line(line, fmt::format("{}, line {}", path.string(), count));
      if (metrics.step > done) return false;
      ++kept;
      last_ = metrics;
      return true;
    });
  }
  if (file_ >= 0) ::close(file_);
  file_ = open_append(path);
  lines_.clear();
  if (::ftruncate(file_, static_cast<off_t>(bytes)) != 0)
    fail("{}: cannot be cut to {} bytes: {}", path.string(), bytes, std::strerror(errno));
  if (kept != done)
    warn(fmt::format("{}: {} of the {} lines before the restored step are there", path.string(),
                     kept, done));
  if (options_.tensorboard)
    tensorboard_ =
        std::make_unique<TensorBoardWriter>(folder_ / "tensorboard", done > 0 ? done + 1 : 0);
  progress_ = std::make_unique<Progress>(console_, "step", total, "steps", done);
  wait_seconds_ = 0;
  first_samples_ = last_.samples;
  begin_ = Clock::now();
  last_write_ = Clock::now();
}

void RunLog::step(const StepMetrics& metrics) {
  if (file_ < 0) fail("{}: RunLog::step comes before RunLog::begin", folder_.string());
  lines_ += format_line(metrics);
  if (tensorboard_) {
    std::vector<std::pair<std::string, double>> values = {
        {"train/loss", metrics.loss},
        {"train/lr", metrics.lr},
        {"train/grad_norm", metrics.grad_norm},
        {"train/samples_per_second", metrics.samples_per_second},
        {"train/data_wait", metrics.data_wait},
        {"train/epoch", metrics.epoch}};
    for (const auto& [name, value] : metrics.extra) values.emplace_back("train/" + name, value);
    tensorboard_->scalars(metrics.step, values);
  }
  if (metrics.samples_per_second > 0)
    wait_seconds_ += metrics.data_wait * static_cast<double>(metrics.samples - last_.samples) /
                     metrics.samples_per_second;
  last_ = metrics;
  progress_->update(metrics.step, wait_seconds_, console_.due() ? detail() : std::string());
  if (Clock::now() - last_write_ > kWriteEvery) write_lines();
}

void RunLog::scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  if (tensorboard_) tensorboard_->scalars(step, values);
}

std::string RunLog::detail() const {
  const auto seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
  const auto rate = static_cast<double>(last_.samples - first_samples_) / std::max(seconds, 1e-9);
  return fmt::format("epoch {:.2f}  loss {:.4f}  lr {:.2e}  norm {:.3g}  {:.0f} samples/s",
                     last_.epoch, last_.loss, last_.lr, last_.grad_norm, rate);
}

void RunLog::write_lines() {
  append(file_, metrics_path(), lines_);
  if (tensorboard_) tensorboard_->flush();
  last_write_ = Clock::now();
}

void RunLog::flush() {
  if (file_ < 0) return;
  write_lines();
  if (::fsync(file_) != 0)
    fail("{}: cannot be written: {}", metrics_path().string(), std::strerror(errno));
}

void RunLog::end() {
  if (progress_) progress_->finish(detail());
  progress_.reset();
  flush();
}

}  // namespace weft::report
