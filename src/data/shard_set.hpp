#pragma once

#include <memory>
#include <string>
#include <vector>

#include <weft/data/sample.hpp>
#include <weft/io/file.hpp>

namespace weft::data {

/// Where a sample lies: the index of its shard and its own index in it.
struct SampleRef {
  uint32_t shard = 0;
  uint32_t sample = 0;
};

/// What samples must have, or else they are damaged, and whether there must be any.
struct SampleNeeds {
  bool image = true, caption = true;
  bool may_be_empty = false;  ///< an empty shard is damage, not an error
};

/// The shards of a pattern, each read once from front to end to learn where its samples start.
class ShardSet {
 public:
  /// Adds what is damaged to `bad`. Errors as SampleStream.
  ShardSet(const std::string& pattern, const SampleNeeds& needs, BadData& bad);

  int64_t size() const { return size_; }
  std::vector<uint32_t> sizes() const;  ///< samples of each shard
  /// Changes with the shards' names and contents' places, not with their folder.
  const std::string& fingerprint() const { return fingerprint_; }
  const std::string& path(SampleRef ref) const { return shards_[ref.shard].path; }
  uint64_t offset(SampleRef ref) const { return shards_[ref.shard].samples[ref.sample].offset; }

  /// Thread-safe. BadSample(read_error) where the archive has changed.
  Sample read(SampleRef ref) const;

 private:
  struct Place {
    uint64_t offset;
    uint32_t members;
  };
  struct Shard {
    std::string path;
    std::shared_ptr<io::MappedFile> file;
    std::vector<Place> samples;
  };
  struct Found;
  void scan(Shard& shard, const SampleNeeds& needs, BadData& bad);

  std::vector<Shard> shards_;
  int64_t size_ = 0;
  std::string fingerprint_;
};

}  // namespace weft::data
