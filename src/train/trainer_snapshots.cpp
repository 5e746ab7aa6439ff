// What a Trainer keeps in its snapshots, and how it goes on from one.
#include <cmath>
#include <unordered_set>

#include <weft/nn/random_state.hpp>
#include <weft/train/trainer.hpp>

#include "core/fail.hpp"

namespace weft::train {
namespace {

checkpoint::TensorMap to_map(const NamedTensors& tensors) {
  return {tensors.begin(), tensors.end()};
}

checkpoint::TensorMap capture_random() {
  const auto state = nn::RandomState::capture();
  checkpoint::TensorMap out = {{"cpu", state.cpu}};
  for (size_t i = 0; i < state.cuda.size(); ++i) out["cuda." + std::to_string(i)] = state.cuda[i];
  return out;
}

void restore_random(const checkpoint::TensorMap& tensors) {
  nn::RandomState state{.cpu = tensors.at("cpu")};
  for (size_t i = 0; tensors.count("cuda." + std::to_string(i)); ++i)
    state.cuda.push_back(tensors.at("cuda." + std::to_string(i)));
  state.restore();
}

/// The members that differ, as "lr 0.001 -> 0.01"; those that no step depends on are left out.
std::string changes(const Json& before, const TrainerOptions& options) {
  std::string out;
  const auto now = to_json(options);
  for (const auto& key : now.keys()) {
    if (key == "resume" || key == "max_steps" || key == "save_every" || key == "keep") continue;
    const auto then = before.get(key);
    if (!(then == now.at(key)))
      out += fmt::format("{}{} {} -> {}", out.empty() ? "" : ", ", key, then.dump(),
                         now.at(key).dump());
  }
  return out;
}

}  // namespace

NamedTensors Trainer::saved_tensors() const {
  auto out = parameters_;
  std::unordered_set<const void*> seen;
  for (const auto& item : module_.named_buffers())
    if (item.value().defined() && seen.insert(item.value().unsafeGetTensorImpl()).second)
      out.emplace_back(item.key(), item.value());
  return out;
}

void Trainer::restore(const checkpoint::Snapshot& snapshot) {
  const auto path = summary_.snapshot.empty()
                        ? snapshots_.folder() / fmt::format("step-{:08}", snapshot.step)
                        : summary_.snapshot;
  for (const auto* name : {"model", "optimizer", "random"})
    if (!snapshot.tensors.count(name)) fail("{}: {}.safetensors is missing", path.string(), name);
  checkpoint::copy_tensors(snapshot.tensors.at("model"), saved_tensors(), path.string());
  optimizer_.restore(snapshot.tensors.at("optimizer"));
  if (average_) {
    if (!snapshot.tensors.count("ema"))
      fail("{}: ema.safetensors is missing; the run was begun without --ema-decay", path.string());
    checkpoint::copy_tensors(snapshot.tensors.at("ema"), average_->averages(), path.string());
  }
  const auto& state = snapshot.state;
  if (const auto changed = changes(state.at("options"), options_); !changed.empty())
    log_.warn("options differ from those of the snapshot: " + changed);
  summary_.steps = saved_step_ = snapshot.step;
  summary_.snapshot = path;
  summary_.samples = state.at("samples").as_int();
  if (!state.get("loss").is_null()) summary_.loss = state.at("loss").as_double();
  summary_.skipped = state.at("skipped").as_int();
  bad_in_a_row_ = state.at("bad_in_a_row").as_int();
  task_.restore(state.at("task"));
  // Last, since a task may draw numbers while it restores itself.
  restore_random(snapshot.tensors.at("random"));
}

void Trainer::save() {
  log_.flush();
  checkpoint::Snapshot snapshot{.step = summary_.steps};
  snapshot.tensors["model"] = to_map(saved_tensors());
  snapshot.tensors["optimizer"] = to_map(optimizer_.state());
  snapshot.tensors["random"] = capture_random();
  if (average_) snapshot.tensors["ema"] = to_map(average_->averages());
  snapshot.state =
      Json::object({{"samples", summary_.samples},
                    {"loss", std::isfinite(summary_.loss) ? Json(summary_.loss) : Json()},
                    {"skipped", summary_.skipped},
                    {"bad_in_a_row", bad_in_a_row_},
                    {"options", to_json(options_)},
                    {"task", task_.state()}});
  summary_.snapshot = snapshots_.save(snapshot);
  saved_step_ = summary_.steps;
}

}  // namespace weft::train
