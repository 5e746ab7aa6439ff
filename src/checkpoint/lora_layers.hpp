#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include <weft/checkpoint/key_map.hpp>
#include <weft/nn/linear.hpp>

namespace weft::checkpoint {

/// A module of theirs that holds the weight of one linear layer of ours, or of several.
struct TheirLinear {
  struct Part {
    std::string name;  // "blocks.0.attention.q"
    nn::Linear layer{nullptr};
  };
  std::vector<Part> parts = {};  // in the order of their outputs
  bool transposed = false;       // a Conv1D
  int64_t outputs() const;
};
inline bool is_adapted(const TheirLinear::Part& part) { return part.layer->lora().has_value(); }

/// Names of a file and of modules, as VlmFamily::module_names.
using ModuleNames = std::vector<std::pair<std::string, std::string>>;

/// The linear layers of a model by Hugging Face's names of their modules.
class TheirLinears {
 public:
  TheirLinears(const torch::nn::Module& model, const KeyMap& map, const ModuleNames& names);

  const std::map<std::string, TheirLinear>& modules() const { return modules_; }
  /// Layers of ours that no module of theirs holds.
  const std::vector<TheirLinear::Part>& others() const { return others_; }
  /// Their module of a layer of ours; "" = none.
  std::string module_of(const std::string& ours) const;
  /// A module's name in any spelling that the family knows, in that of modules().
  std::string canonical(const std::string& module) const;

 private:
  const KeyMap& map_;
  const ModuleNames& names_;
  std::map<std::string, TheirLinear> modules_;
  std::vector<TheirLinear::Part> others_;
};

}  // namespace weft::checkpoint
