#include "checkpoint/vlm_parts.hpp"

#include <ATen/ops/equal.h>

#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/checkpoint/preprocessor.hpp>
#include <weft/checkpoint/tensors.hpp>

#include "checkpoint/config_reader.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {

TowerConfig part_config(const Json& config, const char* key, const Json& otherwise,
                        const std::string& type) {
  const auto part = config.get(key, otherwise);
  if (!part.is_object())
    fail("config.json: '{}' must be an object, found a {}", key, part.type_name());
  const auto name = part.get("model_type", type);
  if (!name.is_string())
    fail("config.json: the model_type of '{}' must be a string, found {}", key, name.dump());
  return {name.as_string(), part};
}

Json typed_config(const TowerConfig& part) {
  return Json(part.config).set("model_type", part.family);
}

TowerConfig tied_by_model(TowerConfig language, const Json& config, bool otherwise) {
  language.config.set("tie_word_embeddings", config.get("tie_word_embeddings", otherwise));
  return language;
}

void untie_if_different(Json& config, const io::Safetensors& file, const std::string& head,
                        const std::string& embeddings) {
  const auto *one = file.find(head), *other = file.find(embeddings);
  if (one == nullptr || other == nullptr) return;
  if (!at::equal(borrow_tensor(*one), borrow_tensor(*other)))
    config.set("tie_word_embeddings", false);
}

const fusion::ProjectorImpl& projector_of(const models::VlmImpl& model, const std::string& family) {
  const auto* out = dynamic_cast<const fusion::ProjectorImpl*>(model.connector.get());
  if (out == nullptr) refuse_option(family, "another connector than a projector");
  return *out;
}

vision::ImageTransformOptions whole_tile(const Encoder& encoder, int64_t size) {
  vision::ImageTransformOptions out;
  const auto preprocessor = default_preprocessor(encoder);
  if (!preprocessor.is_null()) out = image_transform(preprocessor);
  out.size = size;
  out.resize = 0;
  out.resize_mode = vision::ResizeMode::squash;
  return out;
}

}  // namespace weft::checkpoint
