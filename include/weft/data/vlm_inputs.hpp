#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/core/export.hpp>
#include <weft/data/conversation_loader.hpp>
#include <weft/data/grounding.hpp>
#include <weft/io/image.hpp>
#include <weft/vision/tiles.hpp>

namespace weft::data {

/// How many language tokens an image becomes, where that does not depend on its size: without
/// tiles. Learned from an empty image.
WEFT_API std::optional<int64_t> visual_tokens(const checkpoint::VlmFolder& folder);

/// From a decoded image to what a model reads, by its folder's transform. The number of language
/// tokens is learned once, from an empty image. Where the folder has a tokenizer, what the text
/// holds for an image is what transformers' processors write: with split, "<row_r_col_c>" in front
/// of each tile, a line break behind each row, "<global-img>" in front of the whole image, and
/// "<fake_token_around_image>" before all these and at the end; with crop, "<img>" and "</img>"
/// around all. Called with the image and whether it is one of several of its sample. Thread-safe.
WEFT_API std::function<VisualInput(const io::Image&, bool among_others)> visual_transform(
    const checkpoint::VlmFolder& folder);

/// visual_transform() of the images of a source.
WEFT_API ReadVisual visual_reader(const checkpoint::VlmFolder& folder,
                                  std::shared_ptr<const ConversationSource> source);

/// From a picture of that size to the view of all of it that the encoder sees, [0, view.size] a
/// side; with tiles the first of them:
///
///     auto part = view_placement(size, tiling).back(Box{0, 0, S, S});   // of the picture
WEFT_API Placement view_placement(const vision::Resolution& picture,
                                  const vision::TilingOptions& tiling);

/// How a folder's model reads conversations, written as `style` says: a name of
/// tokenizers::conversation_template(), of which "model" is folder.chat, or a Jinja file, in
/// at most max_length tokens, and no more than the language model has positions. Error where the
/// folder has no tokenizer.
WEFT_API ConversationEncoder conversation_encoder(const checkpoint::VlmFolder& folder,
                                                  const std::string& style, int64_t max_length,
                                                  Turns turns = Turns::joint);

/// Tokens as a model reads them by themselves, [1, T]: ids, and spans where they have a prefix.
WEFT_API LmInput to_lm_input(const ConversationTokens& tokens);

/// What ends an answer: the language model's end tokens and the encoder's.
WEFT_API std::vector<int64_t> answer_ends(const checkpoint::VlmFolder& folder,
                                          const ConversationEncoder& encoder);

/// How a folder's model is to write boxes, as far as its vocabulary tells: paligemma where that has
/// location tokens, else plain.
WEFT_API GroundingFormat grounding_format(const checkpoint::VlmFolder& folder);

}  // namespace weft::data
