#include <algorithm>
#include <cmath>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <weft/data/vlm_inputs.hpp>
#include <weft/fusion/anyres.hpp>
#include <weft/tokenizers/conversation.hpp>

#include "core/fail.hpp"

namespace weft::data {
namespace {

constexpr const char* kAroundImage = "<fake_token_around_image>";

/// What a text holds for an image: `each` placeholders a tile, and what Idefics3's and InternVL's
/// processors write around them. Empty where it is the placeholders alone.
std::vector<int64_t> image_text(const vision::TiledImage& cut, vision::Tiling tiling, int64_t each,
                                int64_t placeholder, const tokenizers::Tokenizer& tokenizer) {
  std::vector<int64_t> out;
  const auto write = [&](const std::string& text) {
    const auto ids = tokenizer.encode(text, {.add_special_tokens = false}).ids;
    out.insert(out.end(), ids.begin(), ids.end());
  };
  const auto see = [&](int64_t tiles) { out.insert(out.end(), tiles * each, placeholder); };
  if (tiling == vision::Tiling::crop) {
    write("<img>");
    see(cut.count());
    write("</img>");
  }
  if (tiling != vision::Tiling::split) return out;
  // The text between two tiles is cut into tokens as a whole.
  std::string between;
  for (int64_t row = 1; row <= cut.rows; ++row) {
    for (int64_t column = 1; column <= cut.columns; ++column) {
      write(fmt::format("{}{}<row_{}_col_{}>", between, kAroundImage, row, column));
      see(1);
      between.clear();
    }
    between = "\n";
  }
  if (cut.rows > 0) between += "\n";
  write(between + kAroundImage + "<global-img>");
  see(1);
  write(kAroundImage);
  return out;
}

std::shared_ptr<fusion::AnyResImpl> tiles_of(const checkpoint::VlmFolder& folder) {
  return std::dynamic_pointer_cast<fusion::AnyResImpl>(folder.model->connector);
}

/// Of one view or tile.
int64_t view_tokens(const checkpoint::VlmFolder& folder) {
  const at::NoGradGuard no_grad;
  auto model = folder.model;
  const auto S = folder.tiling.view.size;
  const auto device = model->vision->parameters().front().device();
  const ConnectorInput empty{
      .visual = model->see(
          {.data = at::zeros({1, 3, S, S}, at::TensorOptions(at::kByte).device(device))})};
  const auto tiles = tiles_of(folder);
  return (tiles ? tiles->projector : model->connector)->connect(empty).tokens.size(1);
}

}  // namespace

std::optional<int64_t> visual_tokens(const checkpoint::VlmFolder& folder) {
  const auto tiling = folder.tiling.tiling;
  if (tiling != vision::Tiling::none && tiling != vision::Tiling::pad) return std::nullopt;
  return view_tokens(folder);
}

std::function<VisualInput(const io::Image&, bool)> visual_transform(
    const checkpoint::VlmFolder& folder) {
  const auto tiles = tiles_of(folder);
  const auto tokens = view_tokens(folder);
  return [alone = folder.tiling, several = vision::among_others(folder.tiling), tiles, tokens,
          tokenizer = folder.tokenizer, placeholder = folder.model->options.image_token](
             const io::Image& image, bool among_others) {
    const auto& tiling = among_others ? several : alone;
    const auto cut = vision::to_tiles({image}, tiling);
    const auto layout = vision::tiled({image.height, image.width}, tiling);
    VisualInput out{.pixels = cut.pixels, .tokens = tokens * cut.pixels.size(0)};
    if (tiles) {
      out.row = cut.images[0];
      out.tokens =
          tiles->visual_tokens(layout, std::lround(std::sqrt(static_cast<double>(tokens))));
    } else if (tokenizer) {
      out.ids = image_text(layout, tiling.tiling, tokens, placeholder, *tokenizer);
    }
    return out;
  };
}

Placement view_placement(const vision::Resolution& picture, const vision::TilingOptions& tiling) {
  auto [height, width] = picture;
  Placement out;
  if (tiling.tiling == vision::Tiling::pad) {
    out = Placement::pad_to_square(width, height);
    width = height = std::max(width, height);
  }
  const auto view = vision::view_geometry(width, height, tiling.view);
  return out.then(Placement::resize(width, height, view.width, view.height))
      .then(Placement::crop(view.left, view.top));
}

ReadVisual visual_reader(const checkpoint::VlmFolder& folder,
                         std::shared_ptr<const ConversationSource> source) {
  return [transform = visual_transform(folder), source = std::move(source)](int64_t number) {
    return transform(source->image(number), source->among_others(number));
  };
}

ConversationEncoder conversation_encoder(const checkpoint::VlmFolder& folder,
                                         const std::string& style, int64_t max_length,
                                         Turns turns) {
  if (!folder.tokenizer)
    fail("{}: holds no tokenizer, without which it cannot be asked", folder.path.string());
  const auto& model = folder.model->options;
  if (const auto limit = folder.model->language->info().max_tokens; limit > 0)
    max_length = std::min(max_length, limit);
  return {folder.tokenizer,
          style == "model" && folder.chat ? *folder.chat
                                          : tokenizers::conversation_template(style, folder.texts),
          {.image_token = model.image_token,
           .turns = turns,
           .max_length = max_length,
           .prefix_attention = model.prefix_attention}};
}

LmInput to_lm_input(const ConversationTokens& tokens) {
  LmInput out{.ids = at::tensor(tokens.ids, at::kLong).unsqueeze(0)};
  if (tokens.prefix > 0)
    out.spans = at::arange(out.ids.size(1), at::kLong).lt(tokens.prefix).to(at::kLong).unsqueeze(0);
  return out;
}

std::vector<int64_t> answer_ends(const checkpoint::VlmFolder& folder,
                                 const ConversationEncoder& encoder) {
  auto out = checkpoint::end_tokens(folder.language);
  for (const auto id : encoder.end_tokens()) out.push_back(id);
  return out;
}

GroundingFormat grounding_format(const checkpoint::VlmFolder& folder) {
  const bool located = folder.tokenizer && folder.tokenizer->id(location_tokens().front());
  return located ? GroundingFormat::paligemma : GroundingFormat::plain;
}

}  // namespace weft::data
