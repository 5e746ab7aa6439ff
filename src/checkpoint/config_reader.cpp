#include "checkpoint/config_reader.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

struct ActivationName {
  std::string_view name;  // the first of a value's names is the one that is written
  nn::Activation value;
};
constexpr ActivationName kActivations[] = {
    {"gelu", nn::Activation::gelu},
    {"gelu_python", nn::Activation::gelu},
    {"gelu_pytorch_tanh", nn::Activation::gelu_tanh},
    {"gelu_new", nn::Activation::gelu_tanh},
    {"gelu_fast", nn::Activation::gelu_tanh},
    {"gelu_python_tanh", nn::Activation::gelu_tanh},
    {"quick_gelu", nn::Activation::quick_gelu},
    {"relu", nn::Activation::relu},
    {"silu", nn::Activation::silu},
    {"swish", nn::Activation::silu},
    {"tanh", nn::Activation::tanh},
};

}  // namespace

template <class Read>
auto ConfigReader::read(std::string_view key, Read&& read) const {
  try {
    return read(config_.at(key));
  } catch (const Error& error) {
    fail("config.json of the family {}: the field '{}': {}", family_, key, error.what());
  }
}

int64_t ConfigReader::integer(std::string_view key, int64_t fallback) const {
  if (config_.get(key).is_null()) return fallback;
  return read(key, [](const Json& value) { return value.as_int(); });
}

double ConfigReader::number(std::string_view key, double fallback) const {
  if (config_.get(key).is_null()) return fallback;
  return read(key, [](const Json& value) { return value.as_double(); });
}

bool ConfigReader::boolean(std::string_view key, bool fallback) const {
  if (config_.get(key).is_null()) return fallback;
  return read(key, [](const Json& value) { return value.as_bool(); });
}

std::string ConfigReader::text(std::string_view key, std::string_view fallback) const {
  if (config_.get(key).is_null()) return std::string(fallback);
  return read(key, [](const Json& value) { return value.as_string(); });
}

int64_t ConfigReader::side(std::string_view key, int64_t fallback) const {
  const auto value = config_.get(key, fallback);
  if (!value.is_array()) return integer(key, fallback);
  const auto sides = read(key, [](const Json& json) { return json.as_ints(); });
  if (sides.size() != 2 || sides[0] != sides[1])
    fail("config.json of the family {}: the field '{}' must be a square, found {}", family_, key,
         value.dump());
  return sides[0];
}

nn::Activation ConfigReader::activation(std::string_view key, std::string_view fallback) const {
  const auto name = text(key, fallback);
  std::vector<std::string> known;
  for (const auto& entry : kActivations) {
    if (entry.name == name) return entry.value;
    known.emplace_back(entry.name);
  }
  throw Error(
      detail::unknown_name("config.json of the family " + family_ + ": activation", name, known));
}

void ConfigReader::require(std::string_view key, const Json& only) const {
  const auto value = config_.get(key, only);
  if (value == only) return;
  fail("config.json of the family {}: the field '{}' is {}, and only {} is supported", family_, key,
       value.dump(), only.dump());
}

std::string activation_name(nn::Activation activation) {
  for (const auto& entry : kActivations)
    if (entry.value == activation) return std::string(entry.name);
  fail("the activation {} has no name in Hugging Face's configurations",
       static_cast<int>(activation));
}

double ratio_of(int64_t part, int64_t whole) {
  const auto width = static_cast<double>(whole);
  auto ratio = static_cast<double>(part) / width;
  while (static_cast<int64_t>(width * ratio) < part)
    ratio = std::nextafter(ratio, std::numeric_limits<double>::infinity());
  return ratio;
}

void refuse_option(std::string_view family, std::string_view option) {
  fail("the Hugging Face layout of the family {} cannot express {}", family, option);
}

}  // namespace weft::checkpoint
