#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include <c10/core/ScalarType.h>

#include <weft/checkpoint/families.hpp>
#include <weft/core/json.hpp>
#include <weft/nn/sockets.hpp>
#include <weft/vision/image_batch.hpp>

namespace weft::checkpoint {

/// An encoder with what its folder said besides the weights.
struct EncoderFolder {
  std::shared_ptr<Encoder> encoder = {};
  std::string family = {};  ///< a name for encoder_family()
  Json config = {};         ///< config.json; unknown fields are kept and written back
  Json preprocessor = {};   ///< preprocessor_config.json of an image encoder; null = none
  LoadReport report = {};   ///< what the load left aside
};

/// Loads a Hugging Face folder: config.json, whose model_type names the family, and
/// model.safetensors or its shards. Weights of any floating-point type are copied once, from the
/// mapped file into parameters of `dtype`. Folders saved from a model with a head load too; the
/// head is dropped, and an encoder whose pooler is absent is built without one. A language model of
/// lm_families() is a text encoder (text/lm_encoder.hpp), with or without its head. An image
/// encoder takes the pixel statistics for uint8 input from preprocessor_config.json where there is
/// one. The encoder is in evaluation mode. Errors name file, field or every weight that does not
/// fit.
WEFT_API EncoderFolder load_encoder(const std::filesystem::path& folder,
                                    at::ScalarType dtype = at::kFloat);

/// Writes `folder`'s encoder as a Hugging Face folder that transformers loads without missing or
/// unexpected weights (an encoder without pooler: with add_pooling_layer=False). The folder appears
/// whole or not at all; where it is there already it is replaced in one step, and files in it that
/// are not the model's stay. Error where the layout cannot express the encoder.
WEFT_API void save_encoder(const EncoderFolder& folder, const std::filesystem::path& path);

/// A freshly initialised encoder of that role. `name` is a preset of vision/presets.hpp or
/// text/presets.hpp, whose options `config` overrides; a name of dual_presets(), of which this is
/// one tower, whose config.json `config` overrides; or a family, of which `config` is the
/// config.json.
WEFT_API EncoderFolder make_encoder(const std::string& name, Role role,
                                    const Json& config = Json::object());

/// The same from options that no name stands for: wraps an encoder for save_encoder.
WEFT_API EncoderFolder wrap_encoder(std::shared_ptr<Encoder> encoder);

/// preprocessor_config.json for the whole image at the size that an image encoder was made for,
/// with its pixel statistics; null for other encoders.
WEFT_API Json default_preprocessor(const Encoder& encoder);
/// The other way: an image encoder takes the statistics for uint8 input from a preprocessor. `file`
/// stands in errors.
WEFT_API void take_pixel_statistics(Encoder& encoder, const Json& preprocessor,
                                    const std::filesystem::path& file);

/// How an image encoder's inputs are made: the transform of its preprocessor, or where it has none,
/// of its image size.
WEFT_API vision::ImageTransformOptions image_transform(const EncoderFolder& folder);

/// A module's parameters and persistent buffers, in its own order.
WEFT_API std::vector<NamedTensor> named_tensors(const torch::nn::Module& module);

}  // namespace weft::checkpoint
