#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <weft/data/visual_reader.hpp>

namespace weft::data {

std::function<VisualInput(const io::Image&)> visual_transform(const checkpoint::VlmFolder& folder) {
  const at::NoGradGuard no_grad;
  const auto transform = folder.transform;
  const auto S = transform.size;
  const auto device = folder.model->vision->parameters().front().device();
  const auto empty = at::zeros({1, 3, S, S}, at::TensorOptions(at::kByte).device(device));
  auto model = folder.model;
  const auto tokens = model->embed_images({.data = empty}).size(1);
  return [transform, S, tokens](const io::Image& image) {
    VisualInput out{.pixels = at::empty({1, 3, S, S}, at::kByte), .tokens = tokens};
    vision::to_pixels_into(image, transform, out.pixels.data_ptr<uint8_t>());
    return out;
  };
}

ReadVisual visual_reader(const checkpoint::VlmFolder& folder,
                         std::shared_ptr<const ConversationSource> source) {
  return [transform = visual_transform(folder), source = std::move(source)](int64_t number) {
    return transform(source->image(number));
  };
}

}  // namespace weft::data
