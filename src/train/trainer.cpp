#include <algorithm>
#include <chrono>
#include <cmath>

#include <ATen/core/grad_mode.h>

#include <weft/nn/autocast.hpp>
#include <weft/nn/random_state.hpp>
#include <weft/train/trainer.hpp>

#include "core/fail.hpp"
#include "train/stop_signals.hpp"

namespace weft::train {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

const TrainerOptions& checked(const TrainerOptions& o) {
  const auto not_negative = [](const char* name, auto value) {
    TORCH_CHECK_VALUE(value >= 0, "Trainer: ", name, " must not be negative, got ", value);
  };
  not_negative("epochs", o.epochs);
  not_negative("total_steps", o.total_steps);
  not_negative("max_steps", o.max_steps);
  not_negative("lr", o.lr);
  not_negative("warmup", o.warmup);
  not_negative("grad_clip_norm", o.grad_clip_norm);
  not_negative("ema_decay", o.ema_decay);
  not_negative("seed", o.seed);
  not_negative("save_every", o.save_every);
  TORCH_CHECK_VALUE(o.accum_freq >= 1, "Trainer: accum_freq must be at least 1, got ",
                    o.accum_freq);
  TORCH_CHECK_VALUE(o.max_bad_steps >= 1, "Trainer: max_bad_steps must be at least 1, got ",
                    o.max_bad_steps);
  return o;
}

/// Adds each value to that of its name.
void add_values(std::vector<std::pair<std::string, double>>& sums,
                const std::vector<std::pair<std::string, double>>& values) {
  for (const auto& [name, value] : values) {
    const auto known = std::ranges::find(sums, name, &std::pair<std::string, double>::first);
    if (known == sums.end())
      sums.emplace_back(name, value);
    else
      known->second += value;
  }
}

}  // namespace

Task::~Task() = default;
void Task::epoch_end(int64_t) {}
Json Task::state() const { return Json::object(); }
void Task::restore(const Json&) {}

struct Trainer::Step {
  Clock::time_point begin = Clock::now();
  double loss = 0, grad_norm = 0, data_wait_seconds = 0, epoch = 0;
  int64_t samples = 0, batches = 0, epoch_ends = 0;
  std::vector<std::pair<std::string, double>> extra, counts;  // sums over the batches
  std::string bad;                                            // what was not finite
};

Trainer::Trainer(torch::nn::Module& module, Task& task, const TrainerOptions& options,
                 report::RunLog& log, const GroupRule& rule)
    : module_(module),
      task_(task),
      options_(checked(options)),
      log_(log),
      parameters_(trainable_parameters(module)),
      optimizer_(parameters_,
                 {.beta1 = options.beta1,
                  .beta2 = options.beta2,
                  .eps = options.eps,
                  .weight_decay = options.wd},
                 rule),
      snapshots_(log.folder() / "checkpoints", options.keep,
                 [&log](const std::string& text) { log.warn(text); }) {
  TORCH_CHECK_VALUE(!parameters_.empty(), "Trainer: the module has no parameter to train");
  if (options_.ema_decay > 0) average_.emplace(parameters_, options_.ema_decay);
  total_ = options.total_steps > 0 ? options.total_steps
                                   : options.epochs * task.steps_per_epoch() / options.accum_freq;
  TORCH_CHECK_VALUE(total_ > 0,
                    "Trainer: total_steps must be given where the task does not know the length "
                    "of an epoch, got epochs ",
                    options.epochs, " of ", task.steps_per_epoch(), " batches");
}

TrainSummary Trainer::run() {
  at::AutoGradMode gradients(true);
  const auto begin = Clock::now();
  StopSignals signals;
  const bool resumed = start();
  log_.begin(summary_.steps, total_);
  if (resumed) log_.log(fmt::format("resumed from {}", summary_.snapshot.string()));
  const auto last = options_.max_steps > 0 ? std::min(options_.max_steps, total_) : total_;
  while (summary_.steps < last && signals.received() == 0 && step())
    if (options_.save_every > 0 && summary_.steps % options_.save_every == 0) save();
  if (summary_.steps > saved_step_) save();
  log_.end();
  summary_.signal = signals.received();
  summary_.seconds = seconds_since(begin);
  if (summary_.signal != 0)
    log_.log(fmt::format("stopped by signal {} after step {}; {} holds its state", summary_.signal,
                         summary_.steps, summary_.snapshot.string()));
  return summary_;
}

bool Trainer::start() {
  if (options_.resume.empty()) {
    if (const auto old = snapshots_.list(); !old.empty())
      fail(ErrorKind::usage,
           "{}: an earlier run has left {} here; resume it (--resume latest) or choose another "
           "folder",
           snapshots_.folder().string(), old.back().filename().string());
  } else if (options_.resume != "latest") {
    summary_.snapshot = options_.resume;
    restore(checkpoint::Snapshots::load(options_.resume));
    return true;
  } else if (const auto snapshot = snapshots_.load_latest()) {
    restore(*snapshot);
    return true;
  } else {
    log_.log(fmt::format("{}: no snapshot to resume from; starting at step 0",
                         snapshots_.folder().string()));
  }
  nn::seed_all(static_cast<uint64_t>(options_.seed));
  return false;
}

bool Trainer::step() {
  const auto lr =
      learning_rate(options_.lr_scheduler, summary_.steps, total_, options_.warmup, options_.lr);
  Step step;
  accumulate(step);
  if (step.batches == 0) return false;
  if (step.bad.empty()) {
    step.grad_norm = gradient_norm(parameters_).item<double>();
    if (!std::isfinite(step.grad_norm)) step.bad = first_bad_gradient(parameters_) + ".grad";
  } else {
    step.grad_norm = std::nan("");
  }
  if (step.bad.empty()) {
    bad_in_a_row_ = 0;
    if (options_.grad_clip_norm > 0)
      clip_gradients_(parameters_, step.grad_norm, options_.grad_clip_norm);
    optimizer_.step(lr);
    optimizer_.zero_grad();
    task_.after_step();
    if (average_) average_->update();
  } else {
    optimizer_.zero_grad();
    ++bad_in_a_row_;
    ++summary_.skipped;
  }
  ++summary_.steps;
  summary_.samples += step.samples;
  summary_.loss = step.loss;
  const auto seconds = std::max(seconds_since(step.begin), 1e-9);
  log_.step({.step = summary_.steps,
             .epoch = step.epoch,
             .samples = summary_.samples,
             .loss = step.loss,
             .lr = lr,
             .grad_norm = step.grad_norm,
             .samples_per_second = static_cast<double>(step.samples) / seconds,
             .data_wait = std::min(1.0, step.data_wait_seconds / seconds),
             .extra = std::move(step.extra)});
  if (!step.bad.empty()) skip(step);
  if (step.epoch_ends > 0) task_.epoch_end(std::llround(step.epoch));
  return true;
}

void Trainer::accumulate(Step& step) {
  const auto device = parameters_.front().second.device().type();
  for (int64_t i = 0; i < options_.accum_freq; ++i) {
    StepResult result;
    {
      const nn::PrecisionGuard precision(device, options_.precision);
      result = task_.step();
    }
    if (!result.loss.defined()) break;
    TORCH_CHECK_VALUE(result.loss.numel() == 1,
                      "Trainer: the task's loss must have one element, got ", result.loss.sizes());
    ++step.batches;
    step.samples += result.samples;
    step.epoch = result.epoch;
    step.epoch_ends += result.epoch_end;
    step.data_wait_seconds += result.data_wait_seconds;
    add_values(step.extra, result.extra);
    add_values(step.counts, result.counts);
    const auto loss = result.loss.item<double>();
    step.loss += loss;
    if (!std::isfinite(loss)) {
      step.bad = first_bad_tensor(saved_tensors());
      if (step.bad.empty()) step.bad = "loss";
    }
    if (!step.bad.empty()) continue;
    if (options_.accum_freq == 1)
      result.loss.backward();
    else
      (result.loss / options_.accum_freq).backward();
  }
  if (step.batches == 0) return;
  step.loss /= static_cast<double>(step.batches);
  for (auto& [name, value] : step.extra) value /= static_cast<double>(step.batches);
  step.extra.insert(step.extra.end(), step.counts.begin(), step.counts.end());
  // The data ended within the step: its gradient is still the mean of what there was.
  if (step.batches < options_.accum_freq && step.bad.empty()) {
    at::NoGradGuard no_grad;
    const auto scale = static_cast<double>(options_.accum_freq) / static_cast<double>(step.batches);
    for (const auto& [name, parameter] : parameters_)
      if (parameter.grad().defined()) parameter.mutable_grad().mul_(scale);
  }
}

void Trainer::skip(const Step& step) {
  log_.warn(fmt::format("step {} was skipped: the first tensor that is not finite is {} (loss {})",
                        summary_.steps, step.bad, step.loss));
  if (bad_in_a_row_ < options_.max_bad_steps) return;
  log_.end();
  fail(ErrorKind::diverged,
       "training diverged: no finite step in {} in a row, up to step {}; the first bad tensor of "
       "the last one is {}; {}; lower the learning rate, warm up longer or clip the gradients",
       bad_in_a_row_, summary_.steps, step.bad,
       summary_.snapshot.empty() ? "there is no snapshot"
                                 : "the last snapshot is " + summary_.snapshot.string());
}

}  // namespace weft::train
