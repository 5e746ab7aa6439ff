#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <weft/core/export.hpp>

namespace weft::report {

/// The log of a program: messages, and one progress line. On a terminal the progress line stays at
/// the bottom and is redrawn; elsewhere it is printed every few seconds. Messages that matter are
/// coloured on a terminal unless NO_COLOR is set (https://no-color.org). Not thread-safe.
class WEFT_API Console {
 public:
  /// `every` seconds pass between progress lines where `file` (2 = stderr) is no terminal.
  explicit Console(int file = 2, double every = 5.0);
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;
  ~Console();

  /// Whether a progress line would be shown now; asking is cheap.
  bool due() const;
  /// Shows `line` if it is due, or in any case with `force`.
  void progress(std::string_view line, bool force = false);
  /// Leaves the progress line as it stands: what follows comes below it.
  void end_progress();
  void message(std::string_view text);
  /// The same behind "warning: ".
  void warning(std::string_view text);

  bool terminal() const { return terminal_; }

 private:
  void print(std::string text);

  int file_;
  bool terminal_, color_, drawn_ = false;
  double every_;
  std::chrono::steady_clock::time_point next_;
};

/// The progress line of any long piece of work:
///
///     Progress progress(console, "image features", count, "images");
///     ... progress.update(done);          // image features 512/8000  310 images/s  ETA 0:24
///     progress.finish();
class WEFT_API Progress {
 public:
  /// `total` 0 = unknown, which leaves the ETA out. `done` at the start: work of an earlier run,
  /// which does not count for the rate.
  Progress(Console& console, std::string label, int64_t total, std::string unit, int64_t done = 0);

  /// `done` so far, of which `data_wait_seconds` (since the start) were spent waiting for input;
  /// `detail` stands behind the count.
  void update(int64_t done, double data_wait_seconds = 0, std::string_view detail = {});
  /// Shows the last state, with `detail` where it is given, and ends the line.
  void finish(std::string_view detail = {});

 private:
  void show(bool force);

  Console& console_;
  std::string label_, unit_, detail_;
  int64_t total_, start_, done_;
  double wait_ = 0;
  std::chrono::steady_clock::time_point begin_;
};

/// 75 -> "1:15", 3700 -> "1:01:40".
WEFT_API std::string format_duration(double seconds);

}  // namespace weft::report
