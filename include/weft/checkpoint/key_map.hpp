#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/io/safetensors.hpp>

namespace weft::checkpoint {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

/// What a load left aside.
struct LoadReport {
  struct Dropped {
    std::string name, reason;
  };
  std::vector<Dropped> dropped = {};        ///< weights of the file that nothing reads
  std::vector<std::string> defaulted = {};  ///< parameters that the file lacks and a rule filled
};

/// Translates the names and layouts of a foreign checkpoint ("theirs") to weft's uniform names
/// ("ours") and back: one table loads and saves.
///
///     KeyMap map;
///     map.rename("encoder.layer.{i}.attention.self.query.{p}", "blocks.{i}.attention.q.{p}");
///     map.split("encoder.layer.{i}.mlp.weights_in.{p}",
///               {"blocks.{i}.mlp.gate.{p}", "blocks.{i}.mlp.fc1.{p}"});
///     map.drop("embeddings.position_ids", "positions are counted");
///
/// `{x}` stands for one part of a name (no dot), `{x...}` for one or more; both sides of a rule use
/// the same captures. The first rule that matches a name decides. Every rule that carries values is
/// reversible.
class WEFT_API KeyMap {
 public:
  /// Theirs and ours differ in name only.
  KeyMap& rename(std::string theirs, std::string ours);
  /// One of theirs is several of ours, concatenated along `dim` (a fused qkv), each as long as ours
  /// is.
  KeyMap& split(std::string theirs, std::vector<std::string> ours, int64_t dim = 0);
  /// One of theirs, its two dimensions exchanged, is several of ours, concatenated along the first
  /// (GPT-2's Conv1D); vectors are not exchanged.
  KeyMap& split_transposed(std::string theirs, std::vector<std::string> ours);
  /// Several of theirs are one of ours, concatenated along `dim` in equal parts.
  KeyMap& join(std::vector<std::string> theirs, std::string ours, int64_t dim = 0);
  /// Theirs is ours with its two dimensions exchanged.
  KeyMap& transpose(std::string theirs, std::string ours);
  /// Any other reversible change of values or layout, such as Meta's order of rotary halves.
  using Convert = std::function<at::Tensor(const at::Tensor&)>;
  KeyMap& permute(std::string theirs, std::string ours, Convert to_ours, Convert to_theirs);
  /// Theirs repeats the weight that `same_as`, also theirs, carries: not read, except where the
  /// file has only this copy, and not written.
  KeyMap& tie(std::string theirs, std::string same_as);
  /// Theirs is not read, for a reason that the report gives, and not written.
  KeyMap& drop(std::string theirs, std::string reason);
  /// Another spelling of theirs, read but not written (BERT's LayerNorm.gamma).
  KeyMap& alias(std::string spelling, std::string theirs);
  /// Ours is filled with `value` where the file lacks it.
  KeyMap& otherwise(std::string ours, double value);
  /// The name under which models with a head hold this encoder, "bert.". Where a file has such
  /// names, they are read without it, and everything else belongs to the head and is dropped.
  KeyMap& prefix(std::string prefix);
  /// Names of theirs that begin with `from`, so far, begin with `to`.
  KeyMap& move(const std::string& from, const std::string& to);
  /// Adds the rules of `inner` for a part of the model: its names stand behind `theirs`
  /// ("text_model.") in the file and behind `ours` ("text.") here. Its prefixes are left out.
  KeyMap& nest(const KeyMap& inner, const std::string& theirs, const std::string& ours);

  /// Copies the file's weights into `ours`, converting floating-point types. Missing, unexpected
  /// and misshapen weights are one Error that lists them all with their shapes, before anything is
  /// copied.
  LoadReport load(const io::Safetensors& file, const std::vector<NamedTensor>& ours) const;
  /// Their tensors, made of ours; views where no copy is needed. Error names what no rule maps,
  /// and adapters that are not merged (nn/lora.hpp), for which no layout has room.
  std::vector<NamedTensor> save(const std::vector<NamedTensor>& ours) const;
  /// Where a weight of ours lies in theirs.
  struct Place {
    std::string theirs;              ///< the weight's name
    std::vector<std::string> parts;  ///< what of ours it holds, one after the other along dimension
                                     ///< 0; more than one where theirs is fused
    bool transposed;                 ///< their two dimensions are exchanged
  };
  /// Of a weight by its name of ours. Nothing where no rule maps it, and where theirs is more than
  /// one or other values.
  std::optional<Place> place(std::string_view ours) const;
  /// A name of theirs, without prefix, in the spelling that is written (see alias).
  std::string canonical(std::string name) const;
  /// Whether the file has `theirs` (exact name), also under the prefix.
  bool has(const io::Safetensors& file, std::string_view theirs) const;

 private:
  enum class Kind { rename, split, split_transposed, join, transpose, permute };
  struct Rule {
    Kind kind;
    std::vector<std::string> theirs, ours;
    int64_t dim = 0;
    Convert to_ours = {}, to_theirs = {};
  };
  struct Pair {
    std::string first, second;
  };
  struct Default {
    std::string ours;
    double value;
  };
  struct Loader;

  std::vector<Rule> rules_;
  std::vector<Pair> ties_, drops_, aliases_;
  std::vector<Default> defaults_;
  std::vector<std::string> prefixes_;
};

}  // namespace weft::checkpoint
