#pragma once

#include <string>
#include <vector>

#include <weft/core/export.hpp>

namespace weft::report {

/// One line or cloud of a plot; x and y have equal lengths. Non-finite points break the line.
struct Series {
  std::string name;
  std::vector<double> x, y;
  std::vector<double> spread = {};  ///< of a line: a band of y - spread to y + spread; or empty
};

struct PlotOptions {
  std::string title = {};
  std::string x_label = {}, y_label = {};
  bool log_y = false;  ///< points <= 0 are left out
  int width = 560, height = 300;
};

/// A line plot as one SVG element with axes, ticks and a legend. At most 1,000 points a line are
/// drawn: longer lines are averaged in equal runs, so that a report of a million steps stays small.
WEFT_API std::string line_plot(const std::vector<Series>& series, const PlotOptions& options);

/// The same frame with a point for each x and y; of more than 1,000 a series, 1,000 at equal
/// distances in its order.
WEFT_API std::string scatter_plot(const std::vector<Series>& series, const PlotOptions& options);

/// One value of a bar plot.
struct Bar {
  std::string name;
  double value = 0;
  double spread = 0;  ///< a whisker from value - spread to value + spread; 0 = none
  size_t group = 0;   ///< bars of one group have one colour
};

/// Horizontal bars from 0, one below the other, each with its name on the left (cut there, whole as
/// the bar's title) and its value at its end; the height grows with their number. A value that is
/// not finite has no bar. x_label says what the values are; log_y, y_label and height do not apply.
WEFT_API std::string bar_plot(const std::vector<Bar>& bars, const PlotOptions& options);

}  // namespace weft::report
