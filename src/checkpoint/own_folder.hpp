// What weft's own model folders share: towers as folders of their own, everything else beside them.
#pragma once

#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/checkpoint/tensors.hpp>

namespace weft::checkpoint {

/// The family that a config.json names: its model_type, or "timm_vit" where it has an architecture
/// in its place; "" = none.
std::string family_of(const Json& config);
/// The same of a folder; "" also where it has no config.json.
std::string family_of(const std::filesystem::path& folder);

/// config.json of a model's folder; Error where there is no such folder or the file names no
/// family.
Json read_model_config(const std::filesystem::path& folder);
/// Error that names the nearest, where config.json of `folder` names a family, as `what`, that the
/// registry lacks.
template <class Families>
void check_family(const Families& families, const std::string& name,
                  const std::filesystem::path& folder, std::string_view what = "model_type") {
  if (!families.contains(name))
    throw Error((folder / "config.json").string() + ": " +
                detail::unknown_name(what, name, families.names()));
}
/// The configuration that a model came with, or where there is none what `make` gives.
template <class Make>
Json config_or(const Json& known, Make&& make) {
  return known.is_object() && known.size() > 0 ? known : make();
}
/// The weights of a folder; Error that tells of pickles.
io::Safetensors open_weights(const std::filesystem::path& folder);
/// A module's weights under their names of the foreign layout.
TensorMap their_tensors(const KeyMap& map, const torch::nn::Module& module);
/// What transformers looks for in a config.json: the class, the family and the weights' type.
void mark_config(Json& config, const std::string& architecture, const std::string& family,
                 at::ScalarType dtype);

/// `path`, or where only `path`/model is what `holds` looks for, that: the model of a run folder.
template <class Holds>
std::filesystem::path model_folder(const std::filesystem::path& path, Holds&& holds) {
  return !holds(path) && holds(path / "model") ? path / "model" : path;
}

/// Whether a file of that name holds weights or the configuration of a model of some layout: where
/// a model is written over another, what is left of the old one would be read in its place.
bool is_model_file(std::string_view name);
/// The same for a tokenizer.
bool is_tokenizer_file(std::string_view name);

/// What stands beside the towers: tensors whose names begin with none of `towers` ("image.").
std::vector<NamedTensor> beside(const torch::nn::Module& module,
                                std::initializer_list<std::string_view> towers);
/// Reads and writes `folder`/model.safetensors under the module's own names.
void read_beside(const std::filesystem::path& folder, const std::vector<NamedTensor>& tensors);
void write_beside(const std::filesystem::path& folder, const std::vector<NamedTensor>& tensors);

/// `image` with `transform` in its preprocessor.
EncoderFolder with_transform(EncoderFolder image, const vision::ImageTransformOptions& transform);

}  // namespace weft::checkpoint
