#pragma once

#include <memory>
#include <utility>

#include <weft/core/options.hpp>
#include <weft/nn/module.hpp>
#include <weft/nn/pooling.hpp>
#include <weft/nn/sockets.hpp>

namespace weft::text {

struct LmEncoderOptions {
  /// last: the last real token, which has seen all others; mean: the mean over real tokens.
  nn::Pooling pooling = nn::Pooling::last;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("pooling", o.pooling, "last or mean");
  }
};

/// A decoder language model as a text encoder: what enters its head, pooled (Neelakantan et al.,
/// 2022, section 3; E5-Mistral, Wang et al., 2024). Equals Hugging Face's AutoModel, whose
/// last_hidden_state the tokens are. A tokenizer that ends its texts with a token of their own
/// (tokenizers::with_end_token) gives that one a text to sum up.
///
///     LmEncoder encoder(llama, LmEncoderOptions{.pooling = nn::Pooling::mean});
///     auto rows = encoder->encode({.data = ids, .mask = mask}).pooled;      // [B, E]
///
/// Parameters: language.*, of which a head that is not tied takes no gradient.
class WEFT_API LmEncoderImpl : public Encoder {
 public:
  explicit LmEncoderImpl(std::shared_ptr<LanguageModel> decoder, const LmEncoderOptions& o = {})
      : options(o) {
    TORCH_CHECK_VALUE(decoder != nullptr, "LmEncoder: the language model must be given");
    TORCH_CHECK_VALUE(o.pooling == nn::Pooling::last || o.pooling == nn::Pooling::mean,
                      "LmEncoder: pooling must be last or mean");
    language = register_module("language", std::move(decoder));
  }

  /// input.data: ids [B, N] int64; input.mask [B, N] bool, true = real, padding on either side,
  /// which nothing real sees; every row needs a real token. tokens [B, N, E], unspecified where the
  /// mask is false; pooled [B, E], undefined with stop_after, which gives that layer's tokens
  /// [B, N, D] but does not spare the layers behind it.
  EncoderOutput encode(const EncoderInput& input, const EncodeOptions& how = {}) override {
    TORCH_CHECK_VALUE(input.data.defined(), "LmEncoder: input.data (ids) is missing");
    const auto L = language->info().num_layers;
    const bool early = how.stop_after >= 0;
    TORCH_CHECK_VALUE(how.stop_after >= -1 && how.stop_after <= L,
                      "LmEncoder: stop_after must be -1 or between 0 and ", L, ", got ",
                      how.stop_after);
    LmInput text{.ids = input.data,
                 .mask = input.mask,
                 .logits = Logits::none,
                 .hidden_layers = how.hidden_layers};
    if (early) text.hidden_layers.push_back(how.stop_after);
    auto read = language->forward(text);
    EncoderOutput out{.tokens = read.hidden, .mask = input.mask};
    if (early) {
      out.tokens = read.layers.back();
      read.layers.pop_back();
    } else {
      out.pooled = nn::pool(out, options.pooling);
    }
    out.hidden = std::move(read.layers);
    return out;
  }

  /// hidden_size is the width of the tokens, E, which is not that of the layers where the head has
  /// one of its own (OPT-350m).
  EncoderInfo info() const override {
    const auto of = language->info();
    const auto width = language->head().weight.size(1);
    return {.family = of.family,
            .hidden_size = width,
            .pooled_size = width,
            .num_layers = of.num_layers,
            .num_heads = of.num_heads,
            .max_tokens = of.max_tokens,
            .vocab_size = of.vocab_size};
  }

  LmEncoderOptions options;
  std::shared_ptr<LanguageModel> language;
};
TORCH_MODULE(LmEncoder);

}  // namespace weft::text
