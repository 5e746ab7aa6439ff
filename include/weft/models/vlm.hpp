#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>

#include <weft/core/options.hpp>
#include <weft/nn/module.hpp>
#include <weft/nn/sockets.hpp>
#include <weft/ops/splice.hpp>

namespace weft::models {

struct VlmOptions {
  int64_t image_token;  ///< id of the placeholder, one for each visual token
  /// Which of the encoder's layers are read, side by side in width; -2 is LLaVA's. None: its tokens
  /// through the final norm.
  std::vector<int64_t> vision_layers = {-2};
  bool keep_prefix = false;  ///< class and register tokens too ("full")
  /// What stands in front of an answer, visual tokens and question, sees itself in both directions
  /// (Beyer et al., 2024, PaliGemma, section 3.2.1).
  bool prefix_attention = false;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("image_token", o.image_token, required, "id of the placeholder of a visual token");
    v("vision_layers", o.vision_layers, "layers of the encoder that are read; none = its output");
    v("keep_prefix", o.keep_prefix, "class and register tokens too");
    v("prefix_attention", o.prefix_attention,
      "what stands in front of an answer sees itself in both directions");
  }
};

struct VlmInput {
  LmInput text = {};  ///< ids with a placeholder for each visual token
  /// Pixels [I, 3, H, W] in the order of their placeholders, or tiles and which image they are of
  /// (vision/tiles.hpp); undefined = none.
  EncoderInput images = {};
};

/// Any vision encoder, connector and decoder: visual tokens stand among those of a text (Liu et
/// al., 2023, LLaVA, section 4.1).
///
///     Vlm model(clip, projector, llama, VlmOptions{.image_token = 32000});
///     auto logits = model->forward({{.ids = ids}, {.data = pixels}}).logits;
///
/// Parameters: vision.*, connector.*, language.*.
class WEFT_API VlmImpl : public torch::nn::Module {
 public:
  VlmImpl(std::shared_ptr<Encoder> encoder, std::shared_ptr<Connector> between,
          std::shared_ptr<LanguageModel> decoder, const VlmOptions& options_in)
      : options(options_in) {
    TORCH_CHECK_VALUE(encoder && between && decoder,
                      "Vlm: encoder, connector and language model must be given");
    const auto width = encoder->info().hidden_size *
                       std::max<int64_t>(1, static_cast<int64_t>(options.vision_layers.size()));
    TORCH_CHECK_VALUE(between->info().input_size == width, "Vlm: the connector reads tokens of ",
                      between->info().input_size, ", the encoder gives ", width);
    TORCH_CHECK_VALUE(between->info().hidden_size == decoder->info().hidden_size,
                      "Vlm: the connector gives tokens of ", between->info().hidden_size,
                      ", the language model reads ", decoder->info().hidden_size);
    for (auto& layer : options.vision_layers) {
      const auto L = encoder->info().num_layers;
      TORCH_CHECK_VALUE(layer >= -L - 1 && layer <= L, "Vlm: vision layer ", layer,
                        " is none of the encoder's 0 to ", L);
      if (layer < 0) layer += L + 1;
    }
    vision = register_module("vision", std::move(encoder));
    connector = register_module("connector", std::move(between));
    language = register_module("language", std::move(decoder));
  }

  /// images as in VlmInput -> the tokens that the connector reads, [I, N, F]; the encoder is left
  /// at the last layer that is read.
  EncoderOutput see(const EncoderInput& images) {
    const auto& layers = options.vision_layers;
    EncodeOptions how{.hidden_layers = layers};
    if (!layers.empty()) how.stop_after = *std::max_element(layers.begin(), layers.end());
    auto out = vision->encode(images, how);
    if (!out.images.defined()) out.images = images.images;
    if (!layers.empty()) out.tokens = layers.size() == 1 ? out.hidden[0] : at::cat(out.hidden, 2);
    if (!options.keep_prefix && out.prefix > 0)
      out.tokens = out.tokens.narrow(1, out.prefix, out.tokens.size(1) - out.prefix);
    return out;
  }

  /// images -> their language tokens, [I, M, D], or [1, sum M, D] where the connector packs them.
  Tensor embed_images(const EncoderInput& images) {
    return connector->connect({.visual = see(images)}).tokens;
  }

  /// The text as a prompt: with options.prefix_attention one that has no spans is a span as a
  /// whole. Where an answer stands behind the prompt, text.spans must end in front of it, or the
  /// answer is seen before it is said.
  LmInput prompt(const LmInput& text) const {
    auto out = text;
    const bool cached = text.cache != nullptr && text.cache->length() > 0;
    if (!options.prefix_attention || text.spans.defined() || cached) return out;
    const auto& data = text.ids.defined() ? text.ids : text.embeddings;
    out.spans = at::ones({data.size(0), data.size(1)}, data.options().dtype(at::kLong));
    return out;
  }

  /// Error for an id that is neither the placeholder nor one of the language model's, whose
  /// tokenizer is then another's. Waits for a GPU that holds them.
  void check_ids(const Tensor& ids) const {
    const auto known = language->info().vocab_size;
    const auto strange =
        ids.ne(options.image_token).logical_and(ids.lt(0).logical_or(ids.ge(known)));
    if (known <= 0 || !strange.any().item<bool>()) return;
    TORCH_CHECK_VALUE(false, "Vlm: the tokenizer does not fit the language model: it gives id ",
                      ids.masked_select(strange)[0].item<int64_t>(), ", the model has ", known);
  }

  /// Visual tokens [I, M, D] or [N, D] at the placeholders of text.ids: what the language model
  /// reads, as prompt() has it. Error where these are not as many.
  LmInput splice(const LmInput& text, const Tensor& visual) {
    const auto placeholders = text.ids == options.image_token;
    // Its id need not be one of the vocabulary.
    auto out = prompt(text);
    out.embeddings =
        ops::splice(language->embed(text.ids.masked_fill(placeholders, 0)), visual, placeholders);
    out.ids = Tensor();
    return out;
  }

  /// Text without images is read as prompt() has it.
  LmOutput forward(const VlmInput& input) {
    return language->forward(input.images.data.defined()
                                 ? splice(input.text, embed_images(input.images))
                                 : prompt(input.text));
  }

  VlmOptions options;  // vision_layers counted from 0
  std::shared_ptr<Encoder> vision;
  std::shared_ptr<Connector> connector;
  std::shared_ptr<LanguageModel> language;
};
TORCH_MODULE(Vlm);

}  // namespace weft::models
