#include <cmath>

#include <fmt/format.h>

#include <weft/report/heat_map.hpp>

#include "core/fail.hpp"
#include "report/colour.hpp"
#include "report/escape.hpp"

namespace weft::report {
namespace {

constexpr int kMapTop = 28, kMapBottom = 26;

std::string fill_of(double value, double low, double high) {
  if (!std::isfinite(value)) return "#bbb";
  const auto [r, g, b] = colour_of(high > low ? (value - low) / (high - low) : 0.5);
  return fmt::format("#{:02x}{:02x}{:02x}", r, g, b);
}

}  // namespace

std::string heat_map(const std::vector<std::vector<double>>& values,
                     const std::vector<std::string>& rows, const std::vector<std::string>& columns,
                     const HeatMapOptions& options) {
  if (values.size() != rows.size())
    fail("heat map '{}': {} rows have {} names", options.title, values.size(), rows.size());
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const auto& row : values) {
    if (row.size() != columns.size())
      fail("heat map '{}': a row of {} values, but {} columns", options.title, row.size(),
           columns.size());
    for (const double value : row)
      if (std::isfinite(value)) low = std::min(low, value), high = std::max(high, value);
  }
  if (!std::isnan(options.low)) low = options.low;
  if (!std::isnan(options.high)) high = options.high;

  const int cell = options.cell, left = options.margin, top = kMapTop + options.margin;
  const auto width = left + cell * static_cast<int>(columns.size()) + 10;
  const auto height = top + cell * static_cast<int>(rows.size()) + kMapBottom;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
      "{1}\" font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"{0}\" height=\"{1}\" "
      "fill=\"white\"/>\n<text x=\"4\" y=\"18\" font-size=\"13\" "
      "font-weight=\"bold\">{2}</text>\n",
      width, height, escape(options.title));
  // Nested svg elements cut what is too long for its margin.
  for (size_t c = 0; c < columns.size(); ++c)
    svg += fmt::format(
        "<svg x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><text transform=\"translate({} {}) "
        "rotate(-90)\">{}</text></svg>\n",
        left + cell * static_cast<int>(c), kMapTop, cell, options.margin, cell - 4,
        options.margin - 4, escape(columns[c]));
  for (size_t r = 0; r < rows.size(); ++r) {
    const auto y = top + cell * static_cast<int>(r);
    svg += fmt::format(
        "<svg x=\"4\" y=\"{}\" width=\"{}\" height=\"{}\"><text y=\"{}\">{}</text></svg>\n", y,
        left - 8, cell, cell - 4, escape(rows[r]));
    for (size_t c = 0; c < columns.size(); ++c)
      svg += fmt::format(
          "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\"><title>{} | {}: "
          "{:.4g}</title></rect>\n",
          left + cell * static_cast<int>(c), y, cell, cell, fill_of(values[r][c], low, high),
          escape(rows[r]), escape(columns[c]), values[r][c]);
  }
  const auto legend = std::isfinite(low) && std::isfinite(high)
                          ? fmt::format(", {:.3g} (dark) to {:.3g} (bright)", low, high)
                          : "";
  return svg + fmt::format("<text x=\"4\" y=\"{}\">rows: {}, columns: {}{}</text>\n</svg>\n",
                           height - 8, escape(options.row_label), escape(options.column_label),
                           legend);
}

}  // namespace weft::report
