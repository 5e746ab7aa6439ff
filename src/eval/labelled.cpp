#include <ATen/ops/cat.h>
#include <torch/types.h>

#include <weft/checkpoint/families.hpp>
#include <weft/checkpoint/preprocessor.hpp>
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
  out.transform.size = loaded.encoder->info().image_size;
  if (!loaded.preprocessor.is_null())
    out.transform = checkpoint::image_transform(loaded.preprocessor);
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
    const auto loaded = checkpoint::load_encoder(folder);
    if (checkpoint::families().at(loaded.family).role != checkpoint::Role::image)
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
        TORCH_CHECK_VALUE(batch.labels.defined(),
                          "labelled_features: the loader must have needs_label on");
        const auto* label = batch.labels.const_data_ptr<int64_t>();
        for (size_t i = 0; i < batch.keys.size(); ++i) {
          if (classes > 0 && label[i] >= classes)
            fail("sample '{}': label {} has no class: there are {}, from 0", batch.keys[i],
                 label[i], classes);
          out.keys.push_back(std::move(batch.keys[i]));
        }
        labels.push_back(batch.labels);
      },
      [&](const at::Tensor& pixels, const FeatureOptions& shifted) {
        rows.push_back(encode_images(*tower.encoder, tower.encode, pixels, shifted));
        stages.lap("image_features");
      });
  if (out.keys.empty())
    throw Error("no usable sample was found in the shards: " + loader.bad().summary());
  out.features = at::cat(rows);
  out.labels = at::cat(labels);
  return out;
}

}  // namespace weft::eval
