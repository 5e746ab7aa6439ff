#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include <weft/core/error.hpp>
#include <weft/io/tar.hpp>

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

constexpr size_t kBlock = 512;
constexpr uint64_t kMaxMember = 1 << 20;

/// Writes the checksum of the header at `block`: the sum of its bytes, with its own field as
/// blanks.
void seal(uint8_t* block) {
  std::memset(block + 148, ' ', 8);
  unsigned sum = 0;
  for (size_t i = 0; i < kBlock; ++i) sum += block[i];
  std::snprintf(reinterpret_cast<char*>(block) + 148, 7, "%06o", sum & 0777777);
}

/// A valid archive of a few members of any type.
std::string valid_archive(std::mt19937& random) {
  std::string out;
  for (auto count = 1 + random() % 3; count > 0; --count) {
    const size_t size = random() % 700;
    std::string block(kBlock, '\0');
    std::snprintf(block.data(), 100, "dir/%u.jpg", static_cast<unsigned>(random() % 1000));
    std::snprintf(block.data() + 100, 8, "0000644");
    std::snprintf(block.data() + 124, 12, "%011o", static_cast<unsigned>(size));
    std::snprintf(block.data() + 136, 12, "%011o", 0u);
    block[156] = "0000000125xgLKSDVN"[random() % 18];
    std::memcpy(block.data() + 257, random() % 2 ? "ustar\00000" : "ustar  \0", 8);
    seal(reinterpret_cast<uint8_t*>(block.data()));
    out += block;
    std::string data((size + kBlock - 1) / kBlock * kBlock, '\0');
    for (size_t i = 0; i < size; ++i) data[i] = "30 path=abc\nmtime=1.5\nGNU.sparse"[i % 32];
    out += data;
  }
  return out + std::string(2 * kBlock, '\0');
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    weft::io::TarReader reader(bytes, "fuzz", {.max_member_bytes = kMaxMember});
    uint64_t last = 0;
    bool first = true;
    while (const auto member = reader.next()) {
      if (member->bytes.size() > kMaxMember || member->name.size() > 4096) std::abort();
      if (!first && member->offset <= last) std::abort();
      last = member->offset;
      first = false;
    }
  } catch (const weft::Error&) {
  }
  return 0;
}

/// Mutates anything, then makes the checksums true again, without which every mutant ends at its
/// first header.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  std::mt19937 random(seed);
  const auto kind = random() % 16;
  if (size < kBlock || kind == 0) {
    const auto archive = valid_archive(random);
    size = std::min(archive.size(), max_size);
    std::memcpy(data, archive.data(), size);
    if (kind == 0) return size;
  }
  if (kind < 6 && size >= kBlock) {
    // Within one header: fields keep their places.
    const auto block = random() % (size / kBlock) * kBlock;
    static constexpr size_t kFields[][2] = {{0, 100},   {124, 12}, {136, 12},  {156, 1},
                                            {157, 100}, {257, 8},  {345, 155}, {386, 100}};
    const auto& [start, length] = kFields[random() % 8];
    LLVMFuzzerMutate(data + block + start, length, length);
  } else {
    size = LLVMFuzzerMutate(data, size, max_size);
  }
  if (kind < 14)
    for (size_t block = 0; block + kBlock <= size; block += kBlock)
      if (std::memcmp(data + block + 257, "ustar", 5) == 0) seal(data + block);
  return size;
}
