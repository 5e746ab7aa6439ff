#pragma once

#include <limits>
#include <string>
#include <vector>

#include <weft/core/export.hpp>

namespace weft::report {

struct HeatMapOptions {
  std::string title = {};
  std::string row_label = {}, column_label = {};  ///< what rows and columns are
  /// Values of the darkest and the brightest colour; NaN: the smallest and the largest there are.
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
  int cell = 16;     ///< pixels a side
  int margin = 130;  ///< pixels for the names, which are cut there and whole as the cells' titles
};

/// A matrix as one SVG element: a coloured square for each of values [rows][columns] (grey where it
/// is not finite) that shows its row's and column's names and its value as a title. Throws
/// weft::Error where the sizes differ.
WEFT_API std::string heat_map(const std::vector<std::vector<double>>& values,
                              const std::vector<std::string>& rows,
                              const std::vector<std::string>& columns,
                              const HeatMapOptions& options = {});

}  // namespace weft::report
