#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/checkpoint/preprocessor.hpp>
#include <weft/checkpoint/tensors.hpp>
#include <weft/io/folder.hpp>

#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kModelType = "weft_dual_encoder";

// What stands beside the towers.
std::vector<NamedTensor> heads(const models::DualEncoderImpl& model) {
  std::vector<NamedTensor> out;
  for (auto& tensor : named_tensors(model))
    if (!tensor.name.starts_with("image.") && !tensor.name.starts_with("text."))
      out.push_back(std::move(tensor));
  return out;
}

bool holds_model(const fs::path& folder) {
  const auto file = folder / "config.json";
  return fs::is_regular_file(file) && Json::read(file).get("model_type") == Json(kModelType);
}

KeyMap heads_map() {
  KeyMap map;
  map.rename("{name...}", "{name...}");
  return map;
}

}  // namespace

DualEncoderFolder load_dual_encoder(const fs::path& path) {
  const auto folder = holds_model(path) || !holds_model(path / "model") ? path : path / "model";
  const auto config_file = folder / "config.json";
  const auto config = Json::read(config_file);
  if (!holds_model(folder))
    fail("{}: expected model_type '{}', found {}", config_file.string(), kModelType,
         config.get("model_type").dump());
  DualEncoderFolder out;
  out.image = load_encoder(folder / "image");
  out.text = load_encoder(folder / "text");
  const auto options =
      from_json<models::DualEncoderOptions>(Json(config).erase("model_type"), config_file.string());
  out.model = models::DualEncoder(out.image.encoder, out.text.encoder, options);
  heads_map().load(io::Safetensors::open(folder / "model.safetensors"), heads(*out.model));
  out.model->eval();
  out.transform = read_preprocessor(folder / "image");
  out.tokenizer = tokenizers::load_tokenizer(folder / "tokenizer.json");
  return out;
}

void save_dual_encoder(const DualEncoderFolder& folder, const fs::path& path) {
  if (folder.model.is_empty() || !folder.tokenizer)
    fail("{}: a dual encoder is saved with its model and its tokenizer, and one is missing",
         path.string());
  if (folder.model->image != folder.image.encoder || folder.model->text != folder.text.encoder)
    fail("{}: the folder's towers are not those of the model", path.string());
  io::FolderWriter writer(path);
  const auto& target = writer.folder();
  auto image = folder.image;
  image.preprocessor = preprocessor_config(
      folder.transform, image.preprocessor.is_null() ? Json::object() : image.preprocessor);
  save_encoder(image, target / "image");
  save_encoder(folder.text, target / "text");
  TensorMap tensors;
  for (const auto& [name, tensor] : heads_map().save(heads(*folder.model)))
    tensors.emplace(name, tensor);
  write_tensors(target / "model.safetensors", tensors, {{"format", "pt"}});
  folder.tokenizer->save(target / "tokenizer.json");
  to_json(folder.model->options).set("model_type", kModelType).write(target / "config.json");
  writer.keep_others();
  writer.commit();
}

bool is_dual_encoder(const fs::path& folder) {
  return holds_model(folder) || holds_model(folder / "model");
}

}  // namespace weft::checkpoint
