#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/data/conversations.hpp>
#include <weft/io/image.hpp>

namespace weft::data {

/// What an image, or a kind of sample, takes of the length that a sample may have.
struct WEFT_API TokenBudget {
  std::string what = {};
  int64_t fewest = 0, most = 0;  ///< visual tokens of one

  /// "cat.jpg (640 x 480 pixels): 81 visual tokens, 4.0 % of --max-length 2048".
  std::string line(int64_t max_length) const;
};

/// Of an image that becomes `tokens`.
WEFT_API TokenBudget image_budget(const std::string& name, const io::Image& image, int64_t tokens);

/// Of each kind of sample, by its number of images. `tokens` tells those of image i and may throw
/// BadSample. At most `looked_at` samples are read, from all over the source.
WEFT_API std::vector<TokenBudget> sample_budgets(const ConversationSource& source,
                                                 const std::function<int64_t(int64_t)>& tokens,
                                                 int64_t looked_at = 256);

}  // namespace weft::data
