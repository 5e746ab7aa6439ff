#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/core/json.hpp>
#include <weft/core/options.hpp>
#include <weft/data/bad_data.hpp>
#include <weft/io/image.hpp>
#include <weft/tokenizers/chat_template.hpp>
#include <weft/tokenizers/conversation.hpp>

namespace weft {
namespace data {

using tokenizers::kImageMark;

/// What a model learns of a conversation of several turns.
enum class Turns {
  joint,   ///< it as it is: each answer sees the turns before it
  alone,   ///< each question with its answer, as a sample of its own
  shared,  ///< the same, but in one sequence that holds the images once: no question sees another
};

/// A conversation about images.
struct Conversation {
  std::string id = {};
  std::vector<int64_t> images = {};  ///< numbers in its source, in the order of their marks
  std::vector<tokenizers::Message> messages =
      {};  ///< an optional "system", then "user" and "assistant" in turns, the last an answer
  std::vector<std::string> references =
      {};  ///< right answers to the last question, where there are several; captions
  std::string rejected = {};  ///< a worse last answer, for preference tuning; empty = none
};

/// From LLaVA's JSON: {"id", "image": a path or an array of them, "conversations": [{"from":
/// "human"|"gpt"|"system", "value"}]}, or {"messages": [{"role", "content"}]}. Preferences have
/// "chosen" and "rejected", each a text or a message, behind a conversation that ends with a
/// question; "references" are texts. `paths` takes the images. BadSample(bad_conversation), whose
/// text begins with `where`, for anything else, for turns that do not alternate and for empty ones.
WEFT_API Conversation to_conversation(const Json& item, std::vector<std::string>& paths,
                                      const std::string& where);

/// Each question with its answer and all images, in order. Images that stand in another turn are
/// put in front of the question, as LLaVA does. BadSample(image_count) where several turns have not
/// as many marks as there are images.
WEFT_API std::vector<Conversation> single_turns(const Conversation& conversation);

struct ConversationSourceOptions {
  std::string data = "";
  std::string images = "";
  std::string exclude = "";
  bool alone = false;
  std::string caption_prompt = "Describe the image briefly.";
  int64_t seed = 0;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("data", o.data,
      "LLaVA's JSON or JSON lines, or WebDataset shards; several are joined by '::'");
    v("images", o.images, "folder that the paths of images in --data start from");
    v("exclude", o.exclude, "LLaVA's JSON whose ids and images are left out");
    v("alone", o.alone, "each question with its answer is a sample of its own");
    v("caption_prompt", o.caption_prompt, "question to which a shard's captions are answers");
    v("seed", o.seed, "of the choice among a sample's captions");
  }
};

/// Conversations and their images, by number.
///
/// JSON files are read once. Of WebDataset shards, each sample's json holds a conversation, or its
/// json or txt captions, of which each epoch takes one; its image is the sample's, and a
/// conversation may have none. What of a JSON file is no conversation, or has no single turns where
/// these are asked for, is counted in bad() and left out. Error where the data holds nothing.
class WEFT_API ConversationSource {
 public:
  explicit ConversationSource(const ConversationSourceOptions& options);
  ~ConversationSource();

  int64_t size() const;  ///< conversations
  /// Different images; one that stands both alone and among others counts twice.
  int64_t images() const;
  /// Thread-safe, as the others. BadSample says what is damaged.
  Conversation read(int64_t index, int64_t epoch = 0) const;
  io::Image image(int64_t number) const;
  /// Whether the image is one of several of its conversations, which some models see otherwise.
  bool among_others(int64_t number) const;
  /// For messages: its path in the data, or the key of its sample.
  std::string image_name(int64_t number) const;
  /// File and conversation, for messages; and its place in there.
  std::string file(int64_t index) const;
  uint64_t offset(int64_t index) const;
  /// Changes with the data, not with its folder.
  const std::string& fingerprint() const;
  const BadData& bad() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace data

template <>
inline constexpr std::string_view enum_names<data::Turns>[] = {"joint", "alone", "shared"};

}  // namespace weft
