#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace weft::ops {

/// Asks for large pages under a tensor of the CPU that was just allocated and is to be overwritten
/// as a whole: large blocks come from the system page by page, and the first touch of each page of
/// 4 kB costs more than the copy into it. A wish, without an effect on what is computed.
inline at::Tensor with_huge_pages(at::Tensor fresh) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (!fresh.is_cpu()) return fresh;
  constexpr uintptr_t kPage = uintptr_t{2} << 20;
  const auto begin = reinterpret_cast<uintptr_t>(fresh.const_data_ptr());
  const auto first = (begin + kPage - 1) / kPage * kPage;
  const auto last = (begin + fresh.nbytes()) / kPage * kPage;
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
  return fresh;
}

}  // namespace weft::ops
