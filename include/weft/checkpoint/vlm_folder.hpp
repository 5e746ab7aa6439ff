#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/checkpoint/lm_folder.hpp>
#include <weft/checkpoint/vlm_families.hpp>
#include <weft/tokenizers/chat_template.hpp>
#include <weft/tokenizers/tokenizer.hpp>
#include <weft/vision/tiles.hpp>

namespace weft::checkpoint {

/// A vision-language model with all that turns files and strings into its inputs.
struct VlmFolder {
  models::Vlm model{nullptr};
  EncoderFolder vision = {};  ///< the model's encoder, with the preprocessor
  LmFolder language = {};     ///< the model's decoder, with its generation settings
  std::shared_ptr<tokenizers::Tokenizer> tokenizer = {};  ///< null where the folder has none
  /// Likewise, but for a layout whose models are all asked in one way (PaliGemma).
  std::optional<tokenizers::ChatTemplate> chat = {};
  std::filesystem::path texts = {};  ///< folder whose tokenizer files a save copies; "" = none
  bool own_tokenizer = false;        ///< `tokenizer` is no longer that of `texts`: a save writes it
  vision::TilingOptions tiling = {};  ///< what the encoder sees of an image
  std::string layout = "";  ///< that it was read from: a name of vlm_families(), "" = weft's own
  Json config = {};         ///< config.json of that layout; unknown fields are kept
  LoadReport report = {};   ///< what the load left aside
  std::filesystem::path path = {};  ///< that it was read from; "" = made of parts
};

/// Loads a vision-language model into parameters of `dtype`: a layout of vlm_families(), named by
/// config.json's model_type, or weft's own folder:
///   config.json          VlmOptions, "connector", "tiling" and "model_type": "weft_vlm"
///   model.safetensors    connector.*
///   vision/, language/   the parts as Hugging Face folders
///   tokenizer.json ...   the files of the language model's tokenizer, chat_template.jinja
/// `path` may be a run folder, whose `model` is then read. The model is in evaluation mode. Errors
/// name file, field or every weight that does not fit.
WEFT_API VlmFolder load_vlm(const std::filesystem::path& path, at::ScalarType dtype = at::kFloat);

/// Whether load_vlm() reads `path`, by its config.json.
WEFT_API bool is_vlm(const std::filesystem::path& path);

/// Writes weft's own folder, or with `layout` one of vlm_families(), which transformers loads
/// without missing or unexpected weights. It appears whole or not at all, in the place of one that
/// was there; files in it that are not the model's stay. Error names what the layout cannot
/// express.
WEFT_API void save_vlm(const VlmFolder& folder, const std::filesystem::path& path,
                       const std::string& layout = "");

/// The layers of the encoder in `vision` that published models read: the last but one of CLIP's and
/// SigLIP's, and of others what they give through their final norm.
WEFT_API std::vector<int64_t> usual_vision_layers(const std::filesystem::path& vision);

struct MakeVlmOptions {
  std::string connector = "mlp2x_gelu";  ///< a name of make_connector()
  int64_t shuffle = 2;                   ///< as make_connector()'s
  int64_t num_queries = 64;              ///< likewise
  std::vector<int64_t> vision_layers = {};
  int64_t image_size = 0;  ///< pixels a side; 0 = the encoder's own
  /// anyres: grids of 1 x 2, 2 x 1, 2 x 2, 1 x 3 and 3 x 1 tiles, as LLaVA-NeXT; split: a longer
  /// side of four tiles; crop: up to 12 tiles.
  vision::Tiling tiling = vision::Tiling::none;
  bool prefix_attention = false;  ///< as in VlmOptions

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("connector", o.connector, "linear, mlp2x_gelu, pixel_shuffle, average_pool or resampler");
    v("shuffle", o.shuffle, "pixel_shuffle, average_pool: this many tokens a side become one");
    v("num_queries", o.num_queries, "resampler: tokens of an image");
    v("vision_layers", o.vision_layers,
      "layers of the encoder that are read, from the end where negative");
    v("image_size", o.image_size, "pixels a side; by default the encoder's");
    v("tiling", o.tiling,
      "none: the encoder's own transform; pad: images padded to squares; anyres, split, crop: "
      "tiles of larger copies too, as LLaVA-NeXT, Idefics3 and InternVL have them");
    v("prefix_attention", o.prefix_attention,
      "images and question see each other in both directions");
  }
};

/// Puts a connector between an encoder and the language model of the folder `language`, which
/// brings tokenizer and chat template. The placeholder is the vocabulary's "<image>", or an id
/// outside of it.
WEFT_API VlmFolder make_vlm(const std::filesystem::path& vision,
                            const std::filesystem::path& language,
                            const MakeVlmOptions& options = {});

}  // namespace weft::checkpoint
