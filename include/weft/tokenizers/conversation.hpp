#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/tokenizers/chat_template.hpp>

namespace weft::tokenizers {

/// Where a message stands for an image.
inline constexpr std::string_view kImageMark = "<image>";
WEFT_API size_t count_image_marks(std::string_view text, std::string_view mark = kImageMark);
/// `text` without them, and without the spaces and line breaks that stood in front of the rest.
WEFT_API std::string without_image_marks(std::string text);

/// The same messages with lists of parts for contents, [{"type": "image"}, {"type": "text", "text":
/// ...}]: images, and the texts between their marks, without a line break next to a mark.
WEFT_API std::vector<Message> with_parts(std::vector<Message> messages);
/// Whether a template reads contents as lists of parts, and not as strings.
WEFT_API bool reads_parts_only(const ChatTemplate& chat);
/// Whether a template writes {"type": "image"} as the mark or, where it is not empty, as
/// `placeholder`, once, beside the text's part.
WEFT_API bool writes_images(const ChatTemplate& chat, const std::string& placeholder = "");

/// Names of conversation_template() besides "model" and files.
inline constexpr const char* kConversationStyles[] = {"plain", "v1", "llama_2", "chatml",
                                                      "paligemma"};

/// How conversations are written for a model whose tokenizer lies in `folder`:
///   model     the folder's own chat template
///   plain     the images and the answer alone, for alignment (LLaVA's first stage)
///   v1        Vicuna's "USER: ... ASSISTANT: ...", with LLaVA's system message
///   llama_2   "[INST] ... [/INST] ..." as LLaVA has it
///   chatml    "<|im_start|>user ... <|im_end|>"
///   paligemma the images, <bos>, the question and a line break, as transformers' processor has
///             it; further turns follow in the same way, without another <bos>
/// or the path of a Jinja file. The others equal LLaVA's conversation.py and mark what a model
/// learns to write as LLaVA's preprocess functions do: plain the caption with the line break behind
/// it, the others each answer with the end-of-text token behind it. The special tokens are those of
/// the folder's tokenizer_config.json; where that names none, llama_2 and v1 write </s>, and
/// paligemma <bos> and <eos>.
/// Error (usage) for another name, which lists these.
WEFT_API ChatTemplate conversation_template(const std::string& style,
                                            const std::filesystem::path& folder);

}  // namespace weft::tokenizers
