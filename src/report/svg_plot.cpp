#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include <weft/report/svg_plot.hpp>

#include "report/escape.hpp"

namespace weft::report {
namespace {

constexpr size_t kMaxPoints = 1000;
constexpr int kLeft = 62, kRight = 14, kTop = 30, kBottom = 44;
constexpr const char* kColours[] = {"#1f77b4", "#d62728", "#2ca02c",
                                    "#9467bd", "#ff7f0e", "#17becf"};

Series thinned(const Series& series) {
  const size_t count = std::min(series.x.size(), series.y.size());
  if (count <= kMaxPoints)
    return {series.name,
            {series.x.begin(), series.x.begin() + count},
            {series.y.begin(), series.y.begin() + count}};
  Series out{series.name, {}, {}};
  for (size_t i = 0; i < kMaxPoints; ++i) {
    const size_t begin = i * count / kMaxPoints, end = (i + 1) * count / kMaxPoints;
    double x = 0, y = 0;
    for (size_t j = begin; j < end; ++j) x += series.x[j], y += series.y[j];
    out.x.push_back(x / static_cast<double>(end - begin));
    out.y.push_back(y / static_cast<double>(end - begin));
  }
  return out;
}

/// Ticks at 1, 2 or 5 times a power of ten.
std::vector<double> ticks(double low, double high) {
  const double rough = (high - low) / 5, power = std::pow(10.0, std::floor(std::log10(rough)));
  const double ratio = rough / power;
  const double step = power * (ratio < 1.5 ? 1 : ratio < 3.5 ? 2 : ratio < 7.5 ? 5 : 10);
  std::vector<double> out;
  for (double tick = std::ceil(low / step) * step; tick <= high + step * 1e-9; tick += step)
    out.push_back(std::abs(tick) < step * 1e-9 ? 0 : tick);
  return out;
}

}  // namespace

std::string line_plot(const std::vector<Series>& all, const PlotOptions& options) {
  const auto height_of = [&](double y) { return options.log_y ? std::log10(y) : y; };
  const auto drawable = [&](double x, double y) {
    return std::isfinite(x) && std::isfinite(y) && (!options.log_y || y > 0);
  };

  std::vector<Series> series;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double x0 = kInfinity, x1 = -kInfinity, y0 = kInfinity, y1 = -kInfinity;
  for (const auto& one : all) {
    series.push_back(thinned(one));
    for (size_t i = 0; i < series.back().x.size(); ++i) {
      if (!drawable(series.back().x[i], series.back().y[i])) continue;
      x0 = std::min(x0, series.back().x[i]), x1 = std::max(x1, series.back().x[i]);
      y0 = std::min(y0, height_of(series.back().y[i])),
      y1 = std::max(y1, height_of(series.back().y[i]));
    }
  }
  if (x0 > x1) x0 = y0 = 0, x1 = y1 = 1;
  if (x0 == x1) x0 -= 0.5, x1 += 0.5;
  if (y0 == y1) y0 -= 0.5, y1 += 0.5;

  const double plot_width = options.width - kLeft - kRight,
               plot_height = options.height - kTop - kBottom;
  const auto px = [&](double x) { return kLeft + (x - x0) / (x1 - x0) * plot_width; };
  const auto py = [&](double y) { return kTop + (1 - (y - y0) / (y1 - y0)) * plot_height; };

  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
      "{1}\" "
      "font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"{0}\" height=\"{1}\" "
      "fill=\"white\"/>\n"
      "<text x=\"{2}\" y=\"18\" font-size=\"13\" font-weight=\"bold\">{3}</text>\n",
      options.width, options.height, kLeft, escape(options.title));
  for (const double tick : ticks(x0, x1))
    svg += fmt::format(
        "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\" stroke=\"#ddd\"/>"
        "<text x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4:g}</text>\n",
        px(tick), kTop, options.height - kBottom, options.height - kBottom + 14, tick);
  for (const double tick : ticks(y0, y1))
    svg += fmt::format(
        "<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#ddd\"/>"
        "<text x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5:.4g}</text>\n",
        kLeft, options.width - kRight, py(tick), kLeft - 5, py(tick) + 4,
        options.log_y ? std::pow(10.0, tick) : tick);
  svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                     kLeft + plot_width / 2, options.height - 10, escape(options.x_label));
  svg += fmt::format(
      "<text transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
      kTop + plot_height / 2, escape(options.y_label));
  for (size_t s = 0; s < series.size(); ++s) {
    const char* colour = kColours[s % std::size(kColours)];
    std::string path;
    bool down = false;
    for (size_t i = 0; i < series[s].x.size(); ++i) {
      const bool draw = drawable(series[s].x[i], series[s].y[i]);
      if (draw)
        path += fmt::format("{}{:.1f} {:.1f}", down ? "L" : "M", px(series[s].x[i]),
                            py(height_of(series[s].y[i])));
      down = draw;
    }
    svg += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\"/>\n", path,
                       colour);
    if (!series[s].name.empty())
      svg += fmt::format(
          "<line x1=\"{0}\" x2=\"{1}\" y1=\"{2}\" y2=\"{2}\" stroke=\"{3}\" stroke-width=\"2\"/>"
          "<text x=\"{4}\" y=\"{5}\">{6}</text>\n",
          options.width - 150, options.width - 130, kTop + 12 + 15 * s, colour, options.width - 124,
          kTop + 16 + 15 * s, escape(series[s].name));
  }
  return svg + "</svg>\n";
}

}  // namespace weft::report
