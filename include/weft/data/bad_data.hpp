#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include <weft/core/export.hpp>
#include <weft/core/options.hpp>

namespace weft::data {

/// Why a sample or a shard could not be used.
enum class BadCause {
  missing_shard,     ///< the pattern names a file that is not there
  cut_shard,         ///< damaged or cut archive; what follows the damage is lost, and so is the
                     ///< sample that it stands in. Counts once
  missing_image,     ///< no jpg, jpeg, png, webp or bmp
  missing_caption,   ///< no txt or json, or none with words
  bad_caption,       ///< not UTF-8, or JSON that cannot be parsed or holds something else
  missing_label,     ///< no cls, where labels are asked for
  bad_label,         ///< a cls that is not one whole number of 0 or more
  decode_error,      ///< the image is damaged
  read_error,        ///< the archive no longer holds what it held at the start, or an image's file
                     ///< cannot be read
  empty_shard,       ///< not one sample; an error unless SampleStreamOptions::may_be_empty
  bad_conversation,  ///< turns that do not alternate, an empty answer, text that is not UTF-8, or
                     ///< JSON of another form
  image_count,       ///< not as many images as there are <image> marks
  too_long,          ///< its images or its question leave no room for an answer
};

/// Damage by cause and shard. A sample that is met again in the next epoch is counted once.
class WEFT_API BadData {
 public:
  /// True where this place was not known before.
  bool add(BadCause cause, const std::string& shard, uint64_t offset, const std::string& message);
  void add(const BadData& other);

  int64_t total() const { return static_cast<int64_t>(events_.size()); }
  int64_t count(BadCause cause) const;
  int64_t count(const std::string& shard) const;
  /// Shard -> cause -> how many.
  std::map<std::string, std::map<BadCause, int64_t>> by_shard() const;

  /// {"total", "by_cause": {name: n}, "by_shard": {path: {name: n}}, "examples": [message]}
  Json json() const;
  /// One line: totals by cause, then the worst shards with their causes, then the first message.
  std::string summary() const;

  Json state() const;  ///< every event, for checkpoints
  void restore(const Json& state);

 private:
  struct Event {
    BadCause cause;
    std::string message;
  };
  std::map<std::pair<std::string, uint64_t>, Event> events_;  // by (shard, offset)
};

}  // namespace weft::data

template <>
inline constexpr std::string_view weft::enum_names<weft::data::BadCause>[] = {
    "missing_shard",    "cut_shard",   "missing_image", "missing_caption", "bad_caption",
    "missing_label",    "bad_label",   "decode_error",  "read_error",      "empty_shard",
    "bad_conversation", "image_count", "too_long"};
