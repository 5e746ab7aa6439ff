#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <span>
#include <thread>
#include <utility>

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <weft/data/image_text.hpp>
#include <weft/io/image.hpp>

#include "core/fail.hpp"
#include "data/cursor.hpp"
#include "data/loader_checks.hpp"

namespace weft::data {
namespace {

constexpr int64_t kRowsPerTurn = 4;

void check(const ImageTextLoaderOptions& o) {
  check_loader(o);
  check_at_least("max_bad_in_a_row", o.max_bad_in_a_row, 1);
}

/// One batch in work. Rows are handed out in order, a few at a time.
struct Job {
  struct Row {
    std::string key;
    std::vector<std::string> captions;
    int64_t label = -1;
    bool good = false;
    std::optional<BadCause> bad;  // of the sample that the row was meant for
    std::string message;
  };
  Cursor::Place place;          // of the global step's first sample
  bool last = false;            // step of its epoch
  std::vector<SampleRef> refs;  // of the global step
  int64_t begin = 0;            // this rank's first of them
  at::Tensor pixels;            // [rows, 3, S, S]
  uint8_t* data = nullptr;
  std::vector<Row> rows;
  int64_t handed_out = 0, done = 0;  // under the loader's mutex, as `error`
  std::exception_ptr error;

  int64_t size() const { return static_cast<int64_t>(rows.size()); }
};

}  // namespace

struct ImageTextLoader::Impl {
  Impl(const ImageTextLoaderOptions& o, ImageTransform t)
      : options((check(o), o)),
        transform(std::move(t)),
        equal_rows(o.equal_rows || o.world > 1),
        shards(o.shards, {.caption = o.needs_caption}, bad),
        cursor(shards, {o.shuffle, o.shuffle_buffer, o.seed, o.epochs}),
        step(o.batch_size * o.world),
        row_bytes(3 * o.transform.size * o.transform.size),
        bad_at_start(bad) {
    if (!transform)
      transform = [options = o.transform](const io::Image& image, uint64_t, uint8_t* chw) {
        vision::to_pixels_into(image, options, chw);
      };
    if (batches() == 0)
      fail("{}: holds {} samples, fewer than one step of {} (batch size {} x {} rank(s))", o.shards,
           shards.size(), step, o.batch_size, o.world);
    if (o.rank > 0) bad = {};
    check_fraction();
    for (int64_t i = 0; i < o.workers; ++i) threads.emplace_back([this] { work(); });
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    work_to_do.notify_all();
    for (auto& thread : threads) thread.join();
  }

  int64_t tail() const { return options.drop_last ? 0 : shards.size() % step / options.world; }
  int64_t batches() const { return shards.size() / step + (tail() > 0); }

  /// The next global step of the order, and this rank's part of it; null after the last epoch.
  std::shared_ptr<Job> plan() {
    if (cursor.finished()) return nullptr;
    auto job = std::make_shared<Job>();
    job->place = cursor.place();
    const auto index = job->place.position / step;
    job->last = index + 1 == batches();
    const auto full = index < shards.size() / step;
    const auto rows = full ? options.batch_size : tail();
    for (int64_t i = 0; i < rows * options.world; ++i) job->refs.push_back(*cursor.next());
    job->begin = rows * options.rank;
    job->rows.resize(static_cast<size_t>(rows));
    job->pixels =
        at::empty({rows, 3, options.transform.size, options.transform.size}, at::dtype(at::kByte));
    job->data = job->pixels.data_ptr<uint8_t>();
    if (job->last) cursor.move_to({job->place.epoch + 1, 0});
    return job;
  }

  /// Throws BadSample for damage; other errors are the program's.
  void load(SampleRef ref, int64_t epoch, Job::Row& row, uint8_t* chw) const {
    auto sample = shards.read(ref);
    auto texts = options.needs_caption ? captions(sample) : std::vector<std::string>{};
    if (options.needs_label) row.label = label(sample);
    const auto& bytes = image_bytes(sample);
    io::Image image;
    try {
      image = io::decode_image(std::as_bytes(std::span(bytes)),
                               fmt::format("{}: sample '{}'", sample.shard, sample.key));
    } catch (const Error& error) {
      throw BadSample(BadCause::decode_error, error.what());
    }
    const auto place = (static_cast<uint64_t>(ref.shard) << 32) | ref.sample;
    transform(
        image,
        mixed(mixed(static_cast<uint64_t>(options.seed), static_cast<uint64_t>(epoch)), place),
        chw);
    row.key = std::move(sample.key);
    row.captions = std::move(texts);
    row.good = true;
  }

  void fill(Job& job, int64_t i) const {
    auto& row = job.rows[static_cast<size_t>(i)];
    auto* chw = job.data + i * row_bytes;
    const auto slot = static_cast<size_t>(job.begin + i), slots = job.refs.size();
    for (size_t k = 0; k < (equal_rows ? slots : 1) && !row.good; ++k) {
      try {
        load(job.refs[(slot + k) % slots], job.place.epoch, row, chw);
      } catch (const BadSample& error) {
        if (k == 0) row.bad = error.cause(), row.message = error.what();
      }
    }
  }

  /// Fills up to kRowsPerTurn rows of the first job that has some left; false where none has.
  bool turn(std::unique_lock<std::mutex>& lock) {
    std::shared_ptr<Job> job;
    for (const auto& candidate : jobs) {
      if (candidate->handed_out == candidate->size()) continue;
      job = candidate;
      break;
    }
    if (!job) return false;
    const auto first = job->handed_out;
    const auto count = std::min(kRowsPerTurn, job->size() - first);
    job->handed_out += count;
    lock.unlock();
    std::exception_ptr error;
    try {
      for (auto i = first; i < first + count; ++i) fill(*job, i);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error && !job->error) job->error = error;
    job->done += count;
    if (job->done == job->size()) batch_done.notify_all();
    return true;
  }

  void work() {
    std::unique_lock lock(mutex);
    while (!stop)
      if (!turn(lock)) work_to_do.wait(lock);
  }

  /// The next finished job in the order, or null.
  std::shared_ptr<Job> take() {
    std::unique_lock lock(mutex);
    const auto ahead = static_cast<size_t>(threads.empty() ? 1 : options.prefetch + 1);
    while (jobs.size() < ahead) {
      auto job = plan();
      if (!job) break;
      jobs.push_back(std::move(job));
      work_to_do.notify_all();
    }
    if (jobs.empty()) return nullptr;
    const auto job = jobs.front();
    if (threads.empty()) {
      while (turn(lock)) {
      }
    }
    batch_done.wait(lock, [&] { return job->done == job->size(); });
    jobs.pop_front();
    return job;
  }

  void check_fraction() const {
    const auto decoded = bad.total() - (options.rank == 0 ? bad_at_start.total() : 0);
    const auto damaged = bad_at_start.total() + decoded * options.world;
    const auto all = shards.size() + bad_at_start.total();
    if (static_cast<double>(damaged) <= options.max_bad_fraction * static_cast<double>(all)) return;
    fail(ErrorKind::bad_data,
         "{}: {} of {} samples are damaged ({:.1f} %), more than max_bad_fraction {}: {}. Repair "
         "the shards or leave them out, or raise max_bad_fraction",
         options.shards, damaged, all,
         100.0 * static_cast<double>(damaged) / static_cast<double>(all), options.max_bad_fraction,
         options.rank == 0 || decoded ? bad.summary() : bad_at_start.summary());
  }

  void count_damage(const Job& job) {
    for (int64_t i = 0; i < job.size(); ++i) {
      const auto& row = job.rows[static_cast<size_t>(i)];
      if (!row.bad) {
        in_a_row = 0;
        continue;
      }
      const auto ref = job.refs[static_cast<size_t>(job.begin + i)];
      bad.add(*row.bad, shards.path(ref), shards.offset(ref), row.message);
      check_fraction();
      if (++in_a_row >= options.max_bad_in_a_row)
        fail(ErrorKind::bad_data, "{}: {} damaged samples in a row: {}", options.shards, in_a_row,
             bad.summary());
    }
  }

  /// Moves the good rows together; undefined pixels where there are none.
  ImageTextBatch collect(Job& job) {
    ImageTextBatch out{.pixels = {},
                       .keys = {},
                       .captions = {},
                       .labels = {},
                       .epoch = job.place.epoch,
                       .index = job.place.position / step,
                       .last = job.last};
    std::vector<int64_t> labels;
    int64_t kept = 0;
    for (int64_t i = 0; i < job.size(); ++i) {
      auto& row = job.rows[static_cast<size_t>(i)];
      if (!row.good) {
        if (equal_rows)
          fail(ErrorKind::bad_data, "{}: all {} samples of a step are damaged: {}", options.shards,
               job.refs.size(), bad.summary());
        continue;
      }
      if (kept < i)
        std::memcpy(job.data + kept * row_bytes, job.data + i * row_bytes,
                    static_cast<size_t>(row_bytes));
      out.keys.push_back(std::move(row.key));
      out.captions.push_back(std::move(row.captions));
      labels.push_back(row.label);
      ++kept;
    }
    if (kept > 0) out.pixels = job.pixels.narrow(0, 0, kept);
    if (options.needs_label) out.labels = at::tensor(labels, at::kLong);
    return out;
  }

  std::optional<ImageTextBatch> next() {
    const auto start = std::chrono::steady_clock::now();
    std::optional<ImageTextBatch> out;
    while (const auto job = take()) {
      taken = job->last ? Cursor::Place{job->place.epoch + 1, 0}
                        : Cursor::Place{job->place.epoch, job->place.position + step};
      if (job->error) std::rethrow_exception(job->error);
      count_damage(*job);
      out = collect(*job);
      if (out->pixels.defined()) break;
      out.reset();
    }
    waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return out;
  }

  Json state() const {
    return cursor.state(taken)
        .set("global_batch", step)
        .set("drop_last", options.drop_last)
        .set("in_a_row", in_a_row)
        .set("bad", bad.state());
  }

  void restore(const Json& state) {
    const auto own = this->state();
    for (const char* key : {"global_batch", "drop_last"}) {
      if (state.at(key) == own.at(key)) continue;
      fail(
          "data position: was saved with {} = {}, but this run has {} (the global batch is the "
          "batch size times the ranks). Resume with the same, or start anew",
          key, state.at(key).dump(), own.at(key).dump());
    }
    const std::lock_guard lock(mutex);
    taken = cursor.restore(state);
    jobs.clear();  // what is in work keeps its job alive and is then dropped
    in_a_row = state.at("in_a_row").as_int();
    bad.restore(state.at("bad"));
    if (options.rank == 0) bad.add(bad_at_start);
  }

  ImageTextLoaderOptions options;
  ImageTransform transform;
  bool equal_rows;
  BadData bad;
  ShardSet shards;
  Cursor cursor;
  int64_t step;       // samples of a global step
  int64_t row_bytes;  // of one image
  BadData bad_at_start;
  Cursor::Place taken;
  int64_t in_a_row = 0;
  double waited = 0;

  std::mutex mutex;
  std::condition_variable work_to_do, batch_done;
  std::deque<std::shared_ptr<Job>> jobs;  // in the order of the data
  bool stop = false;
  std::vector<std::thread> threads;
};

ImageTextLoader::ImageTextLoader(const ImageTextLoaderOptions& options, ImageTransform transform)
    : impl_(std::make_unique<Impl>(options, std::move(transform))) {}
ImageTextLoader::~ImageTextLoader() = default;

std::optional<ImageTextBatch> ImageTextLoader::next() { return impl_->next(); }
int64_t ImageTextLoader::size() const { return impl_->shards.size(); }
int64_t ImageTextLoader::batches() const { return impl_->batches(); }
const BadData& ImageTextLoader::bad() const { return impl_->bad; }
double ImageTextLoader::wait_seconds() const { return impl_->waited; }
Json ImageTextLoader::state() const { return impl_->state(); }
void ImageTextLoader::restore(const Json& state) { impl_->restore(state); }

}  // namespace weft::data
