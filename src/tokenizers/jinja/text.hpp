#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

/// Strings that remember where their bytes were copied from while a template works on them.
namespace weft::tokenizers::jinja {

/// What a run of bytes belongs to; -1 = nothing.
struct Tag {
  int32_t message = -1;     ///< copied from the content of this message
  int32_t turn = -1;        ///< written while a loop stood at this message
  int32_t generation = -1;  ///< written in this {% generation %} block
  bool empty() const { return message < 0 && turn < 0 && generation < 0; }
  bool operator==(const Tag&) const = default;
};

struct Run {
  size_t begin = 0;
  size_t end = 0;
  Tag tag = {};
};

struct Text {
  std::string bytes = {};      ///< valid UTF-8
  std::vector<Run> runs = {};  ///< ascending, apart, none empty; bytes between them have no tag
  bool safe = false;           ///< markup: `+` escapes what it is joined with
};
using String = std::shared_ptr<const Text>;

/// Puts a Text together out of parts of others.
class TextBuilder {
 public:
  size_t size() const { return text_.bytes.size(); }
  void append(std::string_view bytes) { text_.bytes += bytes; }
  void append(const Text& from) { append(from, 0, from.bytes.size()); }
  /// Bytes [begin, end) of `from` with their tags.
  void append(const Text& from, size_t begin, size_t end);
  /// `bytes` that stand for what is at from.bytes[at].
  void append_as(const Text& from, size_t at, std::string_view bytes);
  /// Tags all bytes from `begin` on, where they have no such tag yet.
  void mark_turn(size_t begin, int32_t message) { mark(begin, &Tag::turn, message); }
  void mark_generation(size_t begin, int32_t block) { mark(begin, &Tag::generation, block); }
  const Text& text() const { return text_; }
  String take() { return std::make_shared<const Text>(std::move(text_)); }

 private:
  void mark(size_t begin, int32_t Tag::*field, int32_t value);
  void add_run(size_t begin, size_t end, const Tag& tag);

  Text text_;
};

String make_string(std::string bytes);
String substring(const Text& from, size_t begin, size_t end);
String as_safe(String text, bool safe = true);

}  // namespace weft::tokenizers::jinja
