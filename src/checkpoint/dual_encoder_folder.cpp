#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/checkpoint/preprocessor.hpp>
#include <weft/io/folder.hpp>
#include <weft/vision/vision_transformer.hpp>

#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

namespace fs = std::filesystem;
constexpr const char* kModelType = "weft_dual_encoder";

bool holds_dual_encoder(const fs::path& folder) {
  const auto config = folder / "config.json";
  return fs::is_regular_file(config) && Json::read(config).get("model_type") == Json(kModelType);
}

/// The folder itself, or `model` in a run folder.
fs::path model_folder(const fs::path& folder) {
  return holds_dual_encoder(folder) ? folder : folder / "model";
}

/// What the folder's own model.safetensors holds: everything outside the towers.
std::vector<NamedTensor> heads(const models::DualEncoderImpl& model) {
  std::vector<NamedTensor> out;
  for (auto& named : named_tensors(model))
    if (!named.name.starts_with("image.") && !named.name.starts_with("text.")) out.push_back(std::move(named));
  return out;
}

KeyMap head_map() {
  KeyMap map;
  map.rename("{name...}", "{name...}");
  return map;
}

}  // namespace

bool is_dual_encoder(const fs::path& folder) {
  return holds_dual_encoder(folder) || holds_dual_encoder(folder / "model");
}

DualEncoderFolder load_dual_encoder(const fs::path& folder) {
  if (!is_dual_encoder(folder))
    fail("{}: holds no dual encoder of weft: expected a config.json with model_type '{}', here or in its folder 'model'",
         folder.string(), kModelType);
  const auto root = model_folder(folder);
  const auto config = Json::read(root / "config.json");
  const auto where = (root / "config.json").string();
  DualEncoderFolder out;
  out.image = load_encoder(root / "image");
  out.text = load_encoder(root / "text");
  out.transform = from_json<vision::ImageTransformOptions>(config.at("transform"), where + ": transform");
  out.model = models::DualEncoder(out.image.encoder, out.text.encoder,
                                  from_json<models::DualEncoderOptions>(config.at("options"), where + ": options"));
  head_map().load(io::Safetensors::open(root / "model.safetensors"), heads(*out.model));
  out.tokenizer = tokenizers::load_tokenizer(root / "text");
  out.model->eval();
  return out;
}

void save_dual_encoder(const DualEncoderFolder& clip, const fs::path& folder) {
  io::FolderWriter writer(folder);
  auto image = clip.image;
  image.preprocessor = preprocessor_json(clip.transform, image.preprocessor);
  save_encoder(image, writer.folder() / "image");
  save_encoder(clip.text, writer.folder() / "text");
  if (!clip.tokenizer) fail("{}: a dual encoder cannot be saved without its tokenizer", folder.string());
  clip.tokenizer->save(writer.folder() / "text" / "tokenizer.json");

  auto tensors = head_map().save(heads(*clip.model));
  std::vector<io::TensorBytes> bytes;
  for (auto& [name, tensor] : tensors) {
    tensor = tensor.cpu().contiguous();
    bytes.push_back(as_bytes(name, tensor));
  }
  io::write_safetensors(writer.folder() / "model.safetensors", bytes, {{"format", "pt"}});
  Json::object({{"model_type", kModelType},
                {"options", to_json(clip.model->options)},
                {"transform", to_json(clip.transform)}})
      .write(writer.folder() / "config.json");
  writer.commit();
}

}  // namespace weft::checkpoint
