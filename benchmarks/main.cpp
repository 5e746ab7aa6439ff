// The compiled side of scripts/benchmark: benchmarks/compare.py starts it, sends it lines of JSON
// and alternates it with benchmarks/peers.py, which does the same work with the Python stack.
//
//     {"setup": "info_nce", "args": {...}, "outputs": FILE}  -> {"ready": true}, after one run
//     {"run": 5}                                             -> {"seconds": of 5 runs together}
//     {"memory": true}                                       -> {"mb": peak of the process}
#include <chrono>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include <ATen/ops/stack.h>
#include <torch/types.h>

#include <weft/core/flags.hpp>
#include <weft/core/registry.hpp>
#include <weft/io/safetensors.hpp>

#include "works.hpp"

namespace weft::benchmarks {

const Registry<std::function<Work(const Json&)>>& works() {
  static const auto registry = [] {
    Registry<std::function<Work(const Json&)>> r("benchmark");
    r.add("data_path", data_path);
    r.add("jpeg_to_tensor", jpeg_to_tensor);
    r.add("encode", encode);
    r.add("encode_clip", encode_clip);
    r.add("train_clip", train_clip);
    r.add("decode", decode);
    r.add("prefill", prefill);
    r.add("tokenize", tokenize);
    r.add("tokenize_corpus", tokenize_corpus);
    r.add("tokenize_open_clip", tokenize);
    r.add("tokenize_tiktoken", tokenize_corpus);
    r.add("train_vlm", train_vlm);
    r.add("read_safetensors", read_safetensors);
    r.add("read_tar", read_tar);
    r.add("info_nce", info_nce);
    r.add("gated_mlp", gated_mlp);
    r.add("linear_cross_entropy", linear_cross_entropy);
    r.add("rms_norm", rms_norm);
    r.add("rms_norm_torch", rms_norm);
    r.add("rope", rope);
    r.add("splice", splice);
    r.add("matrix_product", matrix_product);
    r.add("copy", copy);
    return r;
  }();
  return registry;
}

Work training(std::function<at::Tensor()> step, int checked) {
  return [step = std::move(step), checked]() mutable {
    if (checked == 0) {
      step();
      return Outputs{};
    }
    std::vector<at::Tensor> losses;
    for (; checked > 0; --checked) losses.push_back(step());
    return Outputs{{"losses", at::stack(losses)}};
  };
}

Outputs read_tensors(const std::string& path) {
  Outputs out;
  const auto file = io::Safetensors::open(path);
  for (const auto& view : file.tensors()) {
    TORCH_CHECK_VALUE(view.dtype == io::DType::f32 || view.dtype == io::DType::i64,
                      "weft_bench: inputs are F32 or I64, got ", io::name_of(view.dtype));
    const auto type = view.dtype == io::DType::f32 ? at::kFloat : at::kLong;
    out[view.name] =
        at::from_blob(const_cast<std::byte*>(view.data.data()), view.shape, type).clone();
  }
  return out;
}

static void write_outputs(const std::string& path, const Outputs& outputs) {
  std::vector<at::Tensor> kept;
  std::vector<io::TensorBytes> tensors;
  for (const auto& [name, value] : outputs) {
    const bool integer = value.scalar_type() == at::kLong;
    kept.push_back(value.detach().to(integer ? at::kLong : at::kFloat).contiguous());
    tensors.push_back({.name = name,
                       .dtype = integer ? io::DType::i64 : io::DType::f32,
                       .shape = kept.back().sizes().vec(),
                       .data = {static_cast<const std::byte*>(kept.back().const_data_ptr()),
                                kept.back().nbytes()}});
  }
  io::write_safetensors(path, tensors);
}

static double peak_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0) return std::stod(line.substr(6)) / 1024;
  return 0;
}

static Json answer(const Json& request, Work& work) {
  if (request.contains("setup")) {
    work = works().at(request.at("setup").as_string())(request.at("args"));
    write_outputs(request.at("outputs").as_string(), work());
    return Json::object({{"ready", true}});
  }
  if (request.contains("memory")) return Json::object({{"mb", peak_mb()}});
  const auto runs = request.at("run").as_int();
  const auto start = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < runs; ++i) work();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return Json::object({{"seconds", seconds.count()}});
}

}  // namespace weft::benchmarks

int main() {
  return weft::run_program("weft_bench", [] {
    weft::benchmarks::Work work;
    for (std::string line; std::getline(std::cin, line);)
      std::cout << weft::benchmarks::answer(weft::Json::parse(line), work).dump() << std::endl;
    return 0;
  });
}
