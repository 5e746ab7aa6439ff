#include <weft/core/json.hpp>
#include <weft/io/file.hpp>

// Here and not in core/, which knows no files.
namespace weft {

Json Json::read(const std::filesystem::path& path, uint64_t max_bytes) {
  return parse(io::read_file(path, max_bytes), path.string());
}

void Json::write(const std::filesystem::path& path, int indent) const {
  io::write_file(path, dump(indent) + '\n');
}

}  // namespace weft
