#include <mutex>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>

#include <weft/nn/random_state.hpp>

namespace weft::nn {
namespace {

std::vector<at::Generator> cuda_generators() {
  std::vector<at::Generator> out;
  if (!at::globalContext().hasCUDA()) return out;
  const auto count = at::detail::getCUDAHooks().deviceCount();
  for (int i = 0; i < count; ++i)
    out.push_back(at::globalContext().defaultGenerator(
        at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(i))));
  return out;
}

template <class F>
auto locked(at::Generator generator, F&& f) {
  const std::lock_guard<std::mutex> lock(generator.mutex());
  return f(generator);
}

}  // namespace

RandomState RandomState::capture() {
  const auto get = [](at::Generator& g) { return g.get_state(); };
  RandomState state;
  state.cpu = locked(at::detail::getDefaultCPUGenerator(), get);
  for (const auto& generator : cuda_generators()) state.cuda.push_back(locked(generator, get));
  return state;
}

void RandomState::restore() const {
  TORCH_CHECK_VALUE(cpu.defined() && cpu.scalar_type() == at::kByte,
                    "RandomState: the CPU generator's state must be a byte tensor");
  locked(at::detail::getDefaultCPUGenerator(), [&](at::Generator& g) { g.set_state(cpu); });
  const auto generators = cuda_generators();
  for (size_t i = 0; i < std::min(cuda.size(), generators.size()); ++i)
    locked(generators[i], [&](at::Generator& g) { g.set_state(cuda[i]); });
}

void seed_all(uint64_t seed) {
  const auto set = [&](at::Generator& g) { g.set_current_seed(seed); };
  locked(at::detail::getDefaultCPUGenerator(), set);
  for (const auto& generator : cuda_generators()) locked(generator, set);
}

}  // namespace weft::nn
