#pragma once

#include <optional>
#include <string_view>

#include <c10/core/Device.h>

#include <weft/core/options.hpp>
#include <weft/nn/autocast.hpp>

namespace weft::nn {

/// How a program computes: fp32, or bf16 by autocast (parameters, norms, softmax statistics and
/// losses stay fp32).
enum class Precision { fp32, bf16 };

/// Autocast while it lives where `precision` asks for it.
class PrecisionGuard {
 public:
  PrecisionGuard(c10::DeviceType device, Precision precision) {
    if (precision == Precision::bf16) autocast_.emplace(device);
  }

 private:
  std::optional<AutocastGuard> autocast_;
};

}  // namespace weft::nn

template <>
inline constexpr std::string_view weft::enum_names<weft::nn::Precision>[] = {"fp32", "bf16"};
