#include <algorithm>
#include <cstring>
#include <unordered_set>

#include <nlohmann/json.hpp>

#include <weft/io/file.hpp>
#include <weft/io/safetensors.hpp>

#include "core/fail.hpp"
#include "io/safetensors_header.hpp"

namespace weft::io {
namespace {

std::string quoted(const std::string& text, std::string_view origin) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    fail("{}: the name or value '{}' is not UTF-8", origin,
         nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
  }
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, const std::vector<TensorBytes>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const auto origin = path.string();
  if (tensors.size() > kMaxTensors)
    fail("{}: {} tensors, more than the limit of {}", origin, tensors.size(), kMaxTensors);
  std::vector<const TensorBytes*> order;
  std::unordered_set<std::string_view> names;
  for (const auto& tensor : tensors) {
    if (tensor.name == "__metadata__" || !names.insert(tensor.name).second)
      fail("{}: tensor '{}': the name is {}", origin, tensor.name,
           tensor.name == "__metadata__" ? "reserved" : "there twice");
    if (tensor.shape.size() > kMaxRank)
      fail("{}: tensor '{}': {} dimensions, more than {}", origin, tensor.name, tensor.shape.size(),
           kMaxRank);
    const auto size = checked_bytes(tensor.shape, tensor.dtype, tensor.name, origin);
    if (size != tensor.data.size())
      fail("{}: tensor '{}': the shape {} of {} needs {} bytes, got {}", origin, tensor.name,
           shape_text(tensor.shape), name_of(tensor.dtype), size, tensor.data.size());
    order.push_back(&tensor);
  }
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return a->dtype != b->dtype ? a->dtype > b->dtype : a->name < b->name;
  });

  std::string header(8, '\0');
  header += '{';
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata)
      header += quoted(key, origin) + ':' + quoted(value, origin) + ',';
    header.back() = '}';
    header += ',';
  }
  uint64_t begin = 0;
  for (const auto* tensor : order) {
    const auto end = begin + tensor->data.size();
    auto shape = shape_text(tensor->shape);
    std::erase(shape, ' ');
    header += fmt::format(R"({}:{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}},)",
                          quoted(tensor->name, origin), name_of(tensor->dtype), shape, begin, end);
    begin = end;
  }
  if (header.back() == ',') header.pop_back();
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');
  const uint64_t length = header.size() - 8;
  if (length > kMaxHeader)
    fail("{}: the header has {} bytes, more than the limit of {}", origin, length, kMaxHeader);
  std::memcpy(header.data(), &length, sizeof length);

  AtomicFile file(path);
  file.write(header);
  for (const auto* tensor : order) file.write(tensor->data);
  file.commit();
}

}  // namespace weft::io
