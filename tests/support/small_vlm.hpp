#pragma once

#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>
#include <torch/utils.h>

#include <weft/checkpoint/connectors.hpp>
#include <weft/data/conversation_loader.hpp>
#include <weft/models/vlm.hpp>
#include <weft/text/decoder_lm.hpp>
#include <weft/tokenizers/conversation.hpp>
#include <weft/vision/vision_transformer.hpp>

#include "data/byte_tokenizer.hpp"
#include "support/temp_folder.hpp"

namespace weft::test {

inline constexpr int64_t kPlaceholder = -200;

/// Images of 8 x 8 pixels are four tokens.
inline models::Vlm small_vlm(bool prefix_attention = false) {
  torch::manual_seed(3);
  models::Vlm out(
      std::make_shared<vision::VisionTransformerImpl>(vision::VisionTransformerOptions{
          .image_size = 8, .patch_size = 4, .hidden_size = 8, .num_layers = 2, .num_heads = 2}),
      checkpoint::make_connector("mlp2x_gelu", 8, 12),
      std::make_shared<text::DecoderLmImpl>(text::DecoderLmOptions{
          .vocab_size = byte_tokenizer()->vocab_size(),
          .num_layers = 2,
          .block = {.attention = {.hidden_size = 12, .num_heads = 2},
                    .mlp = {.hidden_size = 12, .intermediate_size = 16, .gated = true},
                    .norm = nn::NormKind::rms_norm},
          .rotary = {.dim = 6},
          .init_std = 0.3}),
      models::VlmOptions{.image_token = kPlaceholder,
                         .vision_layers = {-1},
                         .prefix_attention = prefix_attention});
  out->eval();
  return out;
}

/// Six conversations of one to three questions about three images.
struct SmallTalks {
  /// `behind`: the image behind the words of the first question, so that no other can share it.
  explicit SmallTalks(bool behind = false) {
    auto list = Json::array();
    for (int64_t i = 0; i < 6; ++i) {
      std::vector<Json> turns;
      for (int64_t k = 0; k <= i % 3; ++k) {
        turns.push_back(Json::object(
            {{"from", "human"},
             {"value", std::string(k > 0    ? "Which "
                                   : behind ? "What "
                                            : "<image>\nWhat ") +
                           std::to_string(i * 7 + k) + (k == 0 && behind ? "? <image>" : "?")}}));
        turns.push_back(Json::object({{"from", "gpt"}, {"value", "Answer " + std::to_string(k)}}));
      }
      list.push_back(Json::object({{"id", std::to_string(i)},
                                   {"image", std::to_string(i % 3) + ".png"},
                                   {"conversations", turns}}));
    }
    list.write(folder / "a.json");
  }

  data::ConversationLoader loader(data::Turns turns, int64_t batch_size, int64_t pack = 0,
                                  data::ReadVisual read = pixels_of,
                                  bool prefix_attention = false) const {
    return {
        std::make_shared<data::ConversationSource>(data::ConversationSourceOptions{
            .data = folder / "a.json", .alone = turns == data::Turns::alone}),
        std::make_shared<data::ConversationEncoder>(
            byte_tokenizer(), tokenizers::conversation_template("chatml", "/nowhere"),
            data::ConversationEncoderOptions{
                .image_token = kPlaceholder, .turns = turns, .prefix_attention = prefix_attention}),
        std::move(read),
        {.batch_size = batch_size, .workers = 1, .drop_last = false, .pack_length = pack}};
  }

  static data::VisualInput pixels_of(int64_t image) {
    return {
        .pixels = ((torch::arange(3 * 64) * (image + 3)) % 251).view({1, 3, 8, 8}).to(torch::kByte),
        .tokens = 4};
  }

  TempFolder folder;
};

}  // namespace weft::test
