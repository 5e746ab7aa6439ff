#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/core/json.hpp>
#include <weft/report/console.hpp>
#include <weft/report/tensorboard.hpp>

namespace weft::report {

/// A line of metrics.jsonl.
struct StepMetrics {
  int64_t step = 0;      ///< finished steps: the first line has 1
  double epoch = 0;      ///< passes over the data after this step
  int64_t samples = 0;   ///< of the whole run so far
  double loss = 0;       ///< the mean over ranks; NaN where it was not finite (null in the file)
  double lr = 0;         ///< that this step used
  double grad_norm = 0;  ///< before clipping; NaN where it was not finite
  double samples_per_second = 0;  ///< of this step
  double data_wait = 0;           ///< share of the step's time spent waiting for data, 0..1
  std::vector<std::pair<std::string, double>> extra = {};  ///< what the task adds, under its names
};

/// The lines of a metrics.jsonl, or of the one in a run folder. A last line without its end, which
/// a killed run may leave, is passed over; any other damage is an Error that names the line.
WEFT_API std::vector<StepMetrics> read_metrics(const std::filesystem::path& path);

struct RunLogOptions {
  bool tensorboard = true;
  int console = 2;             ///< file descriptor of the log
  double console_every = 5.0;  ///< seconds between progress lines where it is no terminal
};

/// A run's folder: config.json, metrics.jsonl, TensorBoard events under tensorboard/, and the log
/// on stderr.
///
///     RunLog log("runs/x");
///     log.config(to_json(options));
///     log.begin(0, 156);
///     log.step({.step = 1, .loss = 6.2, ...});
class WEFT_API RunLog {
 public:
  /// Makes the folder; leaves what it holds.
  explicit RunLog(std::filesystem::path folder, const RunLogOptions& options = {});
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;
  ~RunLog();

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path metrics_path() const { return folder_ / "metrics.jsonl"; }

  /// Writes config.json: every option with the value it has.
  void config(const Json& resolved);
  /// Starts the metrics behind step `done` of `total`: 0 begins a new file, more keeps exactly the
  /// lines up to `done` (and warns where some of them are missing).
  void begin(int64_t done, int64_t total);
  /// Appends a line and moves the progress line. Lines reach the file within a second and on
  /// flush().
  void step(const StepMetrics& metrics);
  /// Values that belong to a step but not to its line, such as those of an evaluation: to
  /// TensorBoard.
  void scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values);
  /// metrics.jsonl is on the disk when this returns.
  void flush();
  /// Ends the progress line and flushes.
  void end();

  void log(std::string_view text) { console_.message(text); }
  void warn(std::string_view text) { console_.warning(text); }
  Console& console() { return console_; }

 private:
  void write_lines();
  std::string detail() const;

  std::filesystem::path folder_;
  RunLogOptions options_;
  Console console_;
  std::unique_ptr<Progress> progress_;
  std::unique_ptr<TensorBoardWriter> tensorboard_;
  int file_ = -1;
  std::string lines_;
  double wait_seconds_ = 0;
  StepMetrics last_;
  int64_t first_samples_ = 0;
  std::chrono::steady_clock::time_point begin_;
  std::chrono::steady_clock::time_point last_write_;
};

}  // namespace weft::report
