#pragma once

#include <string>
#include <vector>

#include <weft/core/export.hpp>

namespace weft::report {

/// One line or cloud of a plot; x and y have equal lengths. Non-finite points break the line.
struct Series {
  std::string name;
  std::vector<double> x, y;
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

}  // namespace weft::report
