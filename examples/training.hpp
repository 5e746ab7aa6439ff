// What the programs that train have in common.
#pragma once

#include <filesystem>
#include <string>

#include <torch/nn/module.h>

#include <weft/checkpoint/snapshot.hpp>
#include <weft/core/error.hpp>
#include <weft/core/json.hpp>
#include <weft/nn/transformer_stack.hpp>
#include <weft/report/stages.hpp>
#include <weft/train/trainer.hpp>
#include <weft/vision/vision_transformer.hpp>

/// A run folder takes one run.
inline void refuse_old_run(const std::string& out, const weft::train::TrainerOptions& options) {
  if (options.resume.empty() &&
      !weft::checkpoint::Snapshots(std::filesystem::path(out) / "checkpoints").list().empty())
    throw weft::Error(
        out + ": holds a run already; go on with --resume latest, or name another --out",
        weft::ErrorKind::usage);
}

/// --patch-dropout on an image encoder, 0 = none.
inline void set_patch_dropout(weft::Encoder& encoder, double share) {
  if (share == 0) return;
  if (!(share > 0 && share < 1))
    throw weft::Error("--patch-dropout: expected a share of 0 or more and below 1, found " +
                          std::to_string(share),
                      weft::ErrorKind::usage);
  auto* image = dynamic_cast<weft::vision::VisionTransformerImpl*>(&encoder);
  if (image == nullptr)
    throw weft::Error("--patch-dropout: the image tower has no patches", weft::ErrorKind::usage);
  image->options.patch_dropout = share;
}

/// --grad-checkpointing on a tower that trains.
inline void checkpoint_tower(weft::Encoder& encoder) {
  if (weft::nn::checkpoint_activations(encoder) == 0)
    throw weft::Error("--grad-checkpointing: " + encoder.info().family +
                          " has no transformer blocks; leave the flag out, or lock the tower",
                      weft::ErrorKind::usage);
}

/// --dry-run: what a run would do, after one batch through the whole model; writes nothing.
inline weft::Json dry_run(torch::nn::Module& model, weft::train::Task& task, int64_t samples,
                          const weft::train::TrainerOptions& options) {
  weft::report::Stages stages;
  const auto step = task.step();
  step.loss.backward();
  stages.lap("first_step");
  int64_t trained = 0, all = 0;
  for (const auto& parameter : model.parameters()) {
    all += parameter.numel();
    if (parameter.requires_grad()) trained += parameter.numel();
  }
  return weft::Json::object(
      {{"samples", samples},
       {"batch", step.samples},
       {"steps", options.total_steps > 0
                     ? options.total_steps
                     : task.steps_per_epoch() * options.epochs / options.accum_freq},
       {"loss", step.loss.item<double>()},
       {"parameters", all},
       {"trained_parameters", trained},
       {"seconds", stages.json()}});
}
