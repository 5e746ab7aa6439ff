#include <weft/checkpoint/tensors.hpp>
#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/io/folder.hpp>
#include <weft/nn/init.hpp>

#include "checkpoint/own_folder.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace fs = std::filesystem;

VlmFolder load_vlm(const fs::path& folder, at::ScalarType dtype) {
  VlmFolder out;
  out.config = read_model_config(folder);
  out.layout = family_of(out.config);
  check_family(vlm_families(), out.layout, folder, "model_type of a vision-language model");
  const auto& family = vlm_families().at(out.layout);
  const auto vision = family.vision(out.config), language = family.language(out.config);
  check_family(families(), vision.family, folder);
  check_family(lm_families(), language.family, folder);
  const auto file = open_weights(folder);
  const auto map = family.key_map(out.config);
  out.vision = {.family = vision.family, .config = vision.config};
  out.language = {.family = language.family, .config = language.config};
  {
    const nn::NoInitGuard no_init;
    out.vision.encoder =
        families().at(vision.family).make(vision.config, [&](std::string_view name) {
          return map.has(file, family.vision_prefix + std::string(name));
        });
    out.language.model = lm_families().at(language.family).make(language.config);
    const auto options = family.options(out.config);
    const auto width = out.vision.encoder->info().hidden_size *
                       static_cast<int64_t>(std::max<size_t>(1, options.vision_layers.size()));
    out.model =
        models::Vlm(out.vision.encoder,
                    family.connector(out.config, width, out.language.model->info().hidden_size),
                    out.language.model, options);
  }
  if (dtype != at::kFloat) out.model->to(dtype);
  out.report = map.load(file, named_tensors(*out.model));
  const auto preprocessor = folder / "preprocessor_config.json";
  out.vision.preprocessor = fs::exists(preprocessor) ? Json::read(preprocessor)
                                                     : default_preprocessor(*out.vision.encoder);
  take_pixel_statistics(*out.vision.encoder, out.vision.preprocessor, preprocessor);
  const auto generation = folder / "generation_config.json";
  if (fs::exists(generation)) out.language.generation = Json::read(generation);
  out.model->eval();
  return out;
}

void save_vlm(const VlmFolder& folder, const fs::path& path, const std::string& layout) {
  if (folder.model.is_empty())
    fail("{}: a vision-language model is saved with its model, which is missing", path.string());
  const auto& family = vlm_families().at(layout);
  const auto config_of = [](const Json& known, auto&& make) {
    return known.is_object() && known.size() > 0 ? known : make();
  };
  const TowerConfig vision{
      folder.vision.family, config_of(folder.vision.config, [&] {
        return families().at(folder.vision.family).config(*folder.model->vision);
      })};
  const TowerConfig language{
      folder.language.family, config_of(folder.language.config, [&] {
        return lm_families().at(folder.language.family).config(*folder.model->language);
      })};
  auto config =
      folder.layout == layout ? folder.config : family.config(*folder.model, vision, language);
  io::FolderWriter writer(path);
  const auto tensors = their_tensors(family.key_map(config), *folder.model);
  mark_config(config, family.architecture, layout, tensors.begin()->second.scalar_type());
  write_tensors(writer.folder() / "model.safetensors", tensors, {{"format", "pt"}});
  if (!folder.vision.preprocessor.is_null())
    folder.vision.preprocessor.write(writer.folder() / "preprocessor_config.json");
  if (!folder.language.generation.is_null())
    folder.language.generation.write(writer.folder() / "generation_config.json");
  config.write(writer.folder() / "config.json");
  writer.keep_others(is_model_file);
  writer.commit();
}

}  // namespace weft::checkpoint
