#pragma once

#include <cstdint>

#include <weft/core/options.hpp>
#include <weft/text/decoder_lm.hpp>

namespace weft::text {

enum class NewRows {
  mean,  ///< the mean of the old rows: new tokens start as no token in particular (Hewitt, 2021)
  init,  ///< as a fresh model starts, by init_std
};

struct ResizeVocabularyOptions {
  NewRows rows = NewRows::mean;
  int64_t multiple_of = 1;  ///< the size is rounded up to a multiple, for tensor cores

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("rows", o.rows);
    v("multiple_of", o.multiple_of);
  }
};

/// Gives the model a vocabulary of `vocab_size` tokens: rows of the embeddings and, where it is not
/// tied, of the head are added or cut off at the end; the others stay. The parameters stay the same
/// objects, with new shapes and without gradients: an optimizer that has moments of them must be
/// made anew. Returns the new size. Throws c10::ValueError for sizes below 1.
/// As transformers' resize_token_embeddings(); its mean_resizing=True draws the new rows around the
/// mean, with 1e-9 of the old rows' covariance, its mean_resizing=False as `init`, not cut.
WEFT_API int64_t resize_vocabulary(DecoderLmImpl& model, int64_t vocab_size,
                                   const ResizeVocabularyOptions& options = {});

}  // namespace weft::text

template <>
inline constexpr std::string_view weft::enum_names<weft::text::NewRows>[] = {"mean", "init"};
