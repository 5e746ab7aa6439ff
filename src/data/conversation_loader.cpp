#include <algorithm>
#include <chrono>

#include <weft/data/conversation_loader.hpp>
#include <weft/data/sample.hpp>

#include "core/fail.hpp"
#include "data/conversation_batch.hpp"
#include "data/conversation_rows.hpp"
#include "data/loader_checks.hpp"
#include "data/ordered_jobs.hpp"

namespace weft::data {
namespace {

constexpr int64_t kMeasuredAtOnce = 64;

void check(const ConversationLoaderOptions& o, Turns turns) {
  check_loader(o);
  check_at_least("pack_length", o.pack_length, 0);
  check_at_least("image_tokens", o.image_tokens, 0);
  if (o.preferences && o.pack_length > 0)
    fail(ErrorKind::usage, "pack_length: rows of preferences cannot be packed");
  if (o.preferences && turns == Turns::shared)
    fail(ErrorKind::usage,
         "preferences: a row is one answer, but the turns 'shared' put those to several questions "
         "into one; take 'joint' or 'alone'");
}

struct Plan {
  int64_t epoch = 0, index = 0;
  bool last = false;
  std::vector<std::vector<int64_t>> rows = {};  // of this rank, the conversations of each
};
struct Damage {
  int64_t conversation;
  BadCause cause;
  std::string message;
};
struct Made {
  ConversationBatch batch = {};
  int64_t cut = 0, copied = 0;
  std::vector<Damage> damage = {};
};

}  // namespace

struct ConversationLoader::Impl {
  Impl(std::shared_ptr<const ConversationSource> s, std::shared_ptr<const ConversationEncoder> e,
       ReadVisual r, const ConversationLoaderOptions& o)
      : options((check(o, e->options().turns), o)),
        source(std::move(s)),
        encoder(std::move(e)),
        read(std::move(r)),
        bad(o.rank == 0 ? source->bad() : BadData()),
        rows(source->size(), o),
        jobs(
            o.workers, o.prefetch, [this] { return draw(); },
            [this](const Plan& plan) { return make(plan); }) {
    check_fraction();
    if (o.group_by_length || o.pack_length > 0) rows.measured(measure());
    if (rows.batches() == 0)
      fail("{} row(s) are fewer than one step of {} (batch size {} x {} rank(s))", rows.rows(),
           rows.step(), o.batch_size, o.world);
  }

  std::optional<Plan> draw() {
    if (options.epochs > 0 && epoch >= options.epochs) return std::nullopt;
    if (order_epoch != epoch) order = rows.order_of(order_epoch = epoch);
    Plan plan{.epoch = epoch, .index = index, .last = index + 1 == rows.batches()};
    const auto count = index < rows.rows() / rows.step() ? options.batch_size : rows.tail();
    const auto begin = index * rows.step() + count * options.rank;
    for (int64_t i = 0; i < count; ++i)
      plan.rows.push_back(rows.row(order[static_cast<size_t>(begin + i)]));
    if (plan.last)
      ++epoch, index = 0;
    else
      ++index;
    return plan;
  }

  /// The tokens of a conversation and, in `visuals`, its images; for its length alone these are not
  /// opened where all take as many tokens.
  std::vector<ConversationTokens> encode(int64_t number, int64_t of_epoch,
                                         std::vector<VisualInput>& visuals,
                                         Conversation& conversation, bool length = false) const {
    conversation = source->read(number, of_epoch);
    const auto known = options.image_tokens;
    std::vector<VisualTokens> tokens;
    for (const auto image : conversation.images) {
      if (!length || known == 0) visuals.push_back(read(image));
      tokens.push_back(length && known > 0
                           ? VisualTokens(known)
                           : VisualTokens(visuals.back().tokens, visuals.back().ids));
      if (known > 0 && tokens.back().count != known)
        fail("image '{}': takes {} visual tokens, but image_tokens says that all take {}",
             source->image_name(image), tokens.back().count, known);
    }
    std::vector<ConversationTokens> out{encoder->encode(conversation, tokens)};
    if (options.preferences) out.push_back(encoder->encode_rejected(conversation, tokens));
    return out;
  }

  Made make(const Plan& plan) const {
    Made out{.batch = {.epoch = plan.epoch, .index = plan.index, .last = plan.last}};
    auto& batch = out.batch;
    BatchBuilder builder(encoder->options().prefix_attention);
    for (const auto& numbers : plan.rows) {
      for (const auto number : numbers) {
        std::vector<VisualInput> visuals;
        Conversation conversation;
        try {
          const auto made = encode(number, plan.epoch, visuals, conversation);
          for (size_t i = 0; i < made.size(); ++i) {
            if (i > 0) builder.end_row();
            builder.add(made[i], visuals);
          }
          out.cut += made[0].cut;
          out.copied += made[0].copied;
          ++batch.samples;
          batch.conversations.push_back(number);
          batch.keys.push_back(conversation.id);
        } catch (const BadSample& error) {
          out.damage.push_back({number, error.cause(), error.what()});
        }
      }
      builder.end_row();
    }
    builder.finish(batch);
    return out;
  }

  /// The length of every conversation in the first epoch; 0 = damaged, which is counted.
  std::vector<int64_t> measure() {
    std::vector<int64_t> lengths;
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
                  static_cast<int64_t>(encode(i, 0, visuals, conversation, true)[0].ids.size()));
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
    return lengths;
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
    int64_t empty = 0;
    while (auto done = jobs.next()) {
      auto& [plan, made] = *done;
      taken_epoch = plan.last ? plan.epoch + 1 : plan.epoch;
      taken_index = plan.last ? 0 : plan.index + 1;
      count_damage(made.damage);
      cut += made.cut;
      copied += made.copied;
      if (made.batch.text.ids.defined()) {
        out = std::move(made.batch);
        break;
      }
      if (options.world > 1)
        fail(ErrorKind::bad_data, "all conversations of rank {} in a step are damaged: {}",
             options.rank, bad.summary());
      if (++empty == rows.batches())
        fail(ErrorKind::bad_data, "a whole pass gave no conversation: {}", bad.summary());
    }
    waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return out;
  }

  /// What a position is worth nothing without.
  Json identity() const {
    return Json::object({{"data", source->fingerprint()},
                         {"rows", rows.rows()},
                         {"lengths", rows.fingerprint()},
                         {"global_batch", rows.step()},
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
        fail("data position: was saved with {} = {}, but this run has {}. Resume with the same",
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
  ConversationRows rows;
  std::vector<int64_t> order;
  int64_t order_epoch = -1;
  int64_t epoch = 0, index = 0;  // of the next plan
  int64_t taken_epoch = 0, taken_index = 0;
  int64_t cut = 0, copied = 0;
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
  const auto order = impl_->rows.order_of(0);
  for (size_t i = 0; i < order.size(); ++i)
    for (const auto one : impl_->rows.row(order[i])) {
      if (static_cast<int64_t>(out.size()) >= count) return out;
      std::vector<VisualInput> visuals;
      Conversation conversation;
      try {
        for (auto& tokens : impl_->encode(one, 0, visuals, conversation))
          out.push_back(std::move(tokens));
      } catch (const BadSample& error) {
        impl_->count_damage({Damage{one, error.cause(), error.what()}});
      }
    }
  return out;
}

int64_t ConversationLoader::rows() const { return impl_->rows.rows(); }
int64_t ConversationLoader::batches() const { return impl_->rows.batches(); }
const BadData& ConversationLoader::bad() const { return impl_->bad; }
int64_t ConversationLoader::cut() const { return impl_->cut; }
int64_t ConversationLoader::copied() const { return impl_->copied; }
std::vector<std::string> ConversationLoader::warnings() const {
  std::vector<std::string> out;
  const auto add = [&](int64_t count, const char* what) {
    if (count > 0) out.push_back(fmt::format("{} conversations{}", count, what));
  };
  if (bad().total() > 0) out.push_back(bad().summary());
  add(cut(), " were longer than --max-length; what did not fit was left out");
  add(copied(), "' questions could not share their images and had a copy each");
  return out;
}
double ConversationLoader::wait_seconds() const { return impl_->waited; }
Json ConversationLoader::state() const { return impl_->state(); }
void ConversationLoader::restore(const Json& state) { impl_->restore(state); }

}  // namespace weft::data
