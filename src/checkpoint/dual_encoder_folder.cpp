#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/checkpoint/dual_families.hpp>
#include <weft/checkpoint/preprocessor.hpp>
#include <weft/checkpoint/tensors.hpp>
#include <weft/io/folder.hpp>
#include <weft/nn/init.hpp>

#include "checkpoint/own_folder.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kModelType = "weft_dual_encoder";

// What stands beside the towers.
std::vector<NamedTensor> heads(const models::DualEncoderImpl& model) {
  return beside(model, {"image.", "text."});
}

/// The layout of the dual encoder that a folder holds, "" where it holds none.
std::string type_of(const fs::path& folder) {
  for (const auto& name : dual_families().names()) {
    const auto& file = dual_families().at(name).config_file;
    if (file != "config.json" && fs::is_regular_file(folder / file)) return name;
  }
  const auto name = family_of(folder);
  return name == kModelType || dual_families().contains(name) ? name : "";
}

bool holds_one(const fs::path& folder) { return !type_of(folder).empty(); }

DualEncoderFolder load_own(const fs::path& folder) {
  const auto config = Json::read(folder / "config.json");
  DualEncoderFolder out;
  out.image = load_encoder(folder / "image");
  out.text = load_encoder(folder / "text");
  const auto options = from_json<models::DualEncoderOptions>(Json(config).erase("model_type"),
                                                             (folder / "config.json").string());
  out.model = models::DualEncoder(out.image.encoder, out.text.encoder, options);
  read_beside(folder, heads(*out.model));
  out.transform = read_preprocessor(folder / "image");
  out.tokenizer = tokenizers::load_tokenizer(folder);
  return out;
}

// A tokenizer of a kind that is not known does not stand in the way of the images: what is wrong
// with it is told by fail_without_tokenizer().
std::shared_ptr<tokenizers::Tokenizer> tokenizer_of(const fs::path& folder) {
  const auto file = tokenizers::find_tokenizer(folder);
  if (file.empty()) return nullptr;
  try {
    return tokenizers::load_tokenizer(file);
  } catch (const Error&) {
    return nullptr;
  }
}

EncoderFolder make_tower(const TowerConfig& tower, const std::string& prefix, const KeyMap& map,
                         const io::Safetensors& file) {
  EncoderFolder out{.family = tower.family, .config = tower.config};
  out.encoder = families().at(tower.family).make(tower.config, [&](std::string_view name) {
    return map.has(file, prefix + std::string(name));
  });
  return out;
}

DualEncoderFolder load_family(const fs::path& folder, const std::string& type) {
  const auto& family = dual_families().at(type);
  const auto config = Json::read(folder / family.config_file);
  const auto file =
      io::Safetensors::open(family.weights_file.empty() ? folder : folder / family.weights_file);
  const auto map = family.key_map(config);
  DualEncoderFolder out;
  out.layout = type;
  out.config = config;
  {
    const nn::NoInitGuard no_init;
    out.image = make_tower(family.image(config), family.image_prefix, map, file);
    out.text = make_tower(family.text(config), family.text_prefix, map, file);
    out.model = models::DualEncoder(out.image.encoder, out.text.encoder, family.options(config));
  }
  out.report = map.load(file, named_tensors(*out.model));
  out.image.preprocessor = fs::exists(folder / "preprocessor_config.json")
                               ? Json::read(folder / "preprocessor_config.json")
                               : default_preprocessor(*out.image.encoder);
  out.transform = image_transform(out.image.preprocessor);
  if (family.read_transform) {
    out.transform = family.read_transform(config, out.transform);
    out.image.preprocessor.set("image_mean", out.transform.mean)
        .set("image_std", out.transform.std);
  }
  take_pixel_statistics(*out.image.encoder, out.image.preprocessor,
                        folder / "preprocessor_config.json");
  out.tokenizer = tokenizer_of(folder);
  return out;
}

void write_own(const DualEncoderFolder& folder, const fs::path& target) {
  save_encoder(with_transform(folder.image, folder.transform), target / "image");
  save_encoder(folder.text, target / "text");
  write_beside(target, heads(*folder.model));
  to_json(folder.model->options).set("model_type", kModelType).write(target / "config.json");
}

TowerConfig tower_config(const EncoderFolder& folder) {
  return {folder.family, config_or(folder.config, [&] {
            return encoder_family(folder.family).config(*folder.encoder);
          })};
}

void write_family(const DualEncoderFolder& folder, const std::string& layout,
                  const fs::path& target) {
  const auto& family = dual_families().at(layout);
  auto config = folder.layout == layout ? folder.config
                                        : family.config(*folder.model, tower_config(folder.image),
                                                        tower_config(folder.text));
  if (!family.architecture.empty())
    config.set("model_type", layout)
        .set("architectures", std::vector<std::string>{family.architecture});
  if (family.write_transform) family.write_transform(config, folder.transform);
  const auto tensors = their_tensors(family.key_map(config), *folder.model);
  const auto& weights = family.weights_file;
  write_tensors(target / (weights.empty() ? "model.safetensors" : weights), tensors,
                {{"format", "pt"}});
  if (!family.write_transform)
    with_transform(folder.image, folder.transform)
        .preprocessor.write(target / "preprocessor_config.json");
  config.write(target / family.config_file);
}

}  // namespace

DualEncoderFolder load_dual_encoder(const fs::path& path) {
  const auto folder = model_folder(path, holds_one);
  const auto type = type_of(folder);
  if (type.empty()) {
    const auto config_file = folder / "config.json";
    const auto config = Json::read(config_file);
    const auto type_field = config.get("model_type");
    const auto found = type_field.is_string() ? type_field.as_string() : type_field.dump();
    auto known = dual_families().names();
    known.emplace_back(kModelType);
    fail("{}: {}", config_file.string(),
         detail::unknown_name("model_type of a dual encoder", found, known));
  }
  auto out = type == kModelType ? load_own(folder) : load_family(folder, type);
  out.model->eval();
  return out;
}

DualEncoderFolder make_dual_encoder(const std::string& name, const Json& image, const Json& text,
                                    const Json& options) {
  if (!dual_presets().contains(name))
    throw Error(detail::unknown_name("open_clip model", name, dual_presets().names()),
                ErrorKind::usage);
  const auto config = Json::object({{"model_cfg", dual_presets().at(name)}});
  DualEncoderFolder out;
  out.image = make_encoder(name, Role::image, image);
  out.text = make_encoder(name, Role::text, text);
  auto own = dual_families().at("open_clip").options(config);
  from_json(options, own, "options of " + name);
  out.model = models::DualEncoder(out.image.encoder, out.text.encoder, own);
  out.transform = image_transform(out.image.preprocessor);
  if (image.size() + text.size() + options.size() == 0) {
    out.layout = "open_clip";
    out.config = config;
  }
  return out;
}

void save_dual_encoder(const DualEncoderFolder& folder, const fs::path& path,
                       const std::string& layout) {
  if (folder.model.is_empty())
    fail("{}: a dual encoder is saved with its model, which is missing", path.string());
  if (!folder.tokenizer && layout.empty())
    fail(
        "{}: a dual encoder is saved with its tokenizer, which is missing; name one with "
        "--tokenizer",
        path.string());
  if (folder.model->image != folder.image.encoder || folder.model->text != folder.text.encoder)
    fail("{}: the folder's towers are not those of the model", path.string());
  io::FolderWriter writer(path);
  const auto& target = writer.folder();
  if (layout.empty())
    write_own(folder, target);
  else
    write_family(folder, layout, target);
  if (folder.tokenizer) {
    const bool ours = layout.empty() || layout == "open_clip";
    folder.tokenizer->save(target / (ours ? folder.tokenizer->file_name() : "tokenizer.json"));
  }
  const bool vocabulary = folder.tokenizer != nullptr;
  writer.keep_others([&](std::string_view name) {
    return is_model_file(name) || (vocabulary && is_tokenizer_file(name));
  });
  writer.commit();
}

void fail_without_tokenizer(const std::string& folder) {
  if (!tokenizers::find_tokenizer(folder).empty()) {
    try {
      tokenizers::load_tokenizer(folder);
    } catch (const Error& error) {
      fail("{}; name another with --tokenizer", error.what());
    }
  }
  fail(
      "{}: holds no vocabulary; put a tokenizer.json or OpenAI's bpe_simple_vocab_16e6.txt.gz "
      "there, or name one with --tokenizer FILE|DIR",
      folder);
}

bool is_dual_encoder(const fs::path& folder) {
  return holds_one(folder) || holds_one(folder / "model");
}

}  // namespace weft::checkpoint
