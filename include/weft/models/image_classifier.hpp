#pragma once

#include <memory>

#include <ATen/core/grad_mode.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <weft/core/options.hpp>
#include <weft/nn/autocast.hpp>
#include <weft/nn/init.hpp>
#include <weft/nn/pooling.hpp>
#include <weft/nn/sockets.hpp>

namespace weft::models {

struct ImageClassifierOptions {
  int64_t num_classes;  ///< C
  nn::Pooling pool = nn::Pooling::encoder;
  double dropout = 0;  ///< on the pooled vector, in training

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("num_classes", o.num_classes, required, "classes that the head tells apart");
    v("pool", o.pool, "how the tokens of an image become one vector");
    v("dropout", o.dropout, "share of the pooled vector that is left out in training");
  }
};

/// An encoder and a linear head on its pooled vector, as ViT's authors fine-tune (Dosovitskiy et
/// al., 2021, section 3.2); with a locked encoder, a linear probe.
///
///     ImageClassifier model(vit, ImageClassifierOptions{.num_classes = 10});
///     auto loss = at::cross_entropy_loss(model->forward({.data = pixels}), labels);
///
/// Parameters: encoder.*, head.{weight,bias}. A fresh head is that of Hugging Face's
/// ForImageClassification classes: weights N(0, 0.02^2) cut at 2 (nn::init_weight), bias 0.
class WEFT_API ImageClassifierImpl : public torch::nn::Module {
 public:
  ImageClassifierImpl(std::shared_ptr<Encoder> image_encoder,
                      const ImageClassifierOptions& options_in)
      : options(options_in) {
    TORCH_CHECK_VALUE(image_encoder, "ImageClassifier: the encoder must be given");
    TORCH_CHECK_VALUE(options.num_classes > 0,
                      "ImageClassifier: num_classes must be positive, got ", options.num_classes);
    TORCH_CHECK_VALUE(options.dropout >= 0 && options.dropout < 1,
                      "ImageClassifier: dropout must be in [0, 1), got ", options.dropout);
    encoder = register_module("encoder", std::move(image_encoder));
    dropout = register_module("dropout", torch::nn::Dropout(options.dropout));
    head = register_module("head", torch::nn::Linear(nn::pooled_size(encoder->info(), options.pool),
                                                     options.num_classes));
    nn::init_weight(head->weight);
    nn::init_constant(head->bias, 0);
  }

  /// Logits [B, C], in fp32 also under autocast (in fp64 for a model of doubles).
  Tensor forward(const EncoderInput& input) { return classify(features(input)); }

  /// What the head reads, [B, F]: the pooled encoder. A locked encoder records no graph.
  Tensor features(const EncoderInput& input) {
    const at::AutoGradMode graph(at::GradMode::is_enabled() && !encoder_locked_);
    return nn::pool(encoder->encode(input), options.pool);
  }

  /// The head on features [B, F]: logits [B, C].
  Tensor classify(const Tensor& features) {
    const nn::AutocastGuard off(features.device().type(), torch::kBFloat16, false);
    const auto logits = head(dropout(features.to(head->weight.scalar_type())));
    return logits.to(torch::promoteTypes(logits.scalar_type(), torch::kFloat32));
  }

  /// A locked encoder takes no gradient and stays in evaluation mode whatever train() says.
  void lock_encoder(bool on = true) {
    encoder_locked_ = on;
    for (auto& parameter : encoder->parameters()) parameter.requires_grad_(!on);
    encoder->train(is_training() && !on);
  }
  bool encoder_locked() const { return encoder_locked_; }

  void train(bool on = true) override {
    torch::nn::Module::train(on);
    if (encoder_locked_) encoder->eval();
  }

  ImageClassifierOptions options;
  std::shared_ptr<Encoder> encoder;
  torch::nn::Dropout dropout{nullptr};
  torch::nn::Linear head{nullptr};

 private:
  bool encoder_locked_ = false;
};
TORCH_MODULE(ImageClassifier);

}  // namespace weft::models
