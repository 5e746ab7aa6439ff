// What the studies share: mean and spread over seeds, the table on stdout, files in --out.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include <weft/core/json.hpp>
#include <weft/core/options.hpp>
#include <weft/io/file.hpp>
#include <weft/report/stages.hpp>

#include "../program.hpp"

namespace study {

namespace fs = std::filesystem;
using weft::Error;
using weft::ErrorKind;
using weft::Json;

/// Flags that every study has.
struct Common {
  std::string out;
  int64_t seeds = 3;
  int64_t workers = 2;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("out", o.out, weft::required, "folder for the plot, and for what is trained");
    v("seeds", o.seeds, "repetitions, from seed 0");
    v("workers", o.workers, "threads that decode images");
  }
  /// Refuses what no study can do.
  void check() const {
    if (seeds < 1) throw Error("--seeds: at least 1 is needed", ErrorKind::usage);
    fs::create_directories(out);
  }
};

/// Mean and sample standard deviation (0 of one value) over seeds.
struct Spread {
  double mean = 0, deviation = 0;
  std::vector<double> values = {};

  Json json() const {
    return Json::object({{"mean", mean}, {"deviation", deviation}, {"values", values}});
  }
};

inline Spread spread(const std::vector<double>& values) {
  Spread out{.values = values};
  const auto count = static_cast<double>(values.size());
  for (const double value : values) out.mean += value / count;
  for (const double value : values)
    if (count > 1) out.deviation += (value - out.mean) * (value - out.mean) / (count - 1);
  out.deviation = std::sqrt(out.deviation);
  return out;
}

/// The spread of one figure of each run: spread(runs, [](const Run& run) { return run.loss; }).
template <class Run, class Figure>
Spread spread(const std::vector<Run>& runs, Figure&& figure) {
  std::vector<double> values;
  for (const auto& run : runs) values.push_back(figure(run));
  return spread(values);
}

inline std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

/// "43.4 ± 0.7", or "43.4" of one value.
inline std::string fixed(const Spread& value, int digits, double scale = 1) {
  const auto mean = fixed(scale * value.mean, digits);
  return value.values.size() < 2 ? mean : mean + " ± " + fixed(scale * value.deviation, digits);
}

/// Prints a Markdown table with columns of equal width; rows as wide as the header.
inline void print_table(const std::vector<std::string>& header,
                        const std::vector<std::vector<std::string>>& rows) {
  const auto width = [](const std::string& text) {  // in code points
    return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
  };
  std::vector<int64_t> widths;
  for (size_t c = 0; c < header.size(); ++c) {
    widths.push_back(width(header[c]));
    for (const auto& row : rows) widths[c] = std::max<int64_t>(widths[c], width(row.at(c)));
  }
  const auto print = [&](const std::vector<std::string>& row) {
    for (size_t c = 0; c < widths.size(); ++c)
      std::cout << "| " << row.at(c) << std::string(widths[c] - width(row.at(c)) + 1, ' ');
    std::cout << "|\n";
  };
  print(header);
  for (const auto columns : widths) std::cout << '|' << std::string(columns + 2, '-');
  std::cout << "|\n";
  for (const auto& row : rows) print(row);
}

/// Writes --out/`name` and says so on stderr.
inline void write(const Common& common, const std::string& name, std::string_view text) {
  const auto path = fs::path(common.out) / name;
  weft::io::write_file(path, text);
  std::cerr << "wrote " << path.string() << std::endl;
}

/// The last line on stdout: `result` with every option and the seconds since `stages` began.
template <class Options>
int finish(Json result, const Options& options, weft::report::Stages& stages) {
  stages.lap("all");
  std::cout << result.set("options", weft::to_json(options))
                   .set("seconds", std::round(stages.total()))
                   .dump()
            << std::endl;
  return 0;
}

}  // namespace study
