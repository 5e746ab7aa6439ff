#include <algorithm>
#include <cctype>
#include <charconv>

#include <weft/data/sample.hpp>

#include "core/fail.hpp"
#include "core/trimmed.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::data {
namespace {

constexpr std::string_view kSpace = " \t\r\n\v\f";

[[noreturn]] void bad(const Sample& sample, BadCause cause, const std::string& what) {
  throw BadSample(cause, fmt::format("{}: sample '{}' at byte {}: {}", sample.shard, sample.key,
                                     sample.offset, what));
}

void collect(const Json& value, const Sample& sample, std::vector<std::string>& out) {
  if (value.is_string()) {
    out.push_back(value.as_string());
  } else if (value.is_array()) {
    try {
      for (auto& text : value.as_strings()) out.push_back(std::move(text));
    } catch (const Error&) {
      bad(sample, BadCause::bad_caption, "expected an array of strings as captions");
    }
  } else if (!value.is_null()) {
    bad(sample, BadCause::bad_caption,
        fmt::format("expected a string or an array of strings as captions, found {}",
                    value.type_name()));
  }
}

std::vector<std::string> captions_of_json(const Sample& sample, const std::string& text) {
  Json json;
  try {
    json = Json::parse(text, sample.key + ".json");
  } catch (const Error& error) {
    bad(sample, BadCause::bad_caption, error.what());
  }
  std::vector<std::string> out;
  if (!json.is_object()) collect(json, sample, out);
  for (const char* key : {"captions", "caption"})
    if (out.empty() && json.is_object() && json.contains(key)) collect(json.at(key), sample, out);
  return out;
}

}  // namespace

bool is_image_name(const std::filesystem::path& file) {
  auto extension = file.extension().string();
  std::ranges::transform(extension, extension.begin(),
                         [](unsigned char c) { return std::tolower(c); });
  return std::ranges::any_of(kImageExtensions, [&](std::string_view known) {
    return extension.size() == known.size() + 1 && extension.ends_with(known);
  });
}

const std::string& image_bytes(const Sample& sample) {
  for (const char* extension : kImageExtensions) {
    const auto found = sample.fields.find(extension);
    if (found != sample.fields.end()) return found->second;
  }
  bad(sample, BadCause::missing_image, "has no jpg, jpeg, png, webp or bmp");
}

std::vector<std::string> captions(const Sample& sample) {
  const auto json = sample.fields.find("json"), txt = sample.fields.find("txt");
  std::vector<std::string> found, out;
  if (json != sample.fields.end()) found = captions_of_json(sample, json->second);
  for (const auto& text : found)
    if (const auto caption = trimmed(text, kSpace); !caption.empty()) out.emplace_back(caption);
  if (out.empty() && txt != sample.fields.end()) {
    if (const auto valid = tokenizers::valid_utf8_prefix(txt->second); valid < txt->second.size())
      bad(sample, BadCause::bad_caption, fmt::format("the txt is not UTF-8 at byte {}", valid));
    if (const auto caption = trimmed(txt->second, kSpace); !caption.empty())
      out.emplace_back(caption);
  }
  if (out.empty()) bad(sample, BadCause::missing_caption, "has no caption in a txt or json");
  return out;
}

int64_t label(const Sample& sample) {
  const auto found = sample.fields.find("cls");
  if (found == sample.fields.end()) bad(sample, BadCause::missing_label, "has no cls");
  const auto text = trimmed(found->second, kSpace);
  int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0)
    bad(sample, BadCause::bad_label,
        fmt::format(
            "expected one whole number of 0 or more in the cls, found {} bytes that are not",
            found->second.size()));
  return value;
}

}  // namespace weft::data
