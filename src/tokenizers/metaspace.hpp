#pragma once

#include "tokenizers/components.hpp"

namespace weft::tokenizers {

/// SentencePiece's mark of a space.
inline constexpr std::string_view kMetaspace = "\xE2\x96\x81";

/// Where the marks at text[at] end.
inline size_t behind_metaspaces(std::string_view text, size_t at) {
  while (text.substr(at).starts_with(kMetaspace)) at += kMetaspace.size();
  return at;
}

/// When Metaspace puts its mark in front of a piece that does not begin with it.
enum class PrependScheme { always, first, never };
PrependScheme read_prepend_scheme(const json& component, const Where& where);
/// The mark of a Metaspace: one character.
std::string read_replacement(const json& component, const Where& where);

/// Spaces to `replacement`, and a split in front of each where `split` says so.
class Metaspace final : public PreTokenizer {
 public:
  Metaspace(std::string replacement, PrependScheme scheme, bool split)
      : replacement_(std::move(replacement)), scheme_(scheme), split_(split) {}
  void split(Text& text, std::vector<Piece>& pieces) const override;

 private:
  std::string replacement_;
  PrependScheme scheme_;
  bool split_;
};

}  // namespace weft::tokenizers
