#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <weft/core/json.hpp>
#include <weft/nn/activations.hpp>

namespace weft::checkpoint {

/// Fields of a Hugging Face config.json with that library's defaults. Errors name the field.
class ConfigReader {
 public:
  ConfigReader(const Json& config, std::string family)
      : config_(config), family_(std::move(family)) {}

  int64_t integer(std::string_view key, int64_t fallback) const;
  double number(std::string_view key, double fallback) const;
  bool boolean(std::string_view key, bool fallback) const;
  std::string text(std::string_view key, std::string_view fallback) const;
  /// An integer, or [n, n]: squares only.
  int64_t side(std::string_view key, int64_t fallback) const;
  nn::Activation activation(std::string_view key, std::string_view fallback) const;
  /// Refuses a configuration whose `key` is there with another value than `only`.
  void require(std::string_view key, const Json& only) const;

 private:
  template <class Read>
  auto read(std::string_view key, Read&& read) const;

  const Json& config_;
  std::string family_;
};

/// Hugging Face's name of an activation.
std::string activation_name(nn::Activation activation);

/// part / whole, such that whole times it, cut to an integer as the libraries cut it, is part
/// again.
double ratio_of(int64_t part, int64_t whole);

/// Error: the layout of `family` cannot express `option`.
[[noreturn]] void refuse_option(std::string_view family, std::string_view option);

}  // namespace weft::checkpoint
