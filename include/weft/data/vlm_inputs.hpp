#pragma once

#include <functional>
#include <memory>

#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/core/export.hpp>
#include <weft/data/conversation_loader.hpp>
#include <weft/io/image.hpp>

namespace weft::data {

/// From a decoded image to what a model reads, by its folder's transform. The number of language
/// tokens is learned once, from an empty image. Thread-safe.
WEFT_API std::function<VisualInput(const io::Image&)> visual_transform(
    const checkpoint::VlmFolder& folder);

/// The same of the images of a source.
WEFT_API ReadVisual visual_reader(const checkpoint::VlmFolder& folder,
                                  std::shared_ptr<const ConversationSource> source);

}  // namespace weft::data
