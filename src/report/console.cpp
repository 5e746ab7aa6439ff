#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <weft/report/console.hpp>

namespace weft::report {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kTerminalEvery = 0.2;  // seconds

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool wants_color() {
  const auto* no_color = std::getenv("NO_COLOR");
  const auto* term = std::getenv("TERM");
  return !(no_color && *no_color) && !(term && std::string_view(term) == "dumb");
}

}  // namespace

Console::Console(int file, double every)
    : file_(file),
      terminal_(isatty(file) == 1),
      color_(terminal_ && wants_color()),
      every_(terminal_ ? kTerminalEvery : every),
      next_(Clock::now()) {}

Console::~Console() { end_progress(); }

bool Console::due() const { return Clock::now() >= next_; }

void Console::progress(std::string_view line, bool force) {
  if (!force && !due()) return;
  next_ = Clock::now() +
          std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(every_));
  if (!terminal_) {
    print(std::string(line) + '\n');
    return;
  }
  winsize size{};
  const size_t columns = ioctl(file_, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
  // A line that wraps could not be redrawn, so what does not fit is cut.
  print(fmt::format("\r{}\033[K", line.substr(0, columns - 1)));
  drawn_ = true;
}

void Console::end_progress() {
  if (drawn_) print("\n");
  drawn_ = false;
}

void Console::message(std::string_view text) {
  print(fmt::format("{}{}\n", drawn_ ? "\r\033[K" : "", text));
  drawn_ = false;
}

void Console::warning(std::string_view text) {
  message(color_ ? fmt::format("\033[33mwarning:\033[0m {}", text)
                 : fmt::format("warning: {}", text));
}

void Console::print(std::string text) {
  // One write(2) a line keeps lines of several processes apart. A log that cannot be written is no
  // reason to stop.
  for (size_t done = 0; done < text.size();) {
    const auto count = ::write(file_, text.data() + done, text.size() - done);
    if (count <= 0) return;
    done += static_cast<size_t>(count);
  }
}

Progress::Progress(Console& console, std::string label, int64_t total, std::string unit,
                   int64_t done)
    : console_(console),
      label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      start_(done),
      done_(done),
      begin_(Clock::now()) {}

void Progress::update(int64_t done, double data_wait_seconds, std::string_view detail) {
  done_ = done;
  wait_ = data_wait_seconds;
  if (!console_.due()) return;
  detail_ = detail;
  show(false);
}

void Progress::finish(std::string_view detail) {
  if (!detail.empty()) detail_ = detail;
  show(true);
  console_.end_progress();
}

void Progress::show(bool force) {
  const auto seconds = std::max(seconds_since(begin_), 1e-9);
  const auto rate = static_cast<double>(done_ - start_) / seconds;
  auto line = fmt::format("{} {}", label_, done_);
  if (total_ > 0) line += fmt::format("/{}", total_);
  if (!detail_.empty()) line += "  " + detail_;
  line += fmt::format("  {:.{}f} {}/s", rate, rate < 10 ? 2 : 0, unit_);
  if (wait_ > 0) line += fmt::format("  data wait {:.0f} %", 100 * std::min(1.0, wait_ / seconds));
  if (total_ > done_ && rate > 0)
    line += "  ETA " + format_duration(static_cast<double>(total_ - done_) / rate);
  if (total_ > 0 && done_ >= total_) line += "  in " + format_duration(seconds);
  console_.progress(line, force);
}

std::string format_duration(double seconds) {
  const auto whole = static_cast<int64_t>(std::llround(std::clamp(seconds, 0.0, 1e12)));
  const auto hours = whole / 3600, minutes = whole / 60 % 60;
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, minutes, whole % 60)
                   : fmt::format("{}:{:02}", minutes, whole % 60);
}

}  // namespace weft::report
