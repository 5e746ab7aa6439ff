#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/core/export.hpp>
#include <weft/data/conversation_loader.hpp>
#include <weft/io/image.hpp>

namespace weft::data {

/// From a decoded image to what a model reads, by its folder's transform. The number of language
/// tokens is learned once, from an empty image. Where the folder has a tokenizer, what the text
/// holds for an image is what transformers' processors write: with split, "<row_r_col_c>" in front
/// of each tile, a line break behind each row, "<global-img>" in front of the whole image, and
/// "<fake_token_around_image>" before all these and at the end; with crop, "<img>" and "</img>"
/// around all. Thread-safe.
WEFT_API std::function<VisualInput(const io::Image&)> visual_transform(
    const checkpoint::VlmFolder& folder);

/// The same of the images of a source.
WEFT_API ReadVisual visual_reader(const checkpoint::VlmFolder& folder,
                                  std::shared_ptr<const ConversationSource> source);

/// How a folder's model reads conversations, written as `style` says (a name of
/// tokenizers::conversation_template() or a Jinja file). Error where the folder has no tokenizer.
WEFT_API ConversationEncoder conversation_encoder(const checkpoint::VlmFolder& folder,
                                                  const std::string& style, int64_t max_length,
                                                  Turns turns = Turns::joint);

/// What ends an answer: the language model's end tokens and the encoder's.
WEFT_API std::vector<int64_t> answer_ends(const checkpoint::VlmFolder& folder,
                                          const ConversationEncoder& encoder);

}  // namespace weft::data
