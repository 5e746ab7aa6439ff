#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft::tokenizers {

/// A SentencePiece `.model`: the fields of sentencepiece_model.proto that encoding and decoding
/// read.
struct SpmPiece {
  enum Type { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
  std::string piece = {};
  float score = 0;
  Type type = normal;
};

struct SpmNormalizerSpec {
  std::string name = "";  ///< nmt_nfkc, identity ..
  std::string charsmap = "";
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

struct SpmFile {
  enum Model { unigram = 1, bpe = 2, word = 3, character = 4 };
  std::vector<SpmPiece> pieces = {};
  Model model = unigram;
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  std::string unk_surface = " \xE2\x81\x87 ";
  int64_t bos_id = 1, eos_id = 2, pad_id = -1;
  SpmNormalizerSpec normalizer = {};
  std::string denormalizer_charsmap = "";
};

/// Reads the protobuf wire format; fields that are not listed above are skipped. Error names the
/// byte where the file is damaged, and what a model must not lack (pieces, exactly one unknown
/// piece, no piece twice).
SpmFile parse_spm(std::string_view bytes, const std::string& name);

}  // namespace weft::tokenizers
