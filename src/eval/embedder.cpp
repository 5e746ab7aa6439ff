#include <torch/types.h>
#include <torch/utils.h>

#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/checkpoint/families.hpp>
#include <weft/checkpoint/preprocessor.hpp>
#include <weft/eval/embedder.hpp>
#include <weft/vision/image_batch.hpp>

#include "core/fail.hpp"

namespace weft::eval {
namespace {

EncodeFunction unit_rows(std::shared_ptr<Encoder> encoder, nn::Pooling pooling) {
  nn::pooled_size(encoder->info(), pooling);  // refuses what the encoder cannot give
  return [encoder, pooling](const EncoderInput& input) {
    const auto rows = nn::pool(encoder->encode(input), pooling).to(torch::kFloat32);
    return rows / rows.norm(2, {-1}, /*keepdim=*/true).clamp_min(1e-12);
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
  } else {
    auto loaded = checkpoint::load_encoder(folder);
    if (checkpoint::families().at(loaded.family).role == checkpoint::Role::image) {
      image_ = loaded.encoder;
      encode_image_ = unit_rows(image_, options.pool.value_or(nn::Pooling::encoder));
      transform_.size = image_->info().image_size;
      if (!loaded.preprocessor.is_null())
        transform_ = checkpoint::image_transform(loaded.preprocessor);
    } else {
      text_ = loaded.encoder;
      encode_text_ = unit_rows(text_, options.pool.value_or(nn::Pooling::mean));
      if (options.tokenizer.empty()) tokenizer_ = tokenizers::load_tokenizer(folder);
    }
  }
  if (!options.tokenizer.empty()) tokenizer_ = tokenizers::load_tokenizer(options.tokenizer);
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
