#pragma once

#include <vector>

#include <weft/text/generation.hpp>

namespace weft::text {

/// A prompt that is continued token by token.
class Continuation {
 public:
  /// Runs the prompt; each of its rows then stands `copies` times, one below the other.
  Continuation(LanguageModel& model, const LmInput& prompt, int64_t max_new_tokens,
               int64_t copies = 1);
  /// [rows, V], of the prompt's last token.
  const at::Tensor& first_logits() const { return first_logits_; }
  /// A token for each row -> [rows, V].
  at::Tensor step(const std::vector<int64_t>& ids);
  /// Row i goes on from where rows[i] stood.
  void reorder(const std::vector<int64_t>& rows) {
    cache_.reorder(at::tensor(rows, at::kLong).to(device_));
  }

 private:
  LanguageModel& model_;
  LmInput input_;
  nn::KeyValueCache cache_;
  at::Tensor first_logits_, next_position_;
  at::Device device_ = at::kCPU;
};

/// `before`: the tokens in front of each row's first new one.
std::vector<Generated> beam_search(LanguageModel& model, const LmInput& prompt,
                                   const GenerateOptions& options,
                                   const std::vector<std::vector<int64_t>>& before);

}  // namespace weft::text
