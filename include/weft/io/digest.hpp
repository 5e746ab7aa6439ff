#pragma once

#include <cstddef>
#include <span>
#include <string>

#include <weft/core/export.hpp>

namespace weft::io {

/// SHA-256 (FIPS 180-4) as 64 hexadecimal digits.
WEFT_API std::string sha256(std::span<const std::byte> bytes);

/// XXH3 of 128 bits as 32 hexadecimal digits: finds damage, proves nothing against an adversary.
WEFT_API std::string xxh3_128(std::span<const std::byte> bytes);

}  // namespace weft::io
