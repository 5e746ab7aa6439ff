#include <utility>

#include <weft/checkpoint/dual_families.hpp>
#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/checkpoint/lm_families.hpp>
#include <weft/checkpoint/preprocessor.hpp>
#include <weft/checkpoint/tensors.hpp>
#include <weft/io/folder.hpp>
#include <weft/nn/init.hpp>
#include <weft/text/presets.hpp>
#include <weft/vision/presets.hpp>

#include "checkpoint/own_folder.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

namespace fs = std::filesystem;

void write_encoder(const EncoderFolder& folder, const fs::path& path) {
  const auto family = encoder_family(folder.family);
  auto config = config_or(folder.config, [&] { return family.config(*folder.encoder); });
  const auto tensors = their_tensors(family.key_map(config), *folder.encoder);
  if (!family.architecture.empty())
    mark_config(config, family.architecture, folder.family, tensors.begin()->second.scalar_type());
  write_tensors(path / "model.safetensors", tensors, {{"format", "pt"}});
  if (!folder.preprocessor.is_null()) folder.preprocessor.write(path / "preprocessor_config.json");
  config.write(path / "config.json");
}

/// A fresh encoder of a family, some members of its config.json overridden.
EncoderFolder fresh_tower(const TowerConfig& tower, const Json& overrides) {
  EncoderFolder out{.family = tower.family, .config = tower.config};
  for (const auto& key : overrides.keys()) {
    const bool timm = tower.family == "timm_vit";
    if (timm && (key == "image_size" || key == "patch_size")) {  // a model argument there
      auto args = out.config.get("model_args", Json::object());
      args.set(key == "image_size" ? "img_size" : "patch_size", overrides.at(key));
      out.config.set("model_args", args);
    } else {
      out.config.set(key, overrides.at(key));
    }
  }
  const auto& family = families().at(tower.family);
  out.encoder = family.make(out.config, [](std::string_view) { return true; });
  out.preprocessor =
      family.preprocessor ? family.preprocessor(out.config) : default_preprocessor(*out.encoder);
  return out;
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

vision::ImageTransformOptions image_transform(const EncoderFolder& folder) {
  if (!folder.preprocessor.is_null()) return image_transform(folder.preprocessor);
  return {.size = folder.encoder->info().image_size};
}

std::vector<NamedTensor> named_tensors(const torch::nn::Module& module) {
  std::vector<NamedTensor> out;
  for (const auto& item : module.named_parameters()) out.push_back({item.key(), item.value()});
  for (const auto& item : module.named_buffers()) out.push_back({item.key(), item.value()});
  return out;
}

EncoderFolder load_encoder(const fs::path& folder, at::ScalarType dtype) {
  EncoderFolder out;
  out.config = read_model_config(folder);
  out.family = family_of(out.config);
  if (!lm_families().contains(out.family)) check_family(families(), out.family, folder);
  const auto family = encoder_family(out.family);
  const auto file = open_weights(folder);
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
  } else if (family.preprocessor) {
    out.preprocessor = family.preprocessor(out.config);
  }
  out.encoder->eval();
  return out;
}

void save_encoder(const EncoderFolder& folder, const fs::path& path) {
  io::FolderWriter writer(path);
  write_encoder(folder, writer.folder());
  writer.keep_others(is_model_file);
  writer.commit();
}

EncoderFolder wrap_encoder(std::shared_ptr<Encoder> encoder) {
  EncoderFolder out{.encoder = std::move(encoder)};
  out.family = out.encoder->info().family;
  out.config = encoder_family(out.family).config(*out.encoder);
  out.preprocessor = default_preprocessor(*out.encoder);
  return out;
}

EncoderFolder make_encoder(const std::string& name, Role role, const Json& config) {
  const bool image = role == Role::image;
  if (image && vision::presets().contains(name))
    return wrap_encoder(std::make_shared<vision::VisionTransformerImpl>(
        overridden(vision::presets().at(name)(), config, name)));
  if (!image && text::presets().contains(name))
    return wrap_encoder(std::make_shared<text::TextEncoderImpl>(
        overridden(text::presets().at(name)(), config, name)));
  if (dual_presets().contains(name)) {
    const auto whole = Json::object({{"model_cfg", dual_presets().at(name)}});
    const auto& layout = dual_families().at("open_clip");
    return fresh_tower(image ? layout.image(whole) : layout.text(whole), config);
  }
  if (families().contains(name) && families().at(name).role == role)
    return fresh_tower({name, config}, Json::object());
  auto known = image ? vision::presets().names() : text::presets().names();
  const auto duals = dual_presets().names();
  known.insert(known.end(), duals.begin(), duals.end());
  for (const auto& family : families().names())
    if (families().at(family).role == role) known.push_back(family);
  throw Error(detail::unknown_name(image ? "image tower" : "text tower", name, known),
              ErrorKind::usage);
}

}  // namespace weft::checkpoint
