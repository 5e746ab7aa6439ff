// The README's dual encoder, against the installed package.
#include <iostream>

#include <torch/types.h>

#include <weft/models/dual_encoder.hpp>
#include <weft/text/presets.hpp>
#include <weft/vision/presets.hpp>

int main() {
  auto image = std::make_shared<weft::vision::VisionTransformerImpl>(weft::vision::vit_tiny());
  auto text = std::make_shared<weft::text::TextEncoderImpl>(weft::text::text_tiny());
  weft::models::DualEncoder clip(image, text, weft::models::DualEncoderOptions{.embed_dim = 16});
  const auto side = image->info().image_size;
  const auto rows = clip->encode_image({.data = torch::rand({2, 3, side, side})});
  clip->encode_text({.data = torch::ones({2, 5}, torch::kLong)});
  std::cout << "image and text meet in " << rows.sizes() << '\n';
}
