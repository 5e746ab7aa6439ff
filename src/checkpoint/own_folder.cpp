#include "checkpoint/own_folder.hpp"

#include <algorithm>

#include <weft/checkpoint/dual_families.hpp>
#include <weft/checkpoint/preprocessor.hpp>
#include <weft/checkpoint/tensors.hpp>
#include <weft/tokenizers/tokenizer.hpp>

#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

namespace fs = std::filesystem;

KeyMap same_names() {
  KeyMap map;
  map.rename("{name...}", "{name...}");
  return map;
}

}  // namespace

std::string family_of(const Json& config) {
  if (!config.is_object()) return "";
  if (!config.contains("model_type")) return config.contains("architecture") ? "timm_vit" : "";
  const auto type = config.at("model_type");
  return type.is_string() ? type.as_string() : "";
}

std::string family_of(const fs::path& folder) {
  const auto file = folder / "config.json";
  return fs::is_regular_file(file) ? family_of(Json::read(file)) : "";
}

bool is_model_file(std::string_view name) {
  for (const auto& layout : dual_families().names()) {
    const auto& family = dual_families().at(layout);
    if (name == family.config_file || (!name.empty() && name == family.weights_file)) return true;
  }
  if (name == "generation_config.json") return true;
  return name.starts_with("model") &&
         (name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json"));
}

bool is_tokenizer_file(std::string_view name) {
  return std::ranges::find(tokenizers::kTokenizerFiles, name) !=
         std::end(tokenizers::kTokenizerFiles);
}

static std::string dtype_name(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return "float32";
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    case at::kDouble:
      return "float64";
    default:
      fail("a model of the type {} cannot be saved", at::toString(type));
  }
}

Json read_model_config(const std::filesystem::path& folder) {
  const auto file = folder / "config.json";
  if (!std::filesystem::is_directory(folder))
    fail("{}: expected a model folder with config.json and model.safetensors, found {}",
         folder.string(), std::filesystem::exists(folder) ? "a file" : "nothing");
  auto config = Json::read(file);
  if (family_of(config).empty())
    fail("{}: the field 'model_type', which names the family, is missing", file.string());
  return config;
}

io::Safetensors open_weights(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / "model.safetensors") &&
      !std::filesystem::exists(folder / "model.safetensors.index.json") &&
      std::filesystem::exists(folder / "pytorch_model.bin"))
    fail(
        "{}: holds pytorch_model.bin only, which is a pickle; save it with safe_serialization=True",
        folder.string());
  return io::Safetensors::open(folder);
}

TensorMap their_tensors(const KeyMap& map, const torch::nn::Module& module) {
  TensorMap out;
  for (auto& [name, tensor] : map.save(named_tensors(module)))
    out.emplace(std::move(name), std::move(tensor));
  return out;
}

void mark_config(Json& config, const std::string& architecture, const std::string& family,
                 at::ScalarType dtype) {
  config.set("architectures", std::vector<std::string>{architecture})
      .set("model_type", family)
      .erase("torch_dtype")
      .set("dtype", dtype_name(dtype));
}

std::vector<NamedTensor> beside(const torch::nn::Module& module,
                                std::initializer_list<std::string_view> towers) {
  auto out = named_tensors(module);
  std::erase_if(out, [&](const NamedTensor& tensor) {
    return std::ranges::any_of(
        towers, [&](std::string_view tower) { return tensor.name.starts_with(tower); });
  });
  return out;
}

void read_beside(const fs::path& folder, const std::vector<NamedTensor>& tensors) {
  same_names().load(io::Safetensors::open(folder / "model.safetensors"), tensors);
}

void write_beside(const fs::path& folder, const std::vector<NamedTensor>& tensors) {
  TensorMap map;
  for (const auto& [name, tensor] : same_names().save(tensors)) map.emplace(name, tensor);
  write_tensors(folder / "model.safetensors", map, {{"format", "pt"}});
}

EncoderFolder with_transform(EncoderFolder image, const vision::ImageTransformOptions& transform) {
  image.preprocessor = preprocessor_config(
      transform, image.preprocessor.is_null() ? Json::object() : image.preprocessor);
  return image;
}

}  // namespace weft::checkpoint
