#include <cstdlib>

#include <weft/core/error.hpp>
#include <weft/core/json.hpp>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto json = weft::Json::parse({reinterpret_cast<const char*>(data), size}, "fuzz");
    if (!(weft::Json::parse(json.dump()) == json)) std::abort();
  } catch (const weft::Error&) {
  }
  return 0;
}
