#pragma once

#include <cstdint>

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/relu.h>

#include <weft/core/options.hpp>
#include <weft/nn/sockets.hpp>
#include <weft/ops/linear_cross_entropy.hpp>

namespace weft::losses {

/// With h = log pi(chosen) / ref(chosen) - log pi(rejected) / ref(rejected):
enum class PreferenceKind {
  sigmoid,  ///< -log sigmoid(beta h): DPO (Rafailov et al., 2023, equation 7)
  ipo,      ///< (h - 1 / (2 beta))^2: IPO (Azar et al., 2023, equation 17)
  hinge,  ///< max(0, 1 - beta h): SLiC (Zhao et al., 2023), normalised as in RSO (Liu et al., 2023)
};

struct PreferenceOptions {
  double beta = 0.1;  ///< how closely the policy is held to the reference
  /// Chance e that a pair is labelled the wrong way round, sigmoid only (Mitchell, 2023, cDPO):
  /// -(1 - e) log sigmoid(beta h) - e log sigmoid(-beta h).
  double label_smoothing = 0.0;
  PreferenceKind kind = PreferenceKind::sigmoid;
  bool reference_free = false;  ///< the reference holds all answers equally likely

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("beta", o.beta, "how closely the policy is held to the reference");
    v("label_smoothing", o.label_smoothing, "chance that a pair is labelled the wrong way round");
    v("kind", o.kind);
    v("reference_free", o.reference_free, "the reference holds all answers equally likely");
  }
};

/// Log-probabilities of pairs of answers, each [B], summed over an answer's tokens.
struct PreferenceInput {
  Tensor chosen, rejected;                                ///< under the policy
  Tensor reference_chosen = {}, reference_rejected = {};  ///< not with reference_free
};

/// Rewards are beta log pi / ref (the paper's section 4, without its partition function), detached.
struct PreferenceOutput {
  Tensor loss = {};                                   ///< [], mean over pairs
  Tensor chosen_rewards = {}, rejected_rewards = {};  ///< [B]
  Tensor margin = {};                                 ///< [], mean of chosen less rejected rewards
  Tensor accuracy = {};  ///< [], share of the pairs whose chosen reward is higher
};

/// Loss of a policy that is to prefer the chosen answers. In fp32 (fp64 for fp64 inputs). Throws
/// c10::ValueError for shapes that differ, a reference that is missing or too much, a beta that is
/// not positive, or a label_smoothing outside of [0, 0.5) or with another kind than sigmoid.
inline PreferenceOutput preference_loss(const PreferenceInput& input,
                                        const PreferenceOptions& options = {}) {
  const auto& o = options;
  TORCH_CHECK_VALUE(o.beta > 0, "preference_loss: beta must be positive, got ", o.beta);
  TORCH_CHECK_VALUE(o.label_smoothing >= 0 && o.label_smoothing < 0.5 &&
                        (o.label_smoothing == 0 || o.kind == PreferenceKind::sigmoid),
                    "preference_loss: label_smoothing must be in [0, 0.5), and 0 for other kinds "
                    "than sigmoid, got ",
                    o.label_smoothing);
  const auto check = [&](const Tensor& t, const char* name) {
    TORCH_CHECK_VALUE(t.defined() && t.dim() == 1 && t.size(0) > 0 &&
                          t.sizes() == input.chosen.sizes() && t.is_floating_point(),
                      "preference_loss: ", name, " must be [B] floats as the others, got ",
                      t.defined() ? c10::str(t.sizes(), " ", t.scalar_type()) : "none");
  };
  check(input.chosen, "chosen");
  check(input.rejected, "rejected");
  if (o.reference_free) {
    TORCH_CHECK_VALUE(!input.reference_chosen.defined() && !input.reference_rejected.defined(),
                      "preference_loss: reference_free goes without a reference");
  } else {
    check(input.reference_chosen, "reference_chosen");
    check(input.reference_rejected, "reference_rejected");
  }
  const auto ratio = [&](const Tensor& policy, const Tensor& reference) {
    const auto wide = [](const Tensor& t) {
      return t.scalar_type() == at::kDouble ? t : t.to(at::kFloat);
    };
    return o.reference_free ? wide(policy) : wide(policy) - wide(reference);
  };
  const auto chosen = ratio(input.chosen, input.reference_chosen);
  const auto rejected = ratio(input.rejected, input.reference_rejected);
  const auto h = chosen - rejected;  // [B]
  Tensor losses;                     // [B]
  switch (o.kind) {
    case PreferenceKind::sigmoid:
      losses = at::log_sigmoid(h * o.beta) * (o.label_smoothing - 1);
      if (o.label_smoothing > 0) losses = losses - at::log_sigmoid(h * -o.beta) * o.label_smoothing;
      break;
    case PreferenceKind::ipo:
      losses = (h - 1 / (2 * o.beta)).square();
      break;
    case PreferenceKind::hinge:
      losses = at::relu(1 - h * o.beta);
      break;
  }
  PreferenceOutput out{.loss = losses.mean()};
  out.chosen_rewards = chosen.detach() * o.beta;
  out.rejected_rewards = rejected.detach() * o.beta;
  const auto margins = out.chosen_rewards - out.rejected_rewards;
  out.margin = margins.mean();
  out.accuracy = margins.gt(0).to(margins.scalar_type()).mean();
  return out;
}

/// Log-probability of each row's labelled tokens, summed, without the matrix of logits.
/// hidden [B, T, E] as LmOutput::hidden; labels [B, T] int64 are the tokens themselves, those in
/// front of and behind the answer -100: token t is told from hidden t - 1, so that the first label
/// is not looked at. Returns [B] in fp32 (fp64 for fp64 hidden). Throws c10::ValueError for a row
/// without a labelled token, whose log-probability would be 0 whatever the model.
inline Tensor sequence_log_probs(const Tensor& hidden, const LmHead& head, const Tensor& labels) {
  TORCH_CHECK_VALUE(hidden.dim() == 3 && labels.dim() == 2 && labels.scalar_type() == at::kLong &&
                        labels.size(0) == hidden.size(0) && labels.size(1) == hidden.size(1) &&
                        labels.size(1) > 1,
                    "sequence_log_probs: hidden must be [B, T, E] and labels [B, T] int64, T above "
                    "1, got ",
                    hidden.sizes(), " and ", labels.sizes(), " ", labels.scalar_type());
  const auto T = labels.size(1);
  const auto next = labels.narrow(1, 1, T - 1);  // [B, T - 1]
  TORCH_CHECK_VALUE(next.ne(ops::kIgnoredLabel).any(1).all().item<bool>(),
                    "sequence_log_probs: a row has no labelled token behind its first");
  ops::LinearCrossEntropyOptions options{.softcap = head.soft_cap,
                                         .reduction = ops::LossReduction::none};
  if (head.bias.defined()) options.bias = head.bias;
  return -ops::linear_cross_entropy(hidden.narrow(1, 0, T - 1), head.weight, next, options).sum(1);
}

}  // namespace weft::losses

template <>
inline constexpr std::string_view weft::enum_names<weft::losses::PreferenceKind>[] = {
    "sigmoid", "ipo", "hinge"};
