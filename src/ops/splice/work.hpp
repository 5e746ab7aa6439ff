#pragma once

#include <ATen/Functions.h>

#include "ops/huge_pages.hpp"
#include "ops/splice/backends.hpp"
#include "ops/splice/kernels.hpp"

namespace weft::ops {

inline const uint8_t* splice_bytes(const Tensor& t) {
  return static_cast<const uint8_t*>(t.const_data_ptr());
}

inline kernels::SpliceWork splice_work(const Tensor& rows, const Tensor& mask,
                                       int64_t visual_rows) {
  kernels::SpliceWork work;
  work.placeholder = splice_bytes(mask);
  work.rows = rows.size(0);
  work.visual_rows = visual_rows;
  work.row_bytes = rows.size(1) * static_cast<int64_t>(rows.element_size());
  return work;
}

/// splice() by move(work), which moves the rows.
template <class Move>
Tensor splice_by(const Move& move, const Tensor& embeddings_in, const Tensor& visual_in,
                 const Tensor& mask) {
  const auto embeddings = embeddings_in.contiguous(), visual = visual_in.contiguous();
  auto out = with_huge_pages(at::empty(embeddings.sizes(), embeddings.options()));
  auto work = splice_work(embeddings, mask, visual.size(0));
  work.embeddings = splice_bytes(embeddings);
  work.visual = splice_bytes(visual);
  work.out = static_cast<uint8_t*>(out.mutable_data_ptr());
  move(work);
  return out;
}

/// splice_backward() by move(work).
template <class Move>
std::tuple<Tensor, Tensor> splice_backward_by(const Move& move, const Tensor& grad_in,
                                              const Tensor& mask, int64_t visual_rows,
                                              std::array<bool, 2> wanted) {
  const auto grad = grad_in.contiguous();
  auto work = splice_work(grad, mask, visual_rows);
  work.grad = splice_bytes(grad);
  const auto target = [&](bool is_wanted, int64_t rows, uint8_t*& bytes) {
    if (!is_wanted) return at::empty({0}, grad.options());
    auto out = with_huge_pages(at::empty({rows, grad.size(1)}, grad.options()));
    bytes = static_cast<uint8_t*>(out.mutable_data_ptr());
    return out;
  };
  const auto embeddings = target(wanted[0], work.rows, work.embeddings_grad);
  const auto visual = target(wanted[1], visual_rows, work.visual_grad);
  move(work);
  return {embeddings, visual};
}

}  // namespace weft::ops
