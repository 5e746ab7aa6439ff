#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/core/options.hpp>

namespace weft::nn {

/// How rotary frequencies are stretched to longer texts than those of the pre-training.
enum class RotaryScaling {
  none,
  linear,    ///< positions / factor (Chen et al., 2023)
  dynamic,   ///< theta grows with the length beyond max_tokens (NTK)
  yarn,      ///< Peng et al., 2023, section 3.2 and 3.3
  llama3,    ///< Llama 3.1: long wavelengths / factor, a smooth step between
  longrope,  ///< Ding et al., 2024: a factor for each frequency, for short and for long texts
};

struct RotaryOptions {
  int64_t dim =
      0;  ///< R, how many dimensions of a head are rotated; even; 0 = there is no rotation
  double theta = 10000.0;
  RotaryScaling scaling = RotaryScaling::none;
  double factor = 1.0;
  int64_t max_tokens = 0;           ///< dynamic: the length from which theta grows
  int64_t original_max_tokens = 0;  ///< yarn, llama3, longrope: the length of the pre-training
  double attention_factor = 0.0;    ///< on cosines and sines (yarn, longrope); 0 = by the paper
  double beta_fast = 32.0;          ///< yarn: rotations, above which a frequency stays
  double beta_slow = 1.0;           ///< yarn: rotations, below which it is divided by factor
  bool truncate = true;             ///< yarn: the bounds between go to whole dimensions
  double low_freq_factor = 1.0;     ///< llama3
  double high_freq_factor = 4.0;    ///< llama3
  std::vector<double> short_factor = {};  ///< longrope, R / 2 each
  std::vector<double> long_factor = {};

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("dim", o.dim);
    v("theta", o.theta);
    v("scaling", o.scaling);
    v("factor", o.factor);
    v("max_tokens", o.max_tokens);
    v("original_max_tokens", o.original_max_tokens);
    v("attention_factor", o.attention_factor);
    v("beta_fast", o.beta_fast);
    v("beta_slow", o.beta_slow);
    v("truncate", o.truncate);
    v("low_freq_factor", o.low_freq_factor);
    v("high_freq_factor", o.high_freq_factor);
    v("short_factor", o.short_factor);
    v("long_factor", o.long_factor);
  }
};

/// Cosines and sines by position, each [B or 1, T, R / 2]: the tables of ops::rope.
struct Rotation {
  at::Tensor cos = {}, sin = {};
  bool defined() const { return cos.defined(); }
};

/// The angles of rotary positions (Su et al., 2021): pair i of a head's dimensions turns by
/// position
/// * theta^(-2i / R), scaled as the options say.
class WEFT_API Rotary {
 public:
  Rotary() = default;
  /// Throws c10::ValueError for an odd or negative dim, a factor below 1, longrope without R / 2
  /// factors, or a scaling that lacks its length.
  explicit Rotary(const RotaryOptions& options);

  /// positions [B, T] int64. The angles are fp32 whatever the model's type. Where the frequencies
  /// depend on the length (dynamic, longrope) it is the largest position of the call + 1, which a
  /// GPU is waited for. Differs from Hugging Face: that keeps the frequencies of the longest text
  /// that it has seen (dynamic), and computes cached keys anew where a text grows past
  /// original_max_tokens (Phi-3's longrope).
  Rotation operator()(const at::Tensor& positions) const;

  /// The frequencies for a text of `length` tokens, [R / 2] fp32.
  at::Tensor frequencies(int64_t length) const;
  /// What cosines and sines are multiplied by.
  double attention_factor() const { return attention_factor_; }
  bool defined() const { return options_.dim > 0; }

 private:
  RotaryOptions options_;
  double attention_factor_ = 1.0;
  at::Tensor frequencies_;    // [R / 2]; of the lengths up to length_limit_
  int64_t length_limit_ = 0;  // 0 = of every length
};

}  // namespace weft::nn

template <>
inline constexpr std::string_view weft::enum_names<weft::nn::RotaryScaling>[] = {
    "none", "linear", "dynamic", "yarn", "llama3", "longrope"};
