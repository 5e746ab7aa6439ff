#include "data/conversation_rows.hpp"

#include <algorithm>
#include <numeric>
#include <span>

#include <weft/io/digest.hpp>

#include "data/epoch_order.hpp"

namespace weft::data {
namespace {

constexpr int64_t kStepsPerBlock = 50;

/// First fit of the conversations, in a random order, into rows of `room` tokens. Only the newest
/// rows are looked at, so that time stays linear.
std::vector<std::vector<int64_t>> pack(const std::vector<int64_t>& lengths, int64_t room,
                                       int64_t seed) {
  constexpr size_t kOpen = 64;
  const auto order = permutation(static_cast<int64_t>(lengths.size()), seed, -1);
  std::vector<std::vector<int64_t>> rows;
  std::vector<int64_t> left;
  for (int64_t k = 0; k < order.numel(); ++k) {
    const auto one = order.data_ptr<int64_t>()[k];
    const auto length = lengths[static_cast<size_t>(one)];
    if (length == 0) continue;  // damaged
    size_t row = rows.size() > kOpen ? rows.size() - kOpen : 0;
    while (row < rows.size() && left[row] < length) ++row;
    if (row == rows.size()) {
      rows.emplace_back();
      left.push_back(std::max(room, length));
    }
    rows[row].push_back(one);
    left[row] -= length;
  }
  return rows;
}

}  // namespace

void ConversationRows::measured(std::vector<int64_t> lengths) {
  lengths_ = std::move(lengths);
  if (options_.pack_length > 0) packed_ = pack(lengths_, options_.pack_length, options_.seed);
}

std::string ConversationRows::fingerprint() const {
  return lengths_.empty() ? std::string() : io::xxh3_128(std::as_bytes(std::span(lengths_)));
}

int64_t ConversationRows::rows() const {
  return options_.pack_length > 0 ? static_cast<int64_t>(packed_.size()) : conversations_;
}

std::vector<int64_t> ConversationRows::row(int64_t number) const {
  return options_.pack_length > 0 ? packed_[static_cast<size_t>(number)] : std::vector{number};
}

int64_t ConversationRows::length(int64_t number) const {
  int64_t sum = 0;
  for (const auto one : row(number)) sum += lengths_[static_cast<size_t>(one)];
  return sum;
}

std::vector<int64_t> ConversationRows::order_of(int64_t epoch) const {
  std::vector<int64_t> out(static_cast<size_t>(rows()));
  std::iota(out.begin(), out.end(), 0);
  if (options_.shuffle) {
    const auto order = permutation(rows(), options_.seed, epoch);
    std::copy_n(order.data_ptr<int64_t>(), rows(), out.begin());
  }
  if (!options_.group_by_length) return out;
  std::vector<int64_t> lengths;  // of the rows
  for (int64_t i = 0; i < rows(); ++i) lengths.push_back(length(i));
  const auto longer = [&](int64_t a, int64_t b) {
    return lengths[static_cast<size_t>(a)] > lengths[static_cast<size_t>(b)];
  };
  const auto steps = rows() / step();
  for (int64_t first = 0; first < steps; first += kStepsPerBlock) {
    const auto count = std::min(kStepsPerBlock, steps - first);
    const auto begin = out.begin() + first * step(), end = begin + count * step();
    std::stable_sort(begin, end, longer);
    const std::vector<int64_t> sorted(begin, end);
    const auto turn = permutation(count, options_.seed + 1 + first, epoch);
    for (int64_t i = 0; i < count; ++i)
      std::copy_n(sorted.begin() + turn.data_ptr<int64_t>()[i] * step(), step(),
                  begin + i * step());
  }
  return out;
}

}  // namespace weft::data
