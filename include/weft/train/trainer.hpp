#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <weft/checkpoint/snapshot.hpp>
#include <weft/core/export.hpp>
#include <weft/core/json.hpp>
#include <weft/core/options.hpp>
#include <weft/nn/precision.hpp>
#include <weft/report/run_log.hpp>
#include <weft/train/ema.hpp>
#include <weft/train/optimizer.hpp>
#include <weft/train/schedule.hpp>

namespace weft {
namespace train {

struct TrainerOptions {
  int64_t epochs = 1;
  int64_t total_steps = 0;
  int64_t max_steps = 0;
  double lr = 1e-3;
  double wd = 0.05;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  int64_t warmup = 0;
  Schedule lr_scheduler = Schedule::linear;
  double grad_clip_norm = 0;
  double ema_decay = 0;
  int64_t accum_freq = 1;
  nn::Precision precision = nn::Precision::fp32;
  int64_t seed = 0;
  int64_t save_every = 1000;
  int64_t keep = 2;
  int64_t max_bad_steps = 10;
  std::string resume = "";

  /// Passes that a loader is to make over the data; 0 = without end, as many as total_steps take.
  int64_t passes() const { return total_steps > 0 ? 0 : epochs; }

  template <class Self, class V>
  static void visit(Self& o, V&& v);
};

/// What Task::step() gives back.
struct StepResult {
  Tensor loss = {};              ///< [] with its graph, a mean over the batch; undefined where the
                                 ///< data has ended, which ends the run
  int64_t samples = 0;           ///< of this batch
  double epoch = 0;              ///< passes over the data after this batch
  bool epoch_end = false;        ///< this was the last batch of a pass
  double data_wait_seconds = 0;  ///< spent waiting for the batch
  /// More for the step's line: means over accum_freq batches, and sums over them.
  std::vector<std::pair<std::string, double>> extra = {}, counts = {};
};

/// What is trained and on which data; the Trainer does the rest. The train or eval mode of modules
/// is the task's affair.
class WEFT_API Task {
 public:
  virtual ~Task();
  /// Reads the next batch and computes the loss; under autocast where the precision is bf16.
  virtual StepResult step() = 0;
  /// After each step of the optimiser: clamp the logit scale, update averages.
  virtual void after_step() {}
  /// After the last batch of a pass, `epoch` = finished passes: evaluate.
  virtual void epoch_end(int64_t epoch);
  /// Batches of a pass, from which the schedule's length comes; 0 = unknown.
  virtual int64_t steps_per_epoch() const { return 0; }
  /// Where the data stands after the last step(), such that restore() goes on exactly there.
  virtual Json state() const;
  virtual void restore(const Json& state);
};

struct TrainSummary {
  int64_t steps = 0;    ///< finished, those before a resume too
  int64_t samples = 0;  ///< likewise
  int64_t skipped = 0;  ///< steps that were not taken because something was not finite
  double loss = 0;      ///< of the last step
  double seconds = 0;   ///< of this process
  int signal = 0;       ///< that ended the run early; 0 = none
  std::filesystem::path snapshot = {};  ///< the last that was written or resumed from

  /// What a program should end with: 0, or 128 + signal (143 for SIGTERM, 130 for SIGINT).
  int exit_status() const { return signal == 0 ? 0 : 128 + signal; }
};

/// Trains `module` on `task` with AdamW.
///
///     report::RunLog log("runs/x");
///     const auto summary = Trainer(*model, task, options, log).run();
///
/// Each step: accum_freq times Task::step() and backward of loss / accum_freq, clipping, AdamW at
/// the schedule's rate, a line in the log. A step whose loss or gradient norm is not finite is
/// skipped with a warning that names the first bad tensor; max_bad_steps of them in a row end the
/// run with Error (diverged).
///
/// Snapshots in <run folder>/checkpoints hold the trained parameters, all buffers, the optimiser,
/// the random generators and Task::state(): a resumed run continues bit for bit on the CPU. Frozen
/// parameters are not in them: the program loads them as it did the first time.
///
/// SIGTERM, SIGINT and SIGUSR1 end the run after the current step, with a snapshot; a second one
/// ends the process at once.
class WEFT_API Trainer {
 public:
  /// Throws c10::ValueError for options out of range.
  Trainer(torch::nn::Module& module, Task& task, const TrainerOptions& options, report::RunLog& log,
          const GroupRule& rule = default_rule);

  /// Error (usage) where the run folder holds snapshots and `resume` is empty.
  TrainSummary run();

  const AdamW& optimizer() const { return optimizer_; }
  /// The average of the trained parameters; null where ema_decay is 0. run() leaves the module with
  /// its last values: copy_to_parameters() gives it the averages.
  const Ema* average() const { return average_ ? &*average_ : nullptr; }
  /// Steps of the schedule: total_steps, or epochs of the task's length.
  int64_t total_steps() const { return total_; }

 private:
  struct Step;
  bool start();  // whether a snapshot was restored
  void restore(const checkpoint::Snapshot& snapshot);
  void save();
  bool step();  // false where the data has ended
  void accumulate(Step& step);
  void skip(const Step& step);

  NamedTensors saved_tensors() const;

  torch::nn::Module& module_;
  Task& task_;
  TrainerOptions options_;
  report::RunLog& log_;
  NamedTensors parameters_;
  AdamW optimizer_;
  std::optional<Ema> average_;
  checkpoint::Snapshots snapshots_;
  int64_t total_ = 0;
  int64_t bad_in_a_row_ = 0;
  int64_t saved_step_ = -1;
  TrainSummary summary_;
};

template <class Self, class V>
void TrainerOptions::visit(Self& o, V&& v) {
  v("epochs", o.epochs, "passes over the training data");
  v("total_steps", o.total_steps,
    "length of the schedule in steps, over as many passes as they take; 0 = that of the epochs");
  v("max_steps", o.max_steps, "stop after this many steps of the schedule; 0 = at its end");
  v("lr", o.lr, "peak learning rate");
  v("wd", o.wd, "weight decay of weights with two or more dimensions");
  v("beta1", o.beta1, "AdamW's first moment");
  v("beta2", o.beta2, "AdamW's second moment");
  v("eps", o.eps, "AdamW's epsilon");
  v("warmup", o.warmup, "steps of linear warm-up");
  v("lr_scheduler", o.lr_scheduler, "learning rate after the warm-up");
  v("grad_clip_norm", o.grad_clip_norm, "clip the gradients to this global norm; 0 = never");
  v("ema_decay", o.ema_decay,
    "train towards an average of the parameters with this decay a step; 0 = none");
  v("accum_freq", o.accum_freq, "batches whose gradients make one step");
  v("precision", o.precision, "bf16 is autocast; parameters and optimiser stay fp32");
  v("seed", o.seed, "of every random choice");
  v("save_every", o.save_every, "steps between checkpoints; 0 = only at the end");
  v("keep", o.keep, "checkpoints that are kept");
  v("max_bad_steps", o.max_bad_steps, "steps in a row that are not finite before the run stops");
  v("resume", o.resume, "'latest', or a checkpoint's folder");
}

}  // namespace train

}  // namespace weft
