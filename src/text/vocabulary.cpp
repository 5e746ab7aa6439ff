#include <ATen/ATen.h>

#include <weft/nn/init.hpp>
#include <weft/text/vocabulary.hpp>

namespace weft::text {
namespace {

void resize_rows(at::Tensor& weight, int64_t rows, NewRows kind, double init_std) {
  const auto old = weight.detach();  // [V, E]
  const auto kept = std::min(rows, old.size(0));
  auto fresh = at::empty({rows, old.size(1)}, old.options());
  fresh.narrow(0, 0, kept).copy_(old.narrow(0, 0, kept));
  if (rows > kept) {
    auto added = fresh.narrow(0, kept, rows - kept);
    if (kind == NewRows::mean)
      added.copy_(old.mean(0, /*keepdim=*/true, at::kFloat).expand_as(added));
    else
      added.copy_(nn::init_weight(at::empty(added.sizes(), at::kFloat), init_std));
  }
  weight.mutable_grad() = at::Tensor();
  weight.set_data(fresh);
}

}  // namespace

int64_t resize_vocabulary(DecoderLmImpl& model, int64_t vocab_size,
                          const ResizeVocabularyOptions& options) {
  TORCH_CHECK_VALUE(vocab_size > 0 && options.multiple_of > 0,
                    "resize_vocabulary: vocab_size and multiple_of must be positive, got ",
                    vocab_size, " and ", options.multiple_of);
  const auto parts = (vocab_size - 1) / options.multiple_of + 1;
  const auto rows = parts * options.multiple_of;
  resize_rows(model.token_embed->weight, rows, options.rows, model.options.init_std);
  if (model.lm_head) {
    resize_rows(model.lm_head->weight, rows, options.rows, model.options.init_std);
    model.lm_head->options.out_features = rows;
  }
  model.options.vocab_size = rows;
  return rows;
}

}  // namespace weft::text
