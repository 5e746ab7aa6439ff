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

/// The frame of a plot: where its points lie, and all of the page but them.
class Axes {
 public:
  Axes(const std::vector<Series>& series, const PlotOptions& options) : options_(options) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    x0_ = y0_ = kInfinity, x1_ = y1_ = -kInfinity;
    for (const auto& one : series) {
      for (size_t i = 0; i < one.x.size(); ++i) {
        if (!drawable(one.x[i], one.y[i])) continue;
        x0_ = std::min(x0_, one.x[i]), x1_ = std::max(x1_, one.x[i]);
        y0_ = std::min(y0_, height_of(one.y[i])), y1_ = std::max(y1_, height_of(one.y[i]));
      }
    }
    if (x0_ > x1_) x0_ = y0_ = 0, x1_ = y1_ = 1;
    if (x0_ == x1_) x0_ -= 0.5, x1_ += 0.5;
    if (y0_ == y1_) y0_ -= 0.5, y1_ += 0.5;
  }

  bool drawable(double x, double y) const {
    return std::isfinite(x) && std::isfinite(y) && (!options_.log_y || y > 0);
  }
  double px(double x) const { return kLeft + (x - x0_) / (x1_ - x0_) * plot_width(); }
  double py(double y) const {
    return kTop + (1 - (height_of(y) - y0_) / (y1_ - y0_)) * plot_height();
  }

  /// The start of the element: background, title, ticks, labels.
  std::string open() const {
    std::string svg = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 "
        "{0} {1}\" font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"{0}\" "
        "height=\"{1}\" fill=\"white\"/>\n"
        "<text x=\"{2}\" y=\"18\" font-size=\"13\" font-weight=\"bold\">{3}</text>\n",
        options_.width, options_.height, kLeft, escape(options_.title));
    for (const double tick : ticks(x0_, x1_))
      svg += fmt::format(
          "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\" stroke=\"#ddd\"/>"
          "<text x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4:g}</text>\n",
          px(tick), kTop, options_.height - kBottom, options_.height - kBottom + 14, tick);
    for (const double tick : ticks(y0_, y1_)) {
      const double y = options_.log_y ? std::pow(10.0, tick) : tick;
      svg += fmt::format(
          "<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#ddd\"/>"
          "<text x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5:.4g}</text>\n",
          kLeft, options_.width - kRight, py(y), kLeft - 5, py(y) + 4, y);
    }
    return svg + fmt::format(
                     "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n"
                     "<text transform=\"translate(14 {}) rotate(-90)\" "
                     "text-anchor=\"middle\">{}</text>\n",
                     kLeft + plot_width() / 2, options_.height - 10, escape(options_.x_label),
                     kTop + plot_height() / 2, escape(options_.y_label));
  }

  /// The legend's entry of series `s`; nothing for one without a name.
  std::string legend(size_t s, const std::string& name) const {
    if (name.empty()) return "";
    return fmt::format(
        "<line x1=\"{0}\" x2=\"{1}\" y1=\"{2}\" y2=\"{2}\" stroke=\"{3}\" stroke-width=\"2\"/>"
        "<text x=\"{4}\" y=\"{5}\">{6}</text>\n",
        options_.width - 150, options_.width - 130, kTop + 12 + 15 * s, colour(s),
        options_.width - 124, kTop + 16 + 15 * s, escape(name));
  }

  static const char* colour(size_t s) { return kColours[s % std::size(kColours)]; }

 private:
  double height_of(double y) const { return options_.log_y ? std::log10(y) : y; }
  double plot_width() const { return options_.width - kLeft - kRight; }
  double plot_height() const { return options_.height - kTop - kBottom; }

  const PlotOptions& options_;
  double x0_, x1_, y0_, y1_;
};

}  // namespace

std::string line_plot(const std::vector<Series>& all, const PlotOptions& options) {
  std::vector<Series> series;
  for (const auto& one : all) series.push_back(thinned(one));
  const Axes axes(series, options);
  auto svg = axes.open();
  for (size_t s = 0; s < series.size(); ++s) {
    std::string path;
    bool down = false;
    for (size_t i = 0; i < series[s].x.size(); ++i) {
      const double x = series[s].x[i], y = series[s].y[i];
      const bool draw = axes.drawable(x, y);
      if (draw) path += fmt::format("{}{:.1f} {:.1f}", down ? "L" : "M", axes.px(x), axes.py(y));
      down = draw;
    }
    svg += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\"/>\n", path,
                       Axes::colour(s));
    svg += axes.legend(s, series[s].name);
  }
  return svg + "</svg>\n";
}

std::string scatter_plot(const std::vector<Series>& series, const PlotOptions& options) {
  const Axes axes(series, options);
  auto svg = axes.open();
  for (size_t s = 0; s < series.size(); ++s) {
    const size_t count = std::min(series[s].x.size(), series[s].y.size());
    const size_t drawn = std::min(count, kMaxPoints);
    for (size_t i = 0; i < drawn; ++i) {
      const double x = series[s].x[i * count / drawn], y = series[s].y[i * count / drawn];
      if (axes.drawable(x, y))
        svg += fmt::format(
            "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2\" fill=\"{}\" opacity=\"0.6\"/>\n",
            axes.px(x), axes.py(y), Axes::colour(s));
    }
    svg += axes.legend(s, series[s].name);
  }
  return svg + "</svg>\n";
}

}  // namespace weft::report
