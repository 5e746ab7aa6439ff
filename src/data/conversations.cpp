#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <unordered_map>
#include <unordered_set>

#include <weft/data/captions.hpp>
#include <weft/data/conversations.hpp>
#include <weft/data/sample.hpp>
#include <weft/io/digest.hpp>
#include <weft/io/file.hpp>
#include <weft/io/paths.hpp>

#include "core/fail.hpp"
#include "data/shard_set.hpp"

namespace weft::data {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kLargestFile = 16'000'000'000;

bool is_json_name(const std::string& path) {
  return path.ends_with(".json") || path.ends_with(".jsonl");
}

/// Calls `take` with each element of a JSON array, or of the lines of a .jsonl file.
template <class Take>
void for_each_item(const std::string& path, Take&& take) {
  if (path.ends_with(".jsonl")) {
    const auto text = io::read_file(path, kLargestFile);
    size_t begin = 0, line = 0;
    while (begin < text.size()) {
      const auto end = std::min(text.find('\n', begin), text.size());
      const auto words = std::string_view(text).substr(begin, end - begin);
      ++line;
      if (words.find_first_not_of(" \t\r") != std::string_view::npos)
        take(Json::parse(words, fmt::format("{}: line {}", path, line)), line);
      begin = end + 1;
    }
    return;
  }
  const auto items = Json::read(path, kLargestFile);
  if (!items.is_array())
    fail("{}: expected an array of conversations, found {}", path, items.type_name());
  for (size_t i = 0; i < items.size(); ++i) take(items.at(i), i + 1);
}

std::string stem_of(const std::string& path) { return fs::path(path).stem().string(); }

/// The ids and the images' names without folder and extension of a JSON file.
std::unordered_set<std::string> keys_of(const std::string& path) {
  std::unordered_set<std::string> out;
  for_each_item(path, [&](const Json& item, size_t) {
    if (!item.is_object()) return;
    if (const auto id = item.get("id"); !id.is_null())
      out.insert(id.is_string() ? id.as_string() : id.dump());
    const auto image = item.get(item.contains("images") ? "images" : "image");
    if (image.is_string()) out.insert(stem_of(image.as_string()));
    for (size_t i = 0; image.is_array() && i < image.size(); ++i)
      if (image.at(i).is_string()) out.insert(stem_of(image.at(i).as_string()));
  });
  if (out.empty()) fail("{}: holds no id and no image to leave out", path);
  return out;
}

bool has_image(const Sample& sample) {
  return std::ranges::any_of(
      kImageExtensions, [&](const char* extension) { return sample.fields.contains(extension); });
}

io::Image decode(std::string_view bytes, const std::string& name) {
  try {
    return io::decode_image(std::as_bytes(std::span(bytes)), name);
  } catch (const Error& error) {
    throw BadSample(BadCause::decode_error, error.what());
  }
}

}  // namespace

struct ConversationSource::Impl {
  explicit Impl(const ConversationSourceOptions& o) : options(o) {
    if (o.data.empty()) fail(ErrorKind::usage, "--data: names no file");
    const auto paths = io::expand_paths(o.data);
    const auto json = std::ranges::count_if(paths, is_json_name);
    if (json != 0 && json != static_cast<int64_t>(paths.size()))
      fail(ErrorKind::usage,
           "{}: expected JSON files or WebDataset shards, found both; use one kind a run", o.data);
    std::unordered_set<std::string> without;
    if (!o.exclude.empty()) without = keys_of(o.exclude);
    if (json > 0) {
      for (const auto& path : paths) read_list(path, without);
      if (list.empty())
        fail(ErrorKind::bad_data, "{}: holds no conversation{}", o.data,
             bad.total() > 0 ? ": " + bad.summary() : "");
    } else {
      read_shards(without);
    }
  }

  struct Item {
    Conversation conversation;
    uint32_t file;
    uint32_t place;
  };

  void read_list(const std::string& path, const std::unordered_set<std::string>& without) {
    files.push_back(path);
    const auto file = static_cast<uint32_t>(files.size() - 1);
    for_each_item(path, [&](const Json& item, size_t place) {
      std::vector<std::string> paths;
      Conversation one;
      try {
        one = to_conversation(item, paths, fmt::format("{}: conversation {}", path, place));
      } catch (const BadSample& error) {
        bad.add(error.cause(), path, place, error.what());
        return;
      }
      if (without.contains(one.id)) return;
      for (const auto& name : paths)
        if (without.contains(stem_of(name))) return;
      const bool several = paths.size() > 1;
      for (const auto& name : paths) {
        const auto [found, fresh] =
            numbers[several].emplace(name, static_cast<int64_t>(image_paths.size()));
        if (fresh) {
          image_paths.push_back(name);
          among_others.push_back(several);
        }
        one.images.push_back(found->second);
      }
      const auto add = [&](Conversation part) {
        list.push_back({std::move(part), file, static_cast<uint32_t>(place)});
      };
      if (!options.alone) return add(std::move(one));
      try {
        for (auto& part : single_turns(one)) add(std::move(part));
      } catch (const BadSample& error) {
        bad.add(error.cause(), path, place, error.what());
      }
    });
    const auto all = fmt::format("{} {} {} {}", mark, fs::path(path).filename().string(),
                                 fs::file_size(path), list.size());
    mark = io::xxh3_128(std::as_bytes(std::span(all)));
  }

  void read_shards(const std::unordered_set<std::string>& without) {
    if (options.alone)
      fail(ErrorKind::usage,
           "{}: questions of shards cannot be samples of their own; take the turns 'shared'",
           options.data);
    shards.emplace(options.data, SampleNeeds{.image = false, .caption = false}, bad);
    const auto sizes = shards->sizes();
    for (uint32_t s = 0; s < sizes.size(); ++s)
      for (uint32_t i = 0; i < sizes[s]; ++i) {
        const SampleRef ref{s, i};
        if (!without.empty() && without.contains(fs::path(shards->read(ref).key).filename()))
          continue;
        refs.push_back(ref);
      }
    if (refs.empty())
      fail(ErrorKind::bad_data, "{}: nothing is left without what --exclude names", options.data);
    mark = fmt::format("{} {}", shards->fingerprint(), refs.size());
  }

  std::string file(int64_t index) const {
    const auto i = static_cast<size_t>(index);
    return shards ? shards->path(refs[i]) : files[list[i].file];
  }
  uint64_t offset(int64_t index) const {
    const auto i = static_cast<size_t>(index);
    return shards ? shards->offset(refs[i]) : list[i].place;
  }

  Conversation of_sample(int64_t index, int64_t epoch) const {
    const auto sample = shards->read(refs[static_cast<size_t>(index)]);
    const auto place = fmt::format("{}: sample '{}'", sample.shard, sample.key);
    if (const auto text = sample.fields.find("json"); text != sample.fields.end()) {
      Json json;
      try {
        json = Json::parse(text->second, place);
      } catch (const Error& error) {
        throw BadSample(BadCause::bad_conversation, error.what());
      }
      if (json.is_object() && (json.contains("conversations") || json.contains("messages"))) {
        std::vector<std::string> ignored;
        auto out = to_conversation(json, ignored, place);
        if (out.id.empty()) out.id = sample.key;
        if (has_image(sample)) out.images = {index};
        return out;
      }
    }
    image_bytes(sample);  // BadSample where there is none
    const auto all = captions(sample);
    const auto& caption = all[draw_caption(options.seed, epoch, sample.key, all.size())];
    return {.id = sample.key,
            .images = {index},
            .messages = {{.role = "user",
                          .content = std::string(kImageMark) + "\n" + options.caption_prompt},
                         {.role = "assistant", .content = caption}},
            .references = all};
  }

  ConversationSourceOptions options;
  BadData bad;
  std::string mark;
  // Of JSON files:
  std::vector<std::string> files, image_paths;
  std::vector<bool> among_others;  // of each path
  std::vector<Item> list;
  std::unordered_map<std::string, int64_t> numbers[2];  // of images alone and among others
  // Of shards; an image has its sample's number:
  std::optional<ShardSet> shards;
  std::vector<SampleRef> refs;
};

ConversationSource::ConversationSource(const ConversationSourceOptions& options)
    : impl_(std::make_unique<Impl>(options)) {}
ConversationSource::~ConversationSource() = default;

int64_t ConversationSource::size() const {
  return static_cast<int64_t>(impl_->shards ? impl_->refs.size() : impl_->list.size());
}
int64_t ConversationSource::images() const {
  return static_cast<int64_t>(impl_->shards ? impl_->refs.size() : impl_->image_paths.size());
}

Conversation ConversationSource::read(int64_t index, int64_t epoch) const {
  return impl_->shards ? impl_->of_sample(index, epoch)
                       : impl_->list[static_cast<size_t>(index)].conversation;
}

io::Image ConversationSource::image(int64_t number) const {
  const auto i = static_cast<size_t>(number);
  if (impl_->shards) {
    const auto sample = impl_->shards->read(impl_->refs[i]);
    return decode(image_bytes(sample), fmt::format("{}: sample '{}'", sample.shard, sample.key));
  }
  const auto path = fs::path(impl_->options.images) / impl_->image_paths[i];
  std::error_code none;
  if (!fs::is_regular_file(path, none))
    throw BadSample(BadCause::missing_image,
                    fmt::format("{}: no such file; --images names the folder that paths of images "
                                "start from",
                                path.string()));
  std::string bytes;
  try {
    bytes = io::read_file(path);
  } catch (const Error& error) {
    throw BadSample(BadCause::read_error, error.what());
  }
  return decode(bytes, path.string());
}

bool ConversationSource::among_others(int64_t number) const {
  return !impl_->shards && impl_->among_others[static_cast<size_t>(number)];
}

std::string ConversationSource::image_name(int64_t number) const {
  const auto i = static_cast<size_t>(number);
  return impl_->shards ? impl_->shards->read(impl_->refs[i]).key : impl_->image_paths[i];
}

std::string ConversationSource::file(int64_t index) const { return impl_->file(index); }
uint64_t ConversationSource::offset(int64_t index) const { return impl_->offset(index); }
const std::string& ConversationSource::fingerprint() const { return impl_->mark; }
const BadData& ConversationSource::bad() const { return impl_->bad; }

}  // namespace weft::data
