#include <algorithm>
#include <atomic>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

#include <weft/tokenizers/tokenizer.hpp>

#include "core/fail.hpp"
#include "tokenizers/padding.hpp"

namespace weft::tokenizers {
namespace {

// Runs work(i) for every i below count; the first exception is thrown again.
void parallel_for(size_t count, int threads, const std::function<void(size_t)>& work) {
  if (threads < 1) fail(ErrorKind::usage, "threads: expected 1 or more, found {}", threads);
  constexpr size_t kGrain = 32;
  const auto workers = std::min<size_t>(threads, (count + kGrain - 1) / kGrain);
  if (workers <= 1) {
    for (size_t i = 0; i < count; ++i) work(i);
    return;
  }
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  const auto run = [&] {
    try {
      for (size_t begin; (begin = next.fetch_add(kGrain)) < count;) {
        for (auto i = begin; i < std::min(count, begin + kGrain); ++i) work(i);
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      next = count;
    }
  };
  {
    std::vector<std::jthread> pool;
    for (size_t i = 1; i < workers; ++i) pool.emplace_back(run);
    run();
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace

DecodeStream::~DecodeStream() = default;
Tokenizer::~Tokenizer() = default;

void Tokenizer::encode_ids(std::string_view text, const EncodeOptions& options,
                           std::vector<int64_t>& out) const {
  out = encode(text, options).ids;
}

std::vector<Encoding> Tokenizer::encode_batch(const std::vector<std::string>& texts,
                                              const EncodeOptions& options, int threads) const {
  std::vector<Encoding> out(texts.size());
  parallel_for(texts.size(), threads, [&](size_t i) { out[i] = encode(texts[i], options); });
  if (options.padding == Padding::longest) {
    size_t longest = 0;
    for (const auto& encoding : out) longest = std::max(longest, encoding.ids.size());
    for (auto& encoding : out)
      pad_encoding(encoding, static_cast<int64_t>(longest), *this, options.padding_side);
  }
  return out;
}

IdBatch Tokenizer::encode_ids_batch(const std::vector<std::string>& texts,
                                    const EncodeOptions& options, int threads) const {
  auto bare = options;
  bare.padding = Padding::none;
  std::vector<std::vector<int64_t>> rows(texts.size());
  parallel_for(texts.size(), threads, [&](size_t i) { encode_ids(texts[i], bare, rows[i]); });

  IdBatch out;
  out.rows = static_cast<int64_t>(rows.size());
  if (options.padding == Padding::max_length) out.columns = options.max_length;
  bool ragged = false;
  for (const auto& row : rows) {
    const auto size = static_cast<int64_t>(row.size());
    ragged |= size != static_cast<int64_t>(rows[0].size());
    out.columns = std::max(out.columns, size);
  }
  const auto cells = static_cast<size_t>(out.rows * out.columns);
  ragged |= !rows.empty() && out.columns != static_cast<int64_t>(rows[0].size());
  out.ids.assign(cells, ragged ? pad_id() : 0);
  out.mask.assign(cells, 0);
  for (int64_t r = 0; r < out.rows; ++r) {
    const auto& row = rows[r];
    const auto shift =
        options.padding_side == Side::left ? out.columns - static_cast<int64_t>(row.size()) : 0;
    const auto at = r * out.columns + shift;
    std::copy(row.begin(), row.end(), out.ids.begin() + at);
    std::fill_n(out.mask.begin() + at, row.size(), 1);
  }
  return out;
}

}  // namespace weft::tokenizers
