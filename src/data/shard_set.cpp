#include "data/shard_set.hpp"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>

#include <weft/io/digest.hpp>
#include <weft/io/paths.hpp>
#include <weft/io/tar.hpp>

#include "core/fail.hpp"

namespace weft::data {
namespace {

/// "a/b.seg.PNG" -> {"a/b", "seg.png"}; nothing for names without an extension, hidden files and
/// WebDataset's own "__name__" entries.
std::optional<std::pair<std::string, std::string>> split_name(const std::string& name) {
  const auto slash = name.rfind('/');
  const auto base = slash == std::string::npos ? 0 : slash + 1;
  const auto dot = name.find('.', base);
  if (dot == std::string::npos || dot == base || name.compare(base, 2, "__") == 0)
    return std::nullopt;
  auto extension = name.substr(dot + 1);
  for (auto& c : extension)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return std::pair(name.substr(0, dot), std::move(extension));
}

bool is_image(const std::string& e) {
  return std::find(std::begin(kImageExtensions), std::end(kImageExtensions), e) !=
         std::end(kImageExtensions);
}
bool is_caption(const std::string& e) { return e == "txt" || e == "json"; }

}  // namespace

/// The members of one key while its shard is scanned.
struct ShardSet::Found {
  std::string key;
  uint64_t offset = 0;
  uint32_t members = 0;  ///< from the first one on, other members in between included
  bool image = false, caption = false;
};

ShardSet::ShardSet(const std::string& pattern, const SampleNeeds& needs, BadData& bad) {
  if (pattern.empty()) fail("shards: expected a pattern such as 'train-{{000000..000006}}.tar'");
  std::string places;  // names and offsets
  for (const auto& path : io::expand_paths(pattern)) {
    if (!std::filesystem::exists(path)) {
      bad.add(BadCause::missing_shard, path, 0, path + ": the shard is not there");
      continue;
    }
    shards_.push_back({.path = path, .file = io::MappedFile::open(path), .samples = {}});
    auto& shard = shards_.back();
    scan(shard, needs, bad);
    size_ += static_cast<int64_t>(shard.samples.size());
    places += std::filesystem::path(path).filename().string();
    for (const auto& place : shard.samples) places += fmt::format("\n{}", place.offset);
    places += '\n';
  }
  fingerprint_ = io::xxh3_128(std::as_bytes(std::span(places)));
  if (size_ == 0 && !needs.may_be_empty)
    fail(ErrorKind::bad_data, "{}: expected samples{}{}, found none in {} shard(s): {}", pattern,
         needs.image ? " with a jpg, jpeg, png, webp or bmp" : "",
         needs.caption ? " and a txt or json" : "", shards_.size(), bad.summary());
}

void ShardSet::scan(Shard& shard, const SampleNeeds& needs, BadData& bad) {
  const auto bytes = shard.file->bytes();
  if (bytes.size() >= 2 && bytes[0] == std::byte{0x1f} && bytes[1] == std::byte{0x8b})
    fail(
        "{}: expected a plain tar archive, found gzip, which cannot be read from the middle; "
        "decompress it with gunzip",
        shard.path);
  std::optional<Found> current;
  bool any = false;
  const auto finish = [&] {
    if (!current) return;
    const auto report = [&](BadCause cause, const char* what) {
      bad.add(cause, shard.path, current->offset,
              fmt::format("{}: sample '{}' at byte {}: {}", shard.path, current->key,
                          current->offset, what));
    };
    if (needs.image && !current->image) {
      report(BadCause::missing_image, "has no jpg, jpeg, png, webp or bmp");
    } else if (needs.caption && !current->caption) {
      report(BadCause::missing_caption, "has no txt or json");
    } else {
      shard.samples.push_back({current->offset, current->members});
    }
    current.reset();
  };
  const auto empty = [&] {
    const auto message = fmt::format(
        "{}: expected samples (KEY.jpg, KEY.txt ...), found an empty "
        "shard; leave it out of the pattern or write it anew",
        shard.path);
    if (!needs.may_be_empty) throw Error(message);
    bad.add(BadCause::empty_shard, shard.path, 0, message);
  };
  if (bytes.empty()) return empty();
  try {
    io::TarReader reader(bytes, shard.path);
    while (const auto member = reader.next()) {
      const auto name = split_name(member->name);
      if (name && (!current || current->key != name->first)) {
        finish();
        current = Found{.key = name->first, .offset = member->offset};
      }
      if (!current) continue;
      ++current->members;
      if (!name) continue;
      any = true;
      current->image |= is_image(name->second);
      current->caption |= is_caption(name->second);
    }
    finish();
  } catch (const Error& error) {
    bad.add(BadCause::cut_shard, shard.path, UINT64_MAX >> 1, error.what());
    return;
  }
  if (!any) empty();
}

std::vector<uint32_t> ShardSet::sizes() const {
  std::vector<uint32_t> out;
  for (const auto& shard : shards_) out.push_back(static_cast<uint32_t>(shard.samples.size()));
  return out;
}

Sample ShardSet::read(SampleRef ref) const {
  const auto& shard = shards_[ref.shard];
  const auto [offset, members] = shard.samples[ref.sample];
  Sample out{.key = {}, .shard = shard.path, .offset = offset, .fields = {}};
  try {
    io::TarReader reader(shard.file->bytes().subspan(offset), shard.path);
    for (uint32_t i = 0; i < members; ++i) {
      auto member = reader.next();
      if (!member) fail("{}: the sample at byte {} has lost its members", shard.path, offset);
      auto name = split_name(member->name);
      if (!name) continue;
      if (out.key.empty()) out.key = std::move(name->first);
      out.fields.emplace(std::move(name->second), std::move(member->bytes));
    }
  } catch (const Error& error) {
    throw BadSample(BadCause::read_error,
                    fmt::format("{}: since the start, the sample at byte {} was damaged: {}",
                                shard.path, offset, error.what()));
  }
  return out;
}

}  // namespace weft::data
