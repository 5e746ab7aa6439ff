#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/data/bad_data.hpp>

namespace weft::data {

/// One sample of a WebDataset shard: neighbouring members whose names are equal up to the first '.'
/// of the file name.
struct Sample {
  std::string key;                            ///< with the folder inside the archive, if any
  std::string shard;                          ///< path of the archive
  uint64_t offset = 0;                        ///< of the first member's header in the archive
  std::map<std::string, std::string> fields;  ///< extension in lower case, without dot -> bytes
};

/// A sample that cannot be used. Loaders count it and go on.
class WEFT_API BadSample : public Error {
 public:
  BadSample(BadCause cause, const std::string& message)
      : Error(message, ErrorKind::bad_data), cause_(cause) {}
  BadCause cause() const { return cause_; }

 private:
  BadCause cause_;
};

/// What an image's member of a sample may be called, in the order in which they are looked for.
inline constexpr const char* kImageExtensions[] = {"jpg", "jpeg", "png", "webp", "bmp"};

/// Whether a file's name ends in one of them, in any case: "Cat.JPG".
WEFT_API bool is_image_name(const std::filesystem::path& file);

/// The bytes of the image; BadSample(missing_image) where there is none.
WEFT_API const std::string& image_bytes(const Sample& sample);

/// The captions, at least one, without white space at their ends: `json` with "captions" or
/// "caption" (a string or an array of strings), else `txt`, which is one caption. Empty ones are
/// left out. BadSample: missing_caption where nothing remains, bad_caption where the text is not
/// UTF-8 or the JSON is damaged or holds something else.
WEFT_API std::vector<std::string> captions(const Sample& sample);

/// The class of `cls`: a whole number of 0 or more, white space around it aside (a WebDataset's
/// integer label). BadSample: missing_label or bad_label.
WEFT_API int64_t label(const Sample& sample);

}  // namespace weft::data
