#include <limits>

#include <ATen/ops/cat.h>
#include <torch/types.h>

#include <weft/checkpoint/families.hpp>
#include <weft/data/labels.hpp>
#include <weft/eval/labelled.hpp>

#include "core/fail.hpp"
#include "eval/chunks.hpp"

namespace weft::eval {

ImageTower image_tower(const checkpoint::EncoderFolder& loaded, std::optional<nn::Pooling> pool) {
  const auto pooling = pool.value_or(nn::Pooling::encoder);
  nn::pooled_size(loaded.encoder->info(), pooling);  // refuses what the encoder cannot give
  ImageTower out;
  out.encoder = loaded.encoder;
  out.encode = [encoder = loaded.encoder, pooling](const EncoderInput& input) {
    return nn::pool(encoder->encode(input), pooling);
  };
  out.transform = checkpoint::image_transform(loaded);
  return out;
}

ImageTower image_tower(const checkpoint::ImageClassifierFolder& loaded,
                       std::optional<nn::Pooling> pool) {
  auto out = image_tower(loaded.image, pool.value_or(loaded.model->options.pool));
  out.transform = loaded.transform;
  return out;
}

ImageTower image_tower(const checkpoint::DualEncoderFolder& loaded, bool projected) {
  ImageTower out;
  out.encoder = loaded.model->image;
  out.encode = [model = loaded.model, projected](const EncoderInput& input) mutable {
    return projected ? model->encode_image(input) : model->image_features(input);
  };
  out.transform = loaded.transform;
  return out;
}

ImageTower load_image_tower(const std::filesystem::path& folder, const ImageTowerOptions& options) {
  const auto origin = folder.string();
  if (!checkpoint::is_dual_encoder(folder)) {
    if (options.projected)
      fail("{}: a single encoder has no projection into a shared space; leave --projected out",
           origin);
    if (checkpoint::is_image_classifier(folder))
      return image_tower(checkpoint::load_image_classifier(folder), options.pool);
    const auto loaded = checkpoint::load_encoder(folder);
    if (checkpoint::encoder_family(loaded.family).role != checkpoint::Role::image)
      fail("{}: expected an image encoder or a dual encoder, found the text encoder '{}'", origin,
           loaded.family);
    return image_tower(loaded, options.pool);
  }
  if (options.pool) fail("{}: a dual encoder has its own pooling; leave --pool out", origin);
  return image_tower(checkpoint::load_dual_encoder(folder), options.projected);
}

int64_t LabelledFeatures::largest_label() const { return labels.max().item<int64_t>(); }

LabelledFeatures labelled_features(const ImageTower& tower, data::ImageTextLoader& loader,
                                   const FeatureOptions& options, report::Stages& stages,
                                   int64_t classes) {
  LabelledFeatures out;
  std::vector<at::Tensor> rows, labels;
  for_each_chunk(
      loader, options, stages,
      [&](data::ImageTextBatch& batch) {
        data::check_labels(batch, classes > 0 ? classes : std::numeric_limits<int64_t>::max());
        for (auto& key : batch.keys) out.keys.push_back(std::move(key));
        labels.push_back(batch.labels);
      },
      [&](const at::Tensor& pixels, const FeatureOptions& shifted) {
        rows.push_back(encode_images(*tower.encoder, tower.encode, pixels, shifted));
        stages.lap("image_features");
      });
  out.features = at::cat(rows);
  out.labels = at::cat(labels);
  return out;
}

}  // namespace weft::eval
