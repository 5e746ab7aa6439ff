#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include <weft/core/registry.hpp>
#include <weft/io/safetensors.hpp>

#include "core/fail.hpp"
#include "io/safetensors_header.hpp"

namespace weft::io {
namespace {

namespace fs = std::filesystem;
static_assert(std::endian::native == std::endian::little, "the format's bytes are used in place");

/// A shard's name comes from a file that is not trusted, so it must not lead out of the folder.
void check_shard_name(const std::string& shard, std::string_view tensor, std::string_view origin) {
  if (shard.empty() || shard == "." || shard == ".." ||
      shard.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos)
    fail("{}: tensor '{}': expected the name of a file in the same folder, found '{}'", origin,
         tensor, shard);
}

}  // namespace

Safetensors Safetensors::open(const fs::path& path) {
  Safetensors out;
  out.origin_ = path.string();
  if (fs::is_directory(path)) {
    const auto single = path / "model.safetensors", index = path / "model.safetensors.index.json";
    if (fs::exists(single)) {
      out.read_file(single);
    } else if (fs::exists(index)) {
      out.read_index(index);
    } else {
      fail(
          "{}: expected model.safetensors or model.safetensors.index.json in this folder, found "
          "neither",
          path.string());
    }
  } else if (path.extension() == ".json") {
    out.read_index(path);
  } else {
    out.read_file(path);
  }
  out.make_index();
  return out;
}

Safetensors Safetensors::parse(std::span<const std::byte> bytes, std::string_view origin) {
  Safetensors out;
  out.origin_ = origin;
  out.read_bytes(bytes, origin, nullptr);
  out.make_index();
  return out;
}

const TensorView* Safetensors::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

const TensorView& Safetensors::at(std::string_view name) const {
  if (const auto* tensor = find(name)) return *tensor;
  std::vector<std::string> names;
  for (const auto& tensor : tensors_) names.push_back(tensor.name);
  throw Error(origin_ + ": " + detail::unknown_name("tensor", name, names));
}

void Safetensors::read_file(const fs::path& path) {
  const auto file = MappedFile::open(path);
  read_bytes(file->bytes(), path.string(), file);
}

void Safetensors::read_bytes(std::span<const std::byte> bytes, std::string_view origin,
                             const std::shared_ptr<MappedFile>& owner) {
  uint64_t length = 0;
  if (bytes.size() < sizeof length)
    fail("{}: expected a safetensors file, found only {} bytes", origin, bytes.size());
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > kMaxHeader)
    fail(
        "{}: expected a header of at most {} bytes, found a length of {}; is this a safetensors "
        "file?",
        origin, kMaxHeader, length);
  if (length > bytes.size() - sizeof length)
    fail("{}: expected a header of {} bytes, but only {} follow; is the file cut?", origin, length,
         bytes.size() - sizeof length);
  const std::string_view json(reinterpret_cast<const char*>(bytes.data()) + sizeof length, length);
  if (!json.starts_with('{')) fail("{}: expected a header that starts with '{{'", origin);
  const auto buffer = bytes.subspan(sizeof length + length);

  auto [entries, metadata] = parse_header(json, origin);
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t position = 0;
  for (auto& entry : entries) {
    if (entry.begin > entry.end || entry.end > buffer.size())
      fail("{}: tensor '{}': its bytes {} to {} are not within the {} bytes of data{}", origin,
           entry.name, entry.begin, entry.end, buffer.size(),
           entry.begin > entry.end ? "" : "; is the file cut?");
    const auto size = checked_bytes(entry.shape, entry.dtype, entry.name, origin);
    if (size != entry.end - entry.begin)
      fail("{}: tensor '{}': the shape {} of {} needs {} bytes, found {}", origin, entry.name,
           shape_text(entry.shape), name_of(entry.dtype), size, entry.end - entry.begin);
    if (entry.begin != position)
      fail(
          "{}: tensor '{}': expected its bytes to start at {}, where the tensor before it ends, "
          "found {}: {}",
          origin, entry.name, position, entry.begin,
          entry.begin < position ? "they overlap" : "a gap");
    position = entry.end;
    tensors_.push_back({.name = std::move(entry.name),
                        .dtype = entry.dtype,
                        .shape = std::move(entry.shape),
                        .data = buffer.subspan(entry.begin, size),
                        .owner = owner});
  }
  if (position != buffer.size())
    fail("{}: expected {} bytes of data, as the tensors have, found {}", origin, position,
         buffer.size());
  metadata_.merge(metadata);
}

void Safetensors::read_index(const fs::path& path) {
  const auto origin = path.string();
  const auto weight_map = parse_weight_map(weft::io::read_file(path, kMaxHeader), origin);
  std::map<std::string, size_t> shards;  // name -> tensors that the index expects there
  std::unordered_map<std::string_view, std::string_view> shard_of;
  for (const auto& [tensor, shard] : weight_map) {
    if (!shards.contains(shard)) check_shard_name(shard, tensor, origin);
    ++shards[shard];
    shard_of.emplace(tensor, shard);
  }
  for (const auto& [shard, count] : shards) {
    const auto file = path.parent_path() / shard;
    if (!fs::exists(file))
      fail("{}: the shard {} is missing; the index expects {} tensors in it", origin, file.string(),
           count);
    const auto first = tensors_.size();
    read_file(file);
    for (auto i = first; i < tensors_.size(); ++i) {
      const auto found = shard_of.find(tensors_[i].name);
      if (found == shard_of.end() || found->second != shard)
        fail("{}: tensor '{}' is in {}, but the index {}", origin, tensors_[i].name, shard,
             found == shard_of.end() ? "does not list it"
                                     : fmt::format("expects it in {}", found->second));
    }
    if (tensors_.size() - first == count) continue;
    std::unordered_set<std::string_view> found;
    for (auto i = first; i < tensors_.size(); ++i) found.insert(tensors_[i].name);
    for (const auto& [tensor, expected] : weight_map)
      if (expected == shard && !found.contains(tensor))
        fail("{}: tensor '{}' is not in {}, where the index expects it", origin, tensor, shard);
  }
}

void Safetensors::make_index() {
  for (size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name, i);
}

}  // namespace weft::io
