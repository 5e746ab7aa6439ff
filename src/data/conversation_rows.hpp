#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <weft/data/conversation_loader.hpp>

namespace weft::data {

/// Which conversations stand in which row, and which rows in which step.
class ConversationRows {
 public:
  /// Of `conversations`, one a row until they are measured.
  ConversationRows(int64_t conversations, const ConversationLoaderOptions& options)
      : options_(options), conversations_(conversations) {}

  /// The length of every conversation, 0 = damaged: packs them, and is what rows are grouped by.
  void measured(std::vector<int64_t> lengths);

  int64_t step() const { return options_.batch_size * options_.world; }  // rows, of all ranks
  int64_t rows() const;
  /// Rows of a rank in the incomplete step at the end.
  int64_t tail() const { return options_.drop_last ? 0 : rows() % step() / options_.world; }
  int64_t batches() const { return rows() / step() + (tail() > 0); }

  /// The conversations of a row.
  std::vector<int64_t> row(int64_t number) const;
  /// The rows of an epoch in their order.
  std::vector<int64_t> order_of(int64_t epoch) const;
  /// Changes with the lengths that rows and order come from; "" where these come from none.
  std::string fingerprint() const;

 private:
  int64_t length(int64_t number) const;

  ConversationLoaderOptions options_;
  int64_t conversations_;
  std::vector<int64_t> lengths_;
  std::vector<std::vector<int64_t>> packed_;
};

}  // namespace weft::data
