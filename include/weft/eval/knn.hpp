#pragma once

#include <cstdint>
#include <string_view>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/core/options.hpp>

namespace weft::eval {

enum class KnnVote { weighted, majority };

struct KnnOptions {
  int64_t k = 20;                    ///< neighbours; cut to the training samples
  double temperature = 0.07;         ///< of the weighted vote
  KnnVote vote = KnnVote::weighted;  ///< majority: every neighbour counts 1

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("k", o.k, "neighbours of a k-NN");
    v("temperature", o.temperature, "of the k-NN's weights");
    v("vote", o.vote, "how the neighbours count");
  }
};

/// Votes of the k nearest training rows by cosine for each query, as DINO is evaluated (Caron et
/// al., 2021, section 4.1, after Wu et al., 2018, section 3.4): a neighbour of cosine s counts
/// exp(s / temperature) for its class. queries [Q, D]; train [N, D]; labels [N] int64 in
/// [0, classes). Returns [Q, classes] fp32, each row relative to its nearest neighbour, which
/// counts
/// 1. Memory beyond the inputs is some 100 MB. Which of equal cosines is the k-th is open. Throws
/// c10::ValueError on shapes, labels, options and values that are not finite.
WEFT_API at::Tensor knn_votes(const at::Tensor& queries, const at::Tensor& train,
                              const at::Tensor& labels, int64_t classes,
                              const KnnOptions& options = {});

}  // namespace weft::eval

template <>
inline constexpr std::string_view weft::enum_names<weft::eval::KnnVote>[] = {"weighted",
                                                                             "majority"};
