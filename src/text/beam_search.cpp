#include "text/beam_search.hpp"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

namespace weft::text {
namespace {

constexpr float kNothing = -1e9F;  // of beams that do not exist; far below any sum of log chances

struct Beam {
  std::vector<int64_t> ids = {};
  float score = kNothing;
  bool finished = false;
  int64_t parent = 0;
};

void keep_best(std::vector<Beam>& beams, size_t count) {
  std::stable_sort(beams.begin(), beams.end(),
                   [](const Beam& a, const Beam& b) { return a.score > b.score; });
  beams.resize(count);
}

/// One row of the prompt.
struct Row {
  std::vector<Beam> running, done;
  bool improvable = true;  // a running beam may still beat a finished one
};

}  // namespace

std::vector<Generated> beam_search(LanguageModel& model, const LmInput& prompt,
                                   const GenerateOptions& o,
                                   const std::vector<std::vector<int64_t>>& before) {
  const auto K = static_cast<size_t>(o.num_beams);
  // Enough that K go on where all of the others end.
  const auto kept =
      o.num_beams * std::max<int64_t>(2, 1 + static_cast<int64_t>(o.end_tokens.size()));
  std::vector<Row> rows(before.size());
  for (auto& row : rows) {
    row.running.resize(K);
    row.running.front().score = 0;
    row.done.resize(K);
  }
  Continuation continuation(model, prompt, o.max_new_tokens, o.num_beams);
  auto logits = continuation.first_logits();
  for (int64_t length = 1;; ++length) {
    std::vector<std::vector<int64_t>> tokens;  // of every beam, for the repetition penalty
    for (size_t r = 0; r < rows.size(); ++r)
      for (const auto& beam : rows[r].running) {
        tokens.push_back(before[r]);
        tokens.back().insert(tokens.back().end(), beam.ids.begin(), beam.ids.end());
      }
    const auto log_chances = process_logits(logits.to(at::kFloat).log_softmax(1), o, tokens).cpu();
    const auto V = log_chances.size(1);
    const bool last = length == o.max_new_tokens;
    bool go_on = false, any_improvable = false;
    for (size_t r = 0; r < rows.size(); ++r) {
      auto& row = rows[r];
      std::vector<float> scores;
      for (const auto& beam : row.running) scores.push_back(beam.score);
      const auto sums = log_chances.narrow(0, static_cast<int64_t>(r * K), o.num_beams) +
                        at::tensor(scores).unsqueeze(1);
      const auto [values, places] = sums.flatten().topk(std::min(kept, o.num_beams * V));
      std::vector<Beam> next;
      const auto divisor = static_cast<float>(std::pow(length, o.length_penalty));
      for (int64_t i = 0; i < values.size(0); ++i) {
        const auto place = places[i].item<int64_t>();
        Beam beam{row.running[static_cast<size_t>(place / V)].ids, values[i].item<float>()};
        beam.parent = place / V;
        beam.ids.push_back(place % V);
        const bool ends = last || std::ranges::find(o.end_tokens, place % V) != o.end_tokens.end();
        if (!ends) {
          go_on = true;
          next.push_back(beam);
        } else if (row.improvable && static_cast<size_t>(i) < K) {
          beam.finished = true;
          beam.score /= divisor;
          row.done.push_back(beam);
        }
      }
      while (next.size() < K) next.push_back({row.running.front().ids, kNothing});
      keep_best(row.done, K);
      keep_best(next, K);
      row.running = std::move(next);
      const bool full = std::ranges::all_of(row.done, [](const Beam& b) { return b.finished; });
      const auto worst = full ? row.done.back().score : kNothing;
      row.improvable = row.improvable && row.running.front().score / divisor > worst;
      any_improvable |= row.improvable;
    }
    if (last || !go_on || !any_improvable) break;
    std::vector<int64_t> parents, ids;
    for (size_t r = 0; r < rows.size(); ++r)
      for (const auto& beam : rows[r].running) {
        parents.push_back(static_cast<int64_t>(r * K) + beam.parent);
        ids.push_back(beam.ids.empty() ? 0 : beam.ids.back());
      }
    continuation.reorder(parents);
    logits = continuation.step(ids);
  }
  std::vector<Generated> out;
  for (auto& row : rows) {
    auto& best = row.done.front().finished ? row.done.front() : row.running.front();
    const bool ended =
        !best.ids.empty() && std::ranges::find(o.end_tokens, best.ids.back()) != o.end_tokens.end();
    out.push_back({.ids = std::move(best.ids), .finished = ended});
  }
  return out;
}

}  // namespace weft::text
