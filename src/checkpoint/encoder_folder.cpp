#include <utility>

#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/checkpoint/preprocessor.hpp>
#include <weft/checkpoint/tensors.hpp>
#include <weft/io/folder.hpp>
#include <weft/nn/init.hpp>
#include <weft/text/presets.hpp>
#include <weft/vision/presets.hpp>

#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

namespace fs = std::filesystem;

std::string dtype_name(at::ScalarType type) {
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
      fail("an encoder of the type {} cannot be saved", at::toString(type));
  }
}

bool is_weights(std::string_view name) {
  return name.starts_with("model") &&
         (name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json"));
}

void write_encoder(const EncoderFolder& folder, const fs::path& path) {
  const auto& family = families().at(folder.family);
  auto config = folder.config;
  if (config.is_null() || config.size() == 0) config = family.config(*folder.encoder);
  TensorMap tensors;
  for (auto& [name, tensor] : family.key_map(config).save(named_tensors(*folder.encoder)))
    tensors.emplace(std::move(name), std::move(tensor));
  config.set("architectures", std::vector<std::string>{family.architecture})
      .set("model_type", folder.family)
      .erase("torch_dtype")
      .set("dtype", dtype_name(tensors.begin()->second.scalar_type()));
  write_tensors(path / "model.safetensors", tensors, {{"format", "pt"}});
  if (!folder.preprocessor.is_null()) folder.preprocessor.write(path / "preprocessor_config.json");
  config.write(path / "config.json");
}

template <class Options>
Options overridden(const Options& preset, const Json& config, const std::string& name) {
  auto options = preset;
  from_json(config, options, "preset " + name);
  return options;
}

}  // namespace

void take_pixel_statistics(Encoder& encoder, const Json& preprocessor, const fs::path& file) {
  auto* transformer = dynamic_cast<vision::VisionTransformerImpl*>(&encoder);
  if (transformer == nullptr) return;
  const auto read = [&](const char* key, std::vector<double>& values) {
    if (preprocessor.get(key).is_null()) return;
    const auto found = preprocessor.at(key).as_doubles();
    if (found.size() != static_cast<size_t>(transformer->options.num_channels))
      fail("{}: '{}' must have {} values, found {}", file.string(), key,
           transformer->options.num_channels, found.size());
    values = found;
  };
  read("image_mean", transformer->options.pixel_mean);
  read("image_std", transformer->options.pixel_std);
}

Json default_preprocessor(const Encoder& encoder) {
  const auto* image = dynamic_cast<const vision::VisionTransformerImpl*>(&encoder);
  if (image == nullptr) return {};
  const auto& o = image->options;
  return preprocessor_config({.size = o.image_size, .mean = o.pixel_mean, .std = o.pixel_std});
}

std::vector<NamedTensor> named_tensors(const torch::nn::Module& module) {
  std::vector<NamedTensor> out;
  for (const auto& item : module.named_parameters()) out.push_back({item.key(), item.value()});
  for (const auto& item : module.named_buffers()) out.push_back({item.key(), item.value()});
  return out;
}

EncoderFolder load_encoder(const fs::path& folder, at::ScalarType dtype) {
  const auto config_file = folder / "config.json";
  if (!fs::is_directory(folder))
    fail("{}: expected a model folder with config.json and model.safetensors, found {}",
         folder.string(), fs::exists(folder) ? "a file" : "nothing");
  EncoderFolder out;
  out.config = Json::read(config_file);
  if (!out.config.contains("model_type"))
    fail("{}: the field 'model_type', which names the family, is missing", config_file.string());
  out.family = out.config.at("model_type").as_string();
  if (!families().contains(out.family))
    fail("{}: {}", config_file.string(),
         detail::unknown_name("model_type", out.family, families().names()));
  const auto& family = families().at(out.family);
  if (!fs::exists(folder / "model.safetensors") &&
      !fs::exists(folder / "model.safetensors.index.json") &&
      fs::exists(folder / "pytorch_model.bin"))
    fail(
        "{}: holds pytorch_model.bin only, which is a pickle; save it with safe_serialization=True",
        folder.string());
  const auto file = io::Safetensors::open(folder);
  const auto map = family.key_map(out.config);
  {
    const nn::NoInitGuard no_init;
    out.encoder =
        family.make(out.config, [&](std::string_view name) { return map.has(file, name); });
  }
  if (dtype != at::kFloat) out.encoder->to(dtype);
  out.report = map.load(file, named_tensors(*out.encoder));
  const auto preprocessor = folder / "preprocessor_config.json";
  if (family.role == Role::image && fs::exists(preprocessor)) {
    out.preprocessor = Json::read(preprocessor);
    take_pixel_statistics(*out.encoder, out.preprocessor, preprocessor);
  }
  out.encoder->eval();
  return out;
}

void save_encoder(const EncoderFolder& folder, const fs::path& path) {
  io::FolderWriter writer(path);
  write_encoder(folder, writer.folder());
  writer.keep_others(is_weights);
  writer.commit();
}

EncoderFolder wrap_encoder(std::shared_ptr<Encoder> encoder) {
  EncoderFolder out{.encoder = std::move(encoder)};
  out.family = out.encoder->info().family;
  out.config = families().at(out.family).config(*out.encoder);
  out.preprocessor = default_preprocessor(*out.encoder);
  return out;
}

EncoderFolder make_encoder(const std::string& name, const Json& config) {
  if (vision::presets().contains(name))
    return wrap_encoder(std::make_shared<vision::VisionTransformerImpl>(
        overridden(vision::presets().at(name)(), config, name)));
  if (text::presets().contains(name))
    return wrap_encoder(std::make_shared<text::TextEncoderImpl>(
        overridden(text::presets().at(name)(), config, name)));
  if (!families().contains(name)) {
    auto known = families().names();
    for (const auto& names : {vision::presets().names(), text::presets().names()})
      known.insert(known.end(), names.begin(), names.end());
    throw Error(detail::unknown_name("preset or family", name, known), ErrorKind::usage);
  }
  EncoderFolder out{.family = name, .config = config};
  out.encoder = families().at(name).make(config, [](std::string_view) { return true; });
  out.preprocessor = default_preprocessor(*out.encoder);
  return out;
}

}  // namespace weft::checkpoint
