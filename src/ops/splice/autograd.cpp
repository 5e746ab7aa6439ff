#include <torch/csrc/autograd/custom_function.h>

#include "ops/splice/backends.hpp"

namespace weft::ops::autograd {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Splice : torch::autograd::Function<Splice> {
  static constexpr bool is_traceable = true;

  static Tensor forward(AutogradContext* ctx, const Tensor& embeddings, const Tensor& visual,
                        const Tensor& placeholders) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    ctx->save_for_backward({placeholders});
    ctx->saved_data["visual_rows"] = visual.sym_size(0);
    return dispatch::splice(embeddings, visual, placeholders);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const std::array<bool, 2> wanted = {ctx->needs_input_grad(0), ctx->needs_input_grad(1)};
    const auto [embeddings, visual] = dispatch::splice_backward(
        grads[0], ctx->get_saved_variables()[0], ctx->saved_data["visual_rows"].toSymInt(), wanted);
    return {wanted[0] ? embeddings : Tensor(), wanted[1] ? visual : Tensor(), {}};
  }
};

}  // namespace

Tensor splice(const Tensor& embeddings, const Tensor& visual, const Tensor& placeholders) {
  return Splice::apply(embeddings, visual, placeholders);
}

}  // namespace weft::ops::autograd
