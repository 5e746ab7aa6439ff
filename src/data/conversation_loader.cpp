#include <algorithm>
#include <chrono>
#include <numeric>

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>

#include <weft/data/conversation_loader.hpp>
#include <weft/data/sample.hpp>
#include <weft/ops/linear_cross_entropy.hpp>

#include "core/fail.hpp"
#include "data/epoch_order.hpp"
#include "data/loader_checks.hpp"
#include "data/ordered_jobs.hpp"
#include "vision/image_rows.hpp"

namespace weft::data {
namespace {

constexpr int64_t kStepsPerBlock = 50;
constexpr int64_t kMeasuredAtOnce = 64;

using Rows = std::vector<std::vector<int64_t>>;  // conversations of each row

void check(const ConversationLoaderOptions& o) {
  check_loader(o);
  check_at_least("pack_length", o.pack_length, 0);
  if (o.preferences && o.pack_length > 0)
    fail(ErrorKind::usage, "pack_length: rows of preferences cannot be packed");
}

struct Plan {
  int64_t epoch = 0, index = 0;
  bool last = false;
  Rows rows = {};  // of this rank
};
struct Damage {
  int64_t conversation;
  BadCause cause;
  std::string message;
};
struct Made {
  ConversationBatch batch = {};
  int64_t cut = 0;
  std::vector<Damage> damage = {};
};

/// The tokens of a batch's rows while it is put together.
struct RowTokens {
  std::vector<int64_t> ids, targets, branches, segments;

  void add(const ConversationTokens& tokens, int64_t segment) {
    ids.insert(ids.end(), tokens.ids.begin(), tokens.ids.end());
    targets.insert(targets.end(), tokens.targets.begin(), tokens.targets.end());
    segments.resize(ids.size(), segment);
    if (tokens.branches.empty())
      branches.resize(ids.size(), 0);
    else
      branches.insert(branches.end(), tokens.branches.begin(), tokens.branches.end());
  }
};

at::Tensor padded(const std::vector<RowTokens>& rows, std::vector<int64_t> RowTokens::*member,
                  int64_t length, int64_t fill) {
  auto out = at::full({static_cast<int64_t>(rows.size()), length}, fill, at::kLong);
  for (size_t i = 0; i < rows.size(); ++i)
    std::ranges::copy(rows[i].*member, out.data_ptr<int64_t>() + static_cast<int64_t>(i) * length);
  return out;
}

bool any_other(const std::vector<RowTokens>& rows, std::vector<int64_t> RowTokens::*member) {
  return std::ranges::any_of(rows, [&](const RowTokens& row) {
    return std::ranges::any_of(row.*member, [](int64_t value) { return value != 0; });
  });
}

LmInput to_input(const std::vector<RowTokens>& rows, at::Tensor& targets) {
  size_t longest = 0;
  for (const auto& row : rows) longest = std::max(longest, row.ids.size());
  const auto T = static_cast<int64_t>(longest);
  targets = padded(rows, &RowTokens::targets, T, ops::kIgnoredLabel);
  LmInput out{.ids = padded(rows, &RowTokens::ids, T, 0)};
  out.mask = at::full(out.ids.sizes(), false, at::kBool);
  for (size_t i = 0; i < rows.size(); ++i)
    out.mask[static_cast<int64_t>(i)]
        .narrow(0, 0, static_cast<int64_t>(rows[i].ids.size()))
        .fill_(true);
  if (any_other(rows, &RowTokens::segments))
    out.segments = padded(rows, &RowTokens::segments, T, -1);
  if (any_other(rows, &RowTokens::branches))
    out.branches = padded(rows, &RowTokens::branches, T, 0);
  return out;
}

/// First fit of the conversations, in a random order, into rows of `room` tokens. Only the newest
/// rows are looked at, so that time stays linear.
Rows pack(const std::vector<int64_t>& lengths, int64_t room, int64_t seed) {
  constexpr size_t kOpen = 64;
  const auto order = permutation(static_cast<int64_t>(lengths.size()), seed, -1);
  Rows rows;
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

struct ConversationLoader::Impl {
  Impl(std::shared_ptr<const ConversationSource> s, std::shared_ptr<const ConversationEncoder> e,
       ReadVisual r, const ConversationLoaderOptions& o)
      : options((check(o), o)),
        source(std::move(s)),
        encoder(std::move(e)),
        read(std::move(r)),
        bad(o.rank == 0 ? source->bad() : BadData()),
        jobs(
            o.workers, o.prefetch, [this] { return draw(); },
            [this](const Plan& plan) { return make(plan); }) {
    check_fraction();
    if (o.group_by_length || o.pack_length > 0) measure();
    if (o.pack_length > 0) packed = pack(lengths, o.pack_length, o.seed);
    if (batches() == 0)
      fail("{} row(s) are fewer than one step of {} (batch size {} x {} rank(s))", rows(), step(),
           o.batch_size, o.world);
  }

  int64_t step() const { return options.batch_size * options.world; }
  int64_t rows() const {
    return options.pack_length > 0 ? static_cast<int64_t>(packed.size()) : source->size();
  }
  int64_t tail() const { return options.drop_last ? 0 : rows() % step() / options.world; }
  int64_t batches() const { return rows() / step() + (tail() > 0); }

  std::vector<int64_t> row(int64_t number) const {
    return options.pack_length > 0 ? packed[static_cast<size_t>(number)] : std::vector{number};
  }
  int64_t length(int64_t number) const {
    int64_t sum = 0;
    for (const auto one : row(number)) sum += lengths[static_cast<size_t>(one)];
    return sum;
  }

  /// The rows of an epoch in their order, all ranks'.
  std::vector<int64_t> order_of(int64_t epoch) const {
    std::vector<int64_t> out(static_cast<size_t>(rows()));
    std::iota(out.begin(), out.end(), 0);
    if (options.shuffle) {
      const auto order = permutation(rows(), options.seed, epoch);
      std::copy_n(order.data_ptr<int64_t>(), rows(), out.begin());
    }
    if (!options.group_by_length) return out;
    const auto steps = rows() / step();
    for (int64_t first = 0; first < steps; first += kStepsPerBlock) {
      const auto count = std::min(kStepsPerBlock, steps - first);
      const auto begin = out.begin() + first * step(), end = begin + count * step();
      std::stable_sort(begin, end, [&](int64_t a, int64_t b) { return length(a) > length(b); });
      const std::vector<int64_t> sorted(begin, end);
      const auto turn = permutation(count, options.seed + 1 + first, epoch);
      for (int64_t i = 0; i < count; ++i)
        std::copy_n(sorted.begin() + turn.data_ptr<int64_t>()[i] * step(), step(),
                    begin + i * step());
    }
    return out;
  }

  std::optional<Plan> draw() {
    if (options.epochs > 0 && epoch >= options.epochs) return std::nullopt;
    if (order_epoch != epoch) order = order_of(order_epoch = epoch);
    Plan plan{.epoch = epoch, .index = index, .last = index + 1 == batches()};
    const auto count = index < rows() / step() ? options.batch_size : tail();
    const auto begin = index * step() + count * options.rank;
    for (int64_t i = 0; i < count; ++i)
      plan.rows.push_back(row(order[static_cast<size_t>(begin + i)]));
    if (plan.last)
      ++epoch, index = 0;
    else
      ++index;
    return plan;
  }

  /// The tokens of a conversation and, in `visuals`, its images.
  std::vector<ConversationTokens> encode(int64_t number, int64_t of_epoch,
                                         std::vector<VisualInput>& visuals,
                                         Conversation& conversation) const {
    conversation = source->read(number, of_epoch);
    std::vector<VisualTokens> tokens;
    for (const auto image : conversation.images) {
      visuals.push_back(read(image));
      tokens.push_back({visuals.back().tokens, visuals.back().ids});
    }
    std::vector<ConversationTokens> out{encoder->encode(conversation, tokens)};
    if (options.preferences) out.push_back(encoder->encode_rejected(conversation, tokens));
    return out;
  }

  Made make(const Plan& plan) const {
    Made out{.batch = {.epoch = plan.epoch, .index = plan.index, .last = plan.last}};
    auto& batch = out.batch;
    std::vector<RowTokens> rows_of_batch;
    std::vector<at::Tensor> pixels;
    vision::ImageRows image_rows;
    const auto see = [&](const std::vector<VisualInput>& visuals) {
      for (const auto& visual : visuals) {
        image_rows.add(visual.row, visual.pixels.defined() ? visual.pixels.size(0) : 0);
        if (visual.pixels.defined()) pixels.push_back(visual.pixels);
      }
    };
    for (const auto& numbers : plan.rows) {
      RowTokens row;
      int64_t segment = 0;
      for (const auto number : numbers) {
        std::vector<VisualInput> visuals;
        Conversation conversation;
        try {
          const auto made = encode(number, plan.epoch, visuals, conversation);
          row.add(made[0], segment++);
          out.cut += made[0].cut;
          ++batch.samples;
          batch.conversations.push_back(number);
          batch.keys.push_back(conversation.id);
          for (size_t i = 0; i < made.size(); ++i) {
            see(visuals);
            batch.numbers.insert(batch.numbers.end(), conversation.images.begin(),
                                 conversation.images.end());
          }
          if (made.size() > 1) {
            rows_of_batch.push_back(std::move(row));
            row = {};
            row.add(made[1], 0);
          }
        } catch (const BadSample& error) {
          out.damage.push_back({number, error.cause(), error.what()});
        }
      }
      if (!row.ids.empty()) rows_of_batch.push_back(std::move(row));
    }
    if (rows_of_batch.empty()) return out;
    batch.text = to_input(rows_of_batch, batch.targets);
    if (!pixels.empty()) batch.images.data = at::cat(pixels);
    batch.images.images = image_rows.images();
    return out;
  }

  /// The length of every conversation in the first epoch; 0 = damaged, which is counted.
  void measure() {
    struct Measured {
      std::vector<int64_t> lengths = {};
      std::vector<Damage> damage = {};
    };
    int64_t at = 0;
    OrderedJobs<int64_t, Measured> work(
        options.workers, options.workers,
        [&]() -> std::optional<int64_t> {
          if (at >= source->size()) return std::nullopt;
          at += kMeasuredAtOnce;
          return at - kMeasuredAtOnce;
        },
        [&](int64_t first) {
          Measured out;
          for (auto i = first; i < std::min(first + kMeasuredAtOnce, source->size()); ++i) {
            std::vector<VisualInput> visuals;
            Conversation conversation;
            try {
              out.lengths.push_back(
                  static_cast<int64_t>(encode(i, 0, visuals, conversation)[0].ids.size()));
            } catch (const BadSample& error) {
              out.lengths.push_back(0);
              out.damage.push_back({i, error.cause(), error.what()});
            }
          }
          return out;
        });
    while (const auto done = work.next()) {
      lengths.insert(lengths.end(), done->second.lengths.begin(), done->second.lengths.end());
      count_damage(done->second.damage);
    }
  }

  void check_fraction() const {
    const auto damaged = bad.total(), all = source->size() + source->bad().total();
    if (static_cast<double>(damaged) <= options.max_bad_fraction * static_cast<double>(all)) return;
    fail(ErrorKind::bad_data,
         "{} of {} conversations are damaged ({:.1f} %), more than max_bad_fraction {}: {}. Repair "
         "the data or leave them out, or raise max_bad_fraction",
         damaged, all, 100.0 * static_cast<double>(damaged) / static_cast<double>(all),
         options.max_bad_fraction, bad.summary());
  }

  void count_damage(const std::vector<Damage>& damage) {
    for (const auto& [number, cause, message] : damage)
      bad.add(cause, source->file(number), source->offset(number), message);
    if (!damage.empty()) check_fraction();
  }

  std::optional<ConversationBatch> next() {
    const auto start = std::chrono::steady_clock::now();
    std::optional<ConversationBatch> out;
    while (auto done = jobs.next()) {
      auto& [plan, made] = *done;
      taken_epoch = plan.last ? plan.epoch + 1 : plan.epoch;
      taken_index = plan.last ? 0 : plan.index + 1;
      count_damage(made.damage);
      cut += made.cut;
      if (made.batch.text.ids.defined()) {
        out = std::move(made.batch);
        break;
      }
      if (options.world > 1)
        fail(ErrorKind::bad_data, "all conversations of rank {} in a step are damaged: {}",
             options.rank, bad.summary());
    }
    waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return out;
  }

  /// What a position is worth nothing without.
  Json identity() const {
    return Json::object({{"data", source->fingerprint()},
                         {"rows", rows()},
                         {"global_batch", step()},
                         {"seed", options.seed},
                         {"shuffle", options.shuffle},
                         {"drop_last", options.drop_last},
                         {"group_by_length", options.group_by_length},
                         {"pack_length", options.pack_length}});
  }

  Json state() const {
    return identity().set("epoch", taken_epoch).set("index", taken_index).set("bad", bad.state());
  }

  void restore(const Json& state) {
    const auto own = identity();
    for (const auto& key : own.keys())
      if (!(state.get(key) == own.at(key)))
        fail(
            "data position: was saved with {} = {}, but this run has {}. Resume with the same, or "
            "start anew",
            key, state.get(key).dump(), own.at(key).dump());
    epoch = taken_epoch = state.at("epoch").as_int();
    index = taken_index = state.at("index").as_int();
    bad.restore(state.at("bad"));
    jobs.clear();
  }

  ConversationLoaderOptions options;
  std::shared_ptr<const ConversationSource> source;
  std::shared_ptr<const ConversationEncoder> encoder;
  ReadVisual read;
  BadData bad;
  std::vector<int64_t> lengths;  // of conversations, where they were measured
  Rows packed;
  std::vector<int64_t> order;
  int64_t order_epoch = -1;
  int64_t epoch = 0, index = 0;  // of the next plan
  int64_t taken_epoch = 0, taken_index = 0;
  int64_t cut = 0;
  double waited = 0;
  OrderedJobs<Plan, Made> jobs;  // last: its threads read the others
};

ConversationLoader::ConversationLoader(std::shared_ptr<const ConversationSource> source,
                                       std::shared_ptr<const ConversationEncoder> encoder,
                                       ReadVisual read, const ConversationLoaderOptions& options)
    : impl_(std::make_unique<Impl>(std::move(source), std::move(encoder), std::move(read),
                                   options)) {}
ConversationLoader::~ConversationLoader() = default;

std::optional<ConversationBatch> ConversationLoader::next() { return impl_->next(); }

std::vector<ConversationTokens> ConversationLoader::peek(int64_t count) {
  std::vector<ConversationTokens> out;
  const auto order = impl_->order_of(0);
  for (size_t i = 0; i < order.size(); ++i)
    for (const auto one : impl_->row(order[i])) {
      if (static_cast<int64_t>(out.size()) >= count) return out;
      std::vector<VisualInput> visuals;
      Conversation conversation;
      try {
        for (auto& tokens : impl_->encode(one, 0, visuals, conversation))
          out.push_back(std::move(tokens));
      } catch (const BadSample&) {
        continue;  // next() counts it
      }
    }
  return out;
}

int64_t ConversationLoader::rows() const { return impl_->rows(); }
int64_t ConversationLoader::batches() const { return impl_->batches(); }
const BadData& ConversationLoader::bad() const { return impl_->bad; }
int64_t ConversationLoader::cut() const { return impl_->cut; }
double ConversationLoader::wait_seconds() const { return impl_->waited; }
Json ConversationLoader::state() const { return impl_->state(); }
void ConversationLoader::restore(const Json& state) { impl_->restore(state); }

}  // namespace weft::data
