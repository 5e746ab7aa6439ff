#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

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
  const auto reduced = [count](const std::vector<double>& values) {
    std::vector<double> out(values.begin(), values.begin() + std::min(count, kMaxPoints));
    if (count <= kMaxPoints) return out;
    for (size_t i = 0; i < kMaxPoints; ++i) {
      const size_t begin = i * count / kMaxPoints, end = (i + 1) * count / kMaxPoints;
      out[i] = std::accumulate(values.begin() + begin, values.begin() + end, 0.0) /
               static_cast<double>(end - begin);
    }
    return out;
  };
  const bool band = series.spread.size() >= count;
  return {series.name, reduced(series.x), reduced(series.y),
          band ? reduced(series.spread) : std::vector<double>{}};
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
      for (size_t i = 0; i < std::min(one.x.size(), one.y.size()); ++i) {
        if (!drawable(one.x[i], one.y[i])) continue;
        x0_ = std::min(x0_, one.x[i]), x1_ = std::max(x1_, one.x[i]);
        const double spread = i < one.spread.size() ? one.spread[i] : 0;
        for (const double y : {one.y[i] - spread, one.y[i], one.y[i] + spread})
          if (drawable(one.x[i], y))
            y0_ = std::min(y0_, height_of(y)), y1_ = std::max(y1_, height_of(y));
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
        "<text x=\"{4}\" y=\"{5}\" paint-order=\"stroke\" stroke=\"white\" "
        "stroke-width=\"3\">{6}</text>\n",
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

/// The area between y - spread and y + spread: one closed path a run of points that can be drawn.
std::string band(const Axes& axes, const Series& series, const char* colour) {
  std::string path;
  for (size_t i = 0; i < series.spread.size();) {
    size_t end = i;
    while (end < series.spread.size() &&
           axes.drawable(series.x[end], series.y[end] - series.spread[end]) &&
           axes.drawable(series.x[end], series.y[end] + series.spread[end]))
      ++end;
    const auto point = [&](char command, size_t j, double sign) {
      path += fmt::format("{}{:.1f} {:.1f}", command, axes.px(series.x[j]),
                          axes.py(series.y[j] + sign * series.spread[j]));
    };
    for (size_t j = i; j < end; ++j) point(j == i ? 'M' : 'L', j, 1);
    for (size_t j = end; j > i; --j) point('L', j - 1, -1);
    if (end > i) path += 'Z';
    i = std::max(end, i + 1);
  }
  if (path.empty()) return "";
  return fmt::format("<path d=\"{}\" fill=\"{}\" opacity=\"0.18\"/>\n", path, colour);
}

}  // namespace

std::string line_plot(const std::vector<Series>& all, const PlotOptions& options) {
  std::vector<Series> series;
  for (const auto& one : all) series.push_back(thinned(one));
  const Axes axes(series, options);
  auto svg = axes.open();
  for (size_t s = 0; s < series.size(); ++s) {
    svg += band(axes, series[s], Axes::colour(s));
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

std::string bar_plot(const std::vector<Bar>& bars, const PlotOptions& options) {
  constexpr int kRow = 20, kNames = 190, kValues = 56;
  double low = 0, high = 0;
  for (const auto& bar : bars)
    for (const double x : {bar.value - bar.spread, bar.value + bar.spread})
      if (std::isfinite(x)) low = std::min(low, x), high = std::max(high, x);
  if (low == high) high = 1;
  const int bottom = kTop + kRow * static_cast<int>(bars.size());
  const int height = bottom + kBottom;
  const double width = options.width - kNames - kValues;
  const auto px = [&](double x) { return kNames + (x - low) / (high - low) * width; };

  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
      "{1}\" font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"{0}\" height=\"{1}\" "
      "fill=\"white\"/>\n"
      "<text x=\"4\" y=\"18\" font-size=\"13\" font-weight=\"bold\">{2}</text>\n",
      options.width, height, escape(options.title));
  for (const double tick : ticks(low, high))
    svg += fmt::format(
        "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\" stroke=\"#ddd\"/>"
        "<text x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4:g}</text>\n",
        px(tick), kTop, bottom, bottom + 14, tick);
  svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                     kNames + width / 2, height - 10, escape(options.x_label));
  for (size_t i = 0; i < bars.size(); ++i) {
    const auto& bar = bars[i];
    const int top = kTop + kRow * static_cast<int>(i);
    const auto name = escape(bar.name);
    svg += fmt::format(
        "<svg x=\"4\" y=\"{}\" width=\"{}\" height=\"{}\"><text y=\"14\">{}<title>{}</title></text>"
        "</svg>\n",
        top, kNames - 10, kRow, name, name);
    if (!std::isfinite(bar.value)) continue;
    svg += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" fill=\"{}\" opacity=\"0.8\">"
        "<title>{}: {:.4g}</title></rect>\n",
        px(std::min(bar.value, 0.0)), top + 3, std::abs(bar.value) / (high - low) * width, kRow - 6,
        kColours[bar.group % std::size(kColours)], name, bar.value);
    if (bar.spread > 0)
      svg += fmt::format(
          "<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{}\" y2=\"{}\" stroke=\"black\"/>\n",
          px(bar.value - bar.spread), px(bar.value + bar.spread), top + kRow / 2, top + kRow / 2);
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\">{:.3g}</text>\n",
                       px(std::max(bar.value + bar.spread, 0.0)) + 5, top + 14, bar.value);
  }
  return svg + "</svg>\n";
}

}  // namespace weft::report
