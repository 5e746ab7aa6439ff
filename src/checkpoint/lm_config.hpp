#pragma once

#include <string>
#include <vector>

#include <weft/checkpoint/key_map.hpp>
#include <weft/core/json.hpp>
#include <weft/text/decoder_lm.hpp>

#include "checkpoint/config_reader.hpp"

/// What the configurations of decoder language models share.
namespace weft::checkpoint {

/// The rotation that config.json describes: rope_parameters, of `layer_type` where these are kept
/// by the layers' type, or the older rope_scaling and rope_theta beside it.
nn::RotaryOptions read_rotary(const Json& config, const std::string& family, int64_t head_dim,
                              double default_theta = 10000.0, const std::string& layer_type = "");
/// rope_parameters of it.
Json rotary_json(const nn::RotaryOptions& options, int64_t head_dim);

/// The layers that layer_types calls sliding; where the field is absent, those of which
/// `slides(layer)` holds.
template <class Slides>
std::vector<int64_t> read_window_layers(const Json& config, const std::string& family,
                                        int64_t num_layers, Slides&& slides);
/// layer_types of it.
Json layer_types_json(const text::DecoderLmOptions& options);

/// An integer that may be null: 0 then.
int64_t integer_or_none(const Json& config, const ConfigReader& read, std::string_view key,
                        int64_t fallback);

/// Names of the files that hold the model without its head: "layers.." for "model.layers..".
void without_head_aliases(KeyMap& map, const std::string& prefix,
                          const std::vector<std::string>& names);

/// Llama's names of embeddings, head, attention and mlp, which Gemma shares; norms are the
/// family's. `fused`: q, k and v are one weight, and so are gate and fc1 (Phi-3).
KeyMap llama_names(bool tied, bool fused = false);

const text::DecoderLmImpl& as_decoder(const LanguageModel& model, std::string_view family);

std::vector<std::string> read_layer_types(const Json& config, const std::string& family,
                                          int64_t num_layers);

template <class Slides>
std::vector<int64_t> read_window_layers(const Json& config, const std::string& family,
                                        int64_t num_layers, Slides&& slides) {
  const auto types = read_layer_types(config, family, num_layers);
  std::vector<int64_t> out;
  for (int64_t i = 0; i < num_layers; ++i)
    if (types.empty() ? slides(i) : types[static_cast<size_t>(i)] == "sliding_attention")
      out.push_back(i);
  return out;
}

}  // namespace weft::checkpoint
