#include <numeric>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <weft/ops/rope.hpp>

namespace weft::ops {
namespace {

/// The axis by which each of `pairs` frequencies turns.
std::vector<int64_t> axis_of_frequency(const RopeTableOptions& options, int64_t pairs) {
  std::vector<int64_t> axes(static_cast<size_t>(pairs), 0);
  const auto count = static_cast<int64_t>(options.sections.size());
  size_t next = 0;
  for (int64_t axis = 0; axis < count; ++axis) {
    const auto share = options.sections[static_cast<size_t>(axis)];
    for (int64_t k = 0; k < share; ++k) {
      const auto at = options.alternate ? static_cast<size_t>(count * k + axis) : next++;
      if (at < axes.size()) axes[at] = axis;
    }
  }
  return axes;
}

}  // namespace

RopeTables rope_tables(const Tensor& positions, const Tensor& inv_freq,
                       const RopeTableOptions& options) {
  TORCH_CHECK_VALUE(inv_freq.dim() == 1, "rope_tables: inv_freq must be [R / 2], got ",
                    inv_freq.sym_sizes());
  TORCH_CHECK_VALUE(positions.dim() == 2 || positions.dim() == 3,
                    "rope_tables: positions must be [B, T] or [axes, B, T], got ",
                    positions.sym_sizes());
  const auto& sections = options.sections;
  const auto axes = static_cast<int64_t>(sections.size());
  const auto sum = std::accumulate(sections.begin(), sections.end(), int64_t{0});
  TORCH_CHECK_VALUE(axes == 0 || inv_freq.sym_size(0) == sum, "rope_tables: sections add up to ",
                    sum, ", but inv_freq has ", inv_freq.sym_size(0), " frequencies");
  for (const auto section : sections)
    TORCH_CHECK_VALUE(section >= 0, "rope_tables: sections must not be negative, got ", section);
  const auto expected = axes == 0 ? 1 : axes;
  TORCH_CHECK_VALUE(positions.dim() == 2 || positions.sym_size(0) == expected,
                    "rope_tables: positions of ", expected, " axes are needed, got ",
                    positions.sym_sizes());

  auto of_axis = positions.to(at::kFloat).unsqueeze(-1);  // [B, T, 1] or [A, B, T, 1]
  if (positions.dim() == 3) {
    if (axes > 1) {
      std::vector<Tensor> columns;
      for (const auto axis : axis_of_frequency(options, sum))
        columns.push_back(of_axis.select(0, axis));
      of_axis = at::cat(columns, -1);  // [B, T, R / 2]
    } else {
      of_axis = of_axis.select(0, 0);
    }
  }
  const auto angles = of_axis * inv_freq.to(at::kFloat);
  const auto type = options.dtype.value_or(at::kFloat);
  const auto scaled = [&](const Tensor& table) {
    return (options.scale == 1 ? table : table * options.scale).to(type);
  };
  return {scaled(angles.cos()), scaled(angles.sin())};
}

}  // namespace weft::ops
