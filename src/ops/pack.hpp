#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "ops/host_device.hpp"

namespace weft::ops {

/// N elements that kernels move by one access, 16 bytes at most.
template <class T, uint32_t N>
struct Pack {
  T value[N];
};

/// An integer vector of so many bytes, as wide as its alignment.
template <uint32_t kBytes>
struct alignas(kBytes) Words {
  std::conditional_t<kBytes == 1, uint8_t, std::conditional_t<kBytes == 2, uint16_t, uint32_t>>
      word[kBytes < 4 ? 1 : kBytes / 4];
};

/// from is aligned to N elements.
template <uint32_t N, class T>
WEFT_HOST_DEVICE Pack<T, N> load_pack(const T* from) {
  Pack<T, N> out;
#ifdef __CUDA_ARCH__
  const auto words = *reinterpret_cast<const Words<sizeof(out)>*>(from);
  std::memcpy(&out, &words, sizeof(out));
#else
  std::memcpy(&out, from, sizeof(out));
#endif
  return out;
}

/// to is aligned to N elements.
template <uint32_t N, class T>
WEFT_HOST_DEVICE void store_pack(const Pack<T, N>& pack, T* to) {
#ifdef __CUDA_ARCH__
  Words<sizeof(pack)> words;
  std::memcpy(&words, &pack, sizeof(pack));
  *reinterpret_cast<Words<sizeof(pack)>*>(to) = words;
#else
  std::memcpy(to, &pack, sizeof(pack));
#endif
}

}  // namespace weft::ops
