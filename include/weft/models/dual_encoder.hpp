#pragma once

#include <cmath>
#include <memory>
#include <optional>
#include <string_view>

#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <weft/core/options.hpp>
#include <weft/losses/contrastive.hpp>
#include <weft/nn/autocast.hpp>
#include <weft/nn/inference.hpp>
#include <weft/nn/init.hpp>
#include <weft/nn/pooling.hpp>
#include <weft/nn/sockets.hpp>

namespace weft::models {

/// What carries a tower's vector into the shared space.
enum class Projection {
  none,         ///< nothing: the tower's vector has the width of the space already (SigLIP)
  linear,       ///< a matrix (CLIP)
  linear_bias,  ///< and a bias
};

enum class ContrastiveLoss {
  infonce,  ///< losses::contrastive_loss (CLIP)
  sigmoid,  ///< losses::sigmoid_loss with a learned bias (SigLIP)
};

struct DualEncoderOptions {
  int64_t embed_dim = 384;  ///< E, width of the shared space
  nn::Pooling image_pool = nn::Pooling::encoder;
  nn::Pooling text_pool = nn::Pooling::encoder;
  Projection image_projection = Projection::linear_bias;
  Projection text_projection = Projection::linear_bias;
  ContrastiveLoss loss = ContrastiveLoss::infonce;
  std::optional<double> init_logit_scale = {};           ///< logarithm; by default that of the loss
  double init_logit_bias = losses::kInitialSigmoidBias;  ///< of the sigmoid loss
  double max_logit_scale = losses::kMaxLogitScale;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("embed_dim", o.embed_dim, "width of the shared space");
    v("image_pool", o.image_pool, "how the tokens of an image become one vector");
    v("text_pool", o.text_pool, "how the tokens of a text become one vector");
    v("image_projection", o.image_projection, "what carries the image's vector into the space");
    v("text_projection", o.text_projection, "what carries the text's vector into the space");
    v("loss", o.loss, "contrastive loss");
    v("init_logit_scale", o.init_logit_scale,
      "logarithm of the scale at the start; by default ln(1/0.07), sigmoid: ln 10");
    v("init_logit_bias", o.init_logit_bias, "bias of the sigmoid loss at the start");
    v("max_logit_scale", o.max_logit_scale, "upper bound of the scale's logarithm");
  }
};

/// Two towers, a projection each, one shared space: CLIP (Radford et al., 2021), SigLIP (Zhai et
/// al., 2023) with the sigmoid loss, and LiT (Zhai et al., 2022) where a tower is locked. Any two
/// encoders fit, also two of one modality.
///
///     DualEncoder model(vision, text, DualEncoderOptions{.embed_dim = 512});
///     auto loss = model->loss(model->encode_image({.data = pixels}), model->encode_text({.data =
///     ids, .mask = mask})); loss.backward();  optimizer.step();  model->clamp_scale_();
///
/// Parameters: image.*, text.*, image_projection.{weight,bias}, text_projection.{weight,bias} (with
/// a bias as torch's Linear starts, without as CLIP's do, N(0, 1/width)), logit_scale [], and
/// logit_bias [] with the sigmoid loss.
/// Differs from CLIP: the projections have a bias by default.
class WEFT_API DualEncoderImpl : public torch::nn::Module {
 public:
  DualEncoderImpl(std::shared_ptr<Encoder> image_encoder, std::shared_ptr<Encoder> text_encoder,
                  const DualEncoderOptions& options_in = {})
      : options(options_in) {
    TORCH_CHECK_VALUE(image_encoder && text_encoder, "DualEncoder: both encoders must be given");
    TORCH_CHECK_VALUE(options.embed_dim > 0, "DualEncoder: embed_dim must be positive, got ",
                      options.embed_dim);
    image = register_module("image", std::move(image_encoder));
    text = register_module("text", std::move(text_encoder));
    const auto projection = [&](const char* name, int64_t width,
                                Projection kind) -> torch::nn::Linear {
      if (kind != Projection::none) {
        auto layer = register_module(
            name, torch::nn::Linear(torch::nn::LinearOptions(width, options.embed_dim)
                                        .bias(kind == Projection::linear_bias)));
        if (kind == Projection::linear)
          nn::init_normal(layer->weight, 1 / std::sqrt(static_cast<double>(width)));
        return layer;
      }
      TORCH_CHECK_VALUE(width == options.embed_dim, "DualEncoder: without ", name,
                        " the tower's width must be embed_dim, got ", width, " and ",
                        options.embed_dim);
      return torch::nn::Linear(nullptr);
    };
    image_projection =
        projection("image_projection", nn::pooled_size(image->info(), options.image_pool),
                   options.image_projection);
    text_projection =
        projection("text_projection", nn::pooled_size(text->info(), options.text_pool),
                   options.text_projection);
    const bool sigmoid = options.loss == ContrastiveLoss::sigmoid;
    if (!options.init_logit_scale)
      options.init_logit_scale =
          sigmoid ? losses::kInitialSigmoidScale : losses::kInitialLogitScale;
    logit_scale = register_parameter("logit_scale",
                                     torch::full({}, *options.init_logit_scale, torch::kFloat32));
    if (sigmoid)
      logit_bias = register_parameter("logit_bias",
                                      torch::full({}, options.init_logit_bias, torch::kFloat32));
  }

  /// Unit rows [B, E] in fp32, also under autocast (in fp64 for a model of doubles).
  Tensor encode_image(const EncoderInput& input) { return project_image(image_features(input)); }
  Tensor encode_text(const EncoderInput& input) { return project_text(text_features(input)); }

  /// What the projections read, [B, F]: the pooled tower. Features of a locked tower may be kept
  /// and projected in every epoch.
  Tensor image_features(const EncoderInput& input) {
    return nn::pool(image->encode(input), options.image_pool);
  }
  Tensor text_features(const EncoderInput& input) {
    return nn::pool(text->encode(input), options.text_pool);
  }

  /// features [B, F] -> unit rows [B, E].
  Tensor project_image(const Tensor& features) {
    return nn::unit_rows(project(image_projection, features));
  }
  Tensor project_text(const Tensor& features) {
    return nn::unit_rows(project(text_projection, features));
  }

  /// options.loss [] of unit rows [B, E] at the learned scale (and bias).
  Tensor loss(const Tensor& image_rows, const Tensor& text_rows) {
    return logit_bias.defined()
               ? losses::sigmoid_loss(image_rows, text_rows, logit_scale, logit_bias)
               : losses::contrastive_loss(image_rows, text_rows, logit_scale);
  }
  /// To be called after each optimiser step.
  void clamp_scale_() { losses::clamp_logit_scale_(logit_scale, options.max_logit_scale); }

  /// A locked tower takes no gradient and stays in evaluation mode whatever train() says.
  void lock_image(bool on = true) { lock(*image, image_locked_ = on); }
  void lock_text(bool on = true) { lock(*text, text_locked_ = on); }
  bool image_locked() const { return image_locked_; }
  bool text_locked() const { return text_locked_; }

  void train(bool on = true) override {
    torch::nn::Module::train(on);
    if (image_locked_) image->eval();
    if (text_locked_) text->eval();
  }

  DualEncoderOptions options;
  std::shared_ptr<Encoder> image, text;
  torch::nn::Linear image_projection{nullptr}, text_projection{nullptr};  // null with none
  Tensor logit_scale;  // [], the scale's logarithm
  Tensor logit_bias;   // []; undefined without the sigmoid loss

 private:
  Tensor project(torch::nn::Linear& layer, const Tensor& features) const {
    if (!layer) return features;
    if (!nn::inference_applies(features, is_training()) || nn::inference_type() != torch::kFloat32)
      return layer(features);
    // As the towers' fast path: no emulated bf16.
    const nn::AutocastGuard off(torch::kCPU, torch::kBFloat16, false);
    return layer(features.to(torch::kFloat32));
  }
  void lock(Encoder& tower, bool on) {
    for (auto& parameter : tower.parameters()) parameter.requires_grad_(!on);
    tower.train(is_training() && !on);
  }

  bool image_locked_ = false, text_locked_ = false;
};
TORCH_MODULE(DualEncoder);

}  // namespace weft::models

template <>
inline constexpr std::string_view weft::enum_names<weft::models::Projection>[] = {"none", "linear",
                                                                                  "linear_bias"};
template <>
inline constexpr std::string_view weft::enum_names<weft::models::ContrastiveLoss>[] = {"infonce",
                                                                                       "sigmoid"};
