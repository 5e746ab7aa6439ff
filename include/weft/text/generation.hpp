#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/core/options.hpp>
#include <weft/nn/sockets.hpp>
#include <weft/tokenizers/tokenizer.hpp>

namespace weft::text {

/// Named after Hugging Face's GenerationConfig where the concept is the same.
struct GenerateOptions {
  int64_t max_new_tokens = 256;
  double temperature = 0.0;         ///< 0 = greedy: the likeliest token
  int64_t top_k = 0;                ///< draw among this many tokens; 0 = all
  double top_p = 1.0;               ///< among the fewest whose chances sum to it
  double min_p = 0.0;               ///< among those with this share of the likeliest one's chance
  double repetition_penalty = 1.0;  ///< above 1: earlier tokens, the prompt's too, get less likely
  int64_t num_beams = 1;            ///< above 1: beam search, without sampling
  double length_penalty = 1.0;      ///< of beams: scores are divided by length^length_penalty
  std::vector<int64_t> end_tokens = {};  ///< each ends a text
  std::vector<std::string> stop = {};    ///< texts that end one; they need a tokenizer
  uint64_t seed = 0;                     ///< of the draws

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("max_new_tokens", o.max_new_tokens);
    v("temperature", o.temperature, "0 = the likeliest token");
    v("top_k", o.top_k, "draw among this many tokens; 0 = all");
    v("top_p", o.top_p, "draw among the fewest tokens whose chances sum to this");
    v("min_p", o.min_p, "draw among tokens with this share of the likeliest one's chance");
    v("repetition_penalty", o.repetition_penalty, "above 1: earlier tokens get less likely");
    v("num_beams", o.num_beams, "above 1: beam search");
    v("length_penalty", o.length_penalty, "of beams: scores / length^this");
    v("end_tokens", o.end_tokens, "ids that end a text");
    v("stop", o.stop, "texts that end one");
    v("seed", o.seed, "of the draws");
  }
};

struct Generated {
  std::vector<int64_t> ids = {};  ///< new tokens; an end token is the last of them
  std::string text = "";          ///< of these, up to a stop text; where a tokenizer was given
  bool finished = false;          ///< by an end token or a stop text, not by max_new_tokens
};

/// Called with each new token of row `row`; false ends the row.
using OnToken = std::function<bool(int64_t row, int64_t id)>;

/// Continues each row of `prompt`: ids or embeddings [B, T(, D)], padded on the left where the mask
/// says so; the cache and logits members are not looked at. Gradients are off meanwhile. The rows
/// run as one batch until all have ended. A tokenizer is needed for options.stop. Beams call no
/// on_token and know no stop texts. Equals Hugging Face's generate(): logits processors in its
/// order (repetition penalty, temperature, top-k, top-p, min-p), beams with early_stopping = False.
/// A model whose positions end (LmInfo::max_tokens) stops there, and its rows are not finished.
/// Throws c10::ValueError for options out of range and a prompt that leaves no room.
WEFT_API std::vector<Generated> generate(LanguageModel& model, const LmInput& prompt,
                                         const GenerateOptions& options,
                                         const tokenizers::Tokenizer* tokenizer = nullptr,
                                         const OnToken& on_token = {});

/// logits [B, V] as the options change them before a token is drawn: fp32, -inf where a token is
/// left out. before[b]: the tokens in front of the next one of row b, for the repetition penalty.
WEFT_API at::Tensor process_logits(const at::Tensor& logits, const GenerateOptions& options,
                                   const std::vector<std::vector<int64_t>>& before);

}  // namespace weft::text
