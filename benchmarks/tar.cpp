// Reading every member of a tar shard.
#include <ATen/ops/tensor.h>

#include <weft/io/tar.hpp>

#include "works.hpp"

namespace weft::benchmarks {

Work read_tar(const Json& args) {
  return [path = args.at("path").as_string()] {
    int64_t members = 0, bytes = 0, name_bytes = 0;
    io::TarReader reader(path);
    while (const auto member = reader.next()) {
      ++members;
      bytes += static_cast<int64_t>(member->bytes.size());
      name_bytes += static_cast<int64_t>(member->name.size());
    }
    return Outputs{{"totals", at::tensor({members, bytes, name_bytes})}};
  };
}

}  // namespace weft::benchmarks
