#include <torch/types.h>
#include <torch/utils.h>

#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/checkpoint/families.hpp>
#include <weft/checkpoint/lm_folder.hpp>
#include <weft/eval/embedder.hpp>
#include <weft/eval/labelled.hpp>
#include <weft/vision/image_batch.hpp>

#include "core/fail.hpp"

namespace weft::eval {
namespace {

EncodeFunction as_unit_rows(EncodeFunction encode) {
  return [encode = std::move(encode)](const EncoderInput& input) {
    return nn::unit_rows(encode(input).to(torch::kFloat32));
  };
}

}  // namespace

Embedder::Embedder(const std::filesystem::path& folder, const EmbedderOptions& options)
    : origin_(folder.string()), options_(options) {
  if (checkpoint::is_dual_encoder(folder)) {
    if (options.pool) fail("{}: a dual encoder has its own pooling; leave --pool out", origin_);
    auto clip = checkpoint::load_dual_encoder(folder);
    image_ = clip.model->image;
    text_ = clip.model->text;
    encode_image_ = [model = clip.model](const EncoderInput& input) mutable {
      return model->encode_image(input);
    };
    encode_text_ = [model = clip.model](const EncoderInput& input) mutable {
      return model->encode_text(input);
    };
    tokenizer_ = clip.tokenizer;
    transform_ = clip.transform;
  } else if (checkpoint::is_image_classifier(folder)) {
    take(image_tower(checkpoint::load_image_classifier(folder), options.pool));
  } else {
    auto loaded = checkpoint::load_encoder(folder);
    if (checkpoint::encoder_family(loaded.family).role == checkpoint::Role::image) {
      take(image_tower(loaded, options.pool));
    } else {
      text_ = loaded.encoder;
      const auto pooling = options.pool.value_or(nn::Pooling::mean);
      nn::pooled_size(text_->info(), pooling);  // refuses what the encoder cannot give
      encode_text_ = as_unit_rows([text = text_, pooling](const EncoderInput& input) {
        return nn::pool(text->encode(input), pooling);
      });
      if (options.tokenizer.empty()) tokenizer_ = checkpoint::load_text_tokenizer(folder);
    }
  }
  if (!options.tokenizer.empty()) tokenizer_ = tokenizers::load_tokenizer(options.tokenizer);
}

void Embedder::take(ImageTower tower) {
  image_ = tower.encoder;
  encode_image_ = as_unit_rows(std::move(tower.encode));
  transform_ = tower.transform;
}

at::Tensor Embedder::images(const std::vector<io::Image>& images) {
  if (!image_) fail("{}: this model has no image encoder", origin_);
  return encode_images(*image_, encode_image_, vision::to_pixels(images, transform_),
                       options_.features);
}

at::Tensor Embedder::texts(const std::vector<std::string>& texts) {
  if (!text_) fail("{}: this model has no text encoder", origin_);
  if (!tokenizer_) checkpoint::fail_without_tokenizer(origin_);
  return encode_texts(*text_, encode_text_, *tokenizer_, texts, options_.features);
}

}  // namespace weft::eval
