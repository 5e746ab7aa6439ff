#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <weft/core/error.hpp>
#include <weft/core/export.hpp>

namespace weft {

/// The candidates nearest to `name` by edit distance, best first; for "did you mean".
WEFT_API std::vector<std::string> nearest(std::string_view name,
                                          const std::vector<std::string>& candidates,
                                          size_t count = 3);

namespace detail {
WEFT_API std::string unknown_name(std::string_view where, std::string_view name,
                                  const std::vector<std::string>& known);
}

/// Names to values of one kind: factories of a role, presets, losses.
///
///     Registry<EncoderFactory> vision("vision encoder");
///     vision.add("dinov2", make_dinov2);
///     vision.at("dinov3");   // Error: unknown vision encoder 'dinov3'; nearest: dinov2
template <class T>
class Registry {
 public:
  explicit Registry(std::string role) : role_(std::move(role)) {}

  void add(const std::string& name, T value) {
    if (!entries_.emplace(name, std::move(value)).second)
      throw Error(role_ + " '" + name + "' is registered already");
  }
  bool contains(const std::string& name) const { return entries_.count(name) > 0; }
  const T& at(const std::string& name) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) throw Error(detail::unknown_name(role_, name, names()));
    return found->second;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& [name, value] : entries_) out.push_back(name);
    return out;
  }

 private:
  std::string role_;
  std::map<std::string, T> entries_;
};

}  // namespace weft
