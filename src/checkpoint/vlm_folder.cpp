#include <weft/checkpoint/connectors.hpp>
#include <weft/checkpoint/tensors.hpp>
#include <weft/checkpoint/tiling.hpp>
#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/fusion/anyres.hpp>
#include <weft/io/folder.hpp>
#include <weft/nn/init.hpp>
#include <weft/tokenizers/conversation.hpp>

#include "checkpoint/config_reader.hpp"
#include "checkpoint/own_folder.hpp"
#include "checkpoint/vlm_texts.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kVlmType = "weft_vlm";
constexpr int64_t kOutsideTheVocabulary = -200;  // LLaVA's IMAGE_TOKEN_INDEX

bool holds_vlm(const fs::path& folder) {
  const auto type = family_of(folder);
  return type == kVlmType || vlm_families().contains(type);
}

/// Tokens of what an encoder's layers give side by side.
int64_t visual_width(const Encoder& encoder, const std::vector<int64_t>& layers) {
  return encoder.info().hidden_size * static_cast<int64_t>(std::max<size_t>(1, layers.size()));
}

VlmFolder load_own_vlm(const fs::path& folder, at::ScalarType dtype) {
  const auto file = folder / "config.json";
  const auto config = Json::read(file);
  VlmFolder out;
  out.vision = load_encoder(folder / "vision", dtype);
  out.language = load_language_model(folder / "language", dtype);
  const auto options = from_json<models::VlmOptions>(
      Json(config).erase("model_type").erase("connector").erase("tiling"), file.string());
  from_json(config.at("tiling"), out.tiling, file.string() + ": tiling");
  {
    const nn::NoInitGuard no_init;
    auto connector = connector_of(config.at("connector"));
    connector->to(dtype);
    out.model = models::Vlm(out.vision.encoder, std::move(connector), out.language.model, options);
  }
  read_beside(folder, beside(*out.model, {"vision.", "language."}));
  return out;
}

void write_own_vlm(const VlmFolder& folder, const fs::path& target) {
  auto tower = folder.vision;
  tower.preprocessor =
      tiling_config({.view = folder.tiling.view, .tiling = vision::Tiling::none}, "",
                    tower.preprocessor.is_null() ? Json::object() : tower.preprocessor);
  save_encoder(tower, target / "vision");
  save_language_model(folder.language, target / "language");
  write_beside(target, beside(*folder.model, {"vision.", "language."}));
  to_json(folder.model->options)
      .set("connector", connector_config(*folder.model->connector))
      .set("tiling", to_json(folder.tiling))
      .set("model_type", kVlmType)
      .write(target / "config.json");
}

/// preprocessor_config.json, or what transformers 5 keeps in its place; null where there is
/// neither.
Json read_image_processor(const fs::path& folder) {
  const auto own = folder / "preprocessor_config.json", whole = folder / "processor_config.json";
  if (fs::exists(own)) return Json::read(own);
  const auto part = fs::exists(whole) ? Json::read(whole).get("image_processor") : Json();
  return part.is_object() ? part : Json();
}

VlmFolder load_family(const fs::path& folder, at::ScalarType dtype) {
  VlmFolder out;
  out.config = read_model_config(folder);
  out.layout = family_of(out.config);
  check_family(vlm_families(), out.layout, folder, "model_type of a vision-language model");
  const auto& family = vlm_families().at(out.layout);
  check_family(families(), family.vision(out.config).family, folder);
  check_family(lm_families(), family.language(out.config).family, folder);
  const auto file = open_weights(folder);
  if (family.settle) family.settle(out.config, file);
  const auto vision = family.vision(out.config), language = family.language(out.config);
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
    out.model = models::Vlm(
        out.vision.encoder,
        family.connector(out.config, visual_width(*out.vision.encoder, options.vision_layers),
                         out.language.model->info().hidden_size),
        out.language.model, options);
  }
  if (dtype != at::kFloat) out.model->to(dtype);
  out.report = map.load(file, named_tensors(*out.model));
  out.vision.preprocessor = read_image_processor(folder);
  if (out.vision.preprocessor.is_null())
    out.vision.preprocessor = family.preprocessor ? family.preprocessor(*out.model)
                                                  : default_preprocessor(*out.vision.encoder);
  const auto generation = folder / "generation_config.json";
  if (fs::exists(generation)) out.language.generation = Json::read(generation);
  return out;
}

void write_family(const VlmFolder& folder, const std::string& layout, const fs::path& target) {
  const auto& family = vlm_families().at(layout);
  const TowerConfig vision{
      folder.vision.family, config_or(folder.vision.config, [&] {
        return families().at(folder.vision.family).config(*folder.model->vision);
      })};
  const TowerConfig language{
      folder.language.family, config_or(folder.language.config, [&] {
        return lm_families().at(folder.language.family).config(*folder.model->language);
      })};
  auto config =
      folder.layout == layout ? folder.config : family.config(*folder.model, vision, language);
  // No config.json says it: it is the family's.
  const bool prefix = folder.model->options.prefix_attention;
  if (family.options(config).prefix_attention != prefix)
    refuse_option(layout, fmt::format("prefix_attention = {}", prefix));
  const auto tensors = their_tensors(family.key_map(config), *folder.model);
  mark_config(config, family.architecture, layout, tensors.begin()->second.scalar_type());
  write_tensors(target / "model.safetensors", tensors, {{"format", "pt"}});
  auto preprocessor = folder.vision.preprocessor;
  if (folder.layout != layout && family.preprocessor)
    preprocessor = family.preprocessor(*folder.model);
  if (!preprocessor.is_null()) preprocessor.write(target / "preprocessor_config.json");
  if (!folder.language.generation.is_null())
    folder.language.generation.write(target / "generation_config.json");
  config.write(target / "config.json");
}

/// How a layout's models are asked where their folder does not say it.
std::optional<tokenizers::ChatTemplate> implied_chat(const std::string& layout,
                                                     const fs::path& texts) {
  const auto style = layout.empty() ? "" : vlm_families().at(layout).conversation;
  if (style.empty()) return std::nullopt;
  return tokenizers::conversation_template(style, texts);
}

}  // namespace

bool is_vlm(const fs::path& path) { return holds_vlm(path) || holds_vlm(path / "model"); }

VlmFolder load_vlm(const fs::path& path, at::ScalarType dtype) {
  const auto folder = model_folder(path, holds_vlm);
  const bool own = family_of(folder) == kVlmType;
  auto out = own ? load_own_vlm(folder, dtype) : load_family(folder, dtype);
  out.path = folder;
  read_texts(out, folder);
  if (out.tokenizer && !out.chat) out.chat = implied_chat(out.layout, folder);
  if (!own) {
    const auto file = folder / "preprocessor_config.json";
    auto preprocessor = out.vision.preprocessor;
    const auto& processor = vlm_families().at(out.layout).processor;
    if (!processor.empty()) preprocessor.set("processor_class", processor);
    out.tiling = tiling_options(preprocessor, file.string());
    // Those that the class has where the file has none, too.
    preprocessor.set("image_mean", out.tiling.view.mean).set("image_std", out.tiling.view.std);
    take_pixel_statistics(*out.vision.encoder, preprocessor, file);
  }
  out.model->eval();
  return out;
}

void save_vlm(const VlmFolder& folder, const fs::path& path, const std::string& layout) {
  if (folder.model.is_empty())
    fail("{}: a vision-language model is saved with its model, which is missing", path.string());
  io::FolderWriter writer(path);
  if (layout.empty())
    write_own_vlm(folder, writer.folder());
  else
    write_family(folder, layout, writer.folder());
  const auto implied = implied_chat(layout, folder.texts);
  const bool said = !implied || !folder.chat || folder.chat->source() != implied->source();
  write_texts(folder, writer.folder(), said);
  const bool texts = !folder.texts.empty() || folder.own_tokenizer;
  writer.keep_others(
      [&](std::string_view name) { return is_model_file(name) || (texts && is_text_file(name)); });
  writer.commit();
}

std::vector<int64_t> usual_vision_layers(const fs::path& vision) {
  const auto type = family_of(vision);
  if (type == "clip_vision_model" || type == "siglip_vision_model") return {-2};
  return {};
}

VlmFolder make_vlm(const fs::path& vision, const fs::path& language,
                   const MakeVlmOptions& options) {
  VlmFolder out;
  out.vision = load_encoder(vision);
  if (encoder_family(out.vision.family).role != Role::image)
    fail("{}: expected an image encoder, found the family '{}'", vision.string(),
         out.vision.family);
  out.language = load_language_model(language);
  read_texts(out, language);
  if (!out.tokenizer)
    fail("{}: holds no tokenizer, which a vision-language model takes from its language model",
         language.string());
  auto& view = out.tiling.view;
  view = image_transform(out.vision);
  if (options.image_size > 0) view.size = view.resize = options.image_size;
  if (options.tiling != vision::Tiling::none) {
    view.resize = 0;  // tiles and squares have no crop
    view.resize_mode = vision::ResizeMode::squash;
  }
  out.tiling.tiling = options.tiling;
  out.tiling.grid_pinpoints = {};
  out.tiling.longest_edge = 4 * view.size;
  auto connector =
      make_connector(options.connector, visual_width(*out.vision.encoder, options.vision_layers),
                     out.language.model->info().hidden_size, options.shuffle, options.num_queries);
  if (options.tiling == vision::Tiling::anyres) {
    for (const auto& [rows, columns] : {std::pair{1, 2}, {2, 1}, {2, 2}, {3, 1}, {1, 3}})
      out.tiling.grid_pinpoints.push_back({rows * view.size, columns * view.size});
    connector = std::make_shared<fusion::AnyResImpl>(
        connector,
        fusion::AnyResOptions{.tile_size = view.size, .grid_pinpoints = out.tiling.grid_pinpoints});
  }
  out.model = models::Vlm(
      out.vision.encoder, std::move(connector), out.language.model,
      models::VlmOptions{
          .image_token = out.tokenizer->id(tokenizers::kImageMark).value_or(kOutsideTheVocabulary),
          .vision_layers = options.vision_layers,
          .prefix_attention = options.prefix_attention});
  out.model->eval();
  return out;
}

}  // namespace weft::checkpoint
