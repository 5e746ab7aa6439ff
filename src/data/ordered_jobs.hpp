#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace weft::data {

/// Results of a sequence of jobs, in its order, made ahead by worker threads. Plans are drawn on
/// the thread that calls next(), one at a time; results do not depend on the number of workers.
template <class Plan, class Result>
class OrderedJobs {
 public:
  /// `draw` gives the next plan, nothing at the end; `make` runs on the workers, or with workers =
  /// 0 all in next(). `ahead`: jobs in work beside the one that is taken.
  OrderedJobs(int64_t workers, int64_t ahead, std::function<std::optional<Plan>()> draw,
              std::function<Result(const Plan&)> make)
      : draw_(std::move(draw)), make_(std::move(make)), ahead_(workers == 0 ? 1 : ahead + 1) {
    for (int64_t i = 0; i < workers; ++i) threads_.emplace_back([this] { work(); });
  }
  ~OrderedJobs() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    to_do_.notify_all();
    for (auto& thread : threads_) thread.join();
  }
  OrderedJobs(const OrderedJobs&) = delete;
  OrderedJobs& operator=(const OrderedJobs&) = delete;

  /// The next plan with its result; nothing after the last. Rethrows what `make` threw.
  std::optional<std::pair<Plan, Result>> next() {
    std::unique_lock lock(mutex_);
    while (static_cast<int64_t>(jobs_.size()) < ahead_) {
      auto plan = draw_();
      if (!plan) break;
      jobs_.push_back(std::make_shared<Job>(Job{.plan = std::move(*plan)}));
      to_do_.notify_one();
    }
    if (jobs_.empty()) return std::nullopt;
    const auto job = jobs_.front();
    jobs_.pop_front();
    if (!job->taken) {  // nobody has begun: rather here than later
      job->taken = true;
      lock.unlock();
      run(*job);
      lock.lock();
      job->done = true;
    }
    done_.wait(lock, [&] { return job->done; });
    if (job->error) std::rethrow_exception(job->error);
    return std::pair{std::move(job->plan), std::move(*job->result)};
  }

  /// Forgets what is in work: the next plan is drawn anew.
  void clear() {
    const std::lock_guard lock(mutex_);
    jobs_.clear();
  }

 private:
  struct Job {
    Plan plan;
    std::optional<Result> result = {};
    std::exception_ptr error = {};
    bool taken = false, done = false;
  };

  void run(Job& job) {
    try {
      job.result.emplace(make_(job.plan));
    } catch (...) {
      job.error = std::current_exception();
    }
  }

  void work() {
    std::unique_lock lock(mutex_);
    while (!stop_) {
      std::shared_ptr<Job> job;
      for (const auto& candidate : jobs_)
        if (!candidate->taken) {
          job = candidate;
          break;
        }
      if (!job) {
        to_do_.wait(lock);
        continue;
      }
      job->taken = true;
      lock.unlock();
      run(*job);
      lock.lock();
      job->done = true;
      done_.notify_all();
    }
  }

  std::function<std::optional<Plan>()> draw_;
  std::function<Result(const Plan&)> make_;
  int64_t ahead_;
  std::mutex mutex_;
  std::condition_variable to_do_, done_;
  std::deque<std::shared_ptr<Job>> jobs_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace weft::data
