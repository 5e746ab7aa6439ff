#include "io/safetensors_header.hpp"

#include <array>
#include <unordered_set>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <weft/core/registry.hpp>

#include "core/fail.hpp"

namespace weft::io {
namespace {

struct DTypeInfo {
  std::string_view name;
  size_t bits;
};

constexpr std::array<DTypeInfo, 22> kDTypes = {
    {{"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
     {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
     {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
     {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
     {"I64", 64},        {"U64", 64}}};
static_assert(static_cast<size_t>(DType::u64) + 1 == kDTypes.size());

const DTypeInfo& info(DType type) { return kDTypes.at(static_cast<size_t>(type)); }

/// Where a JSON reader that builds no tree stands, and what is an error for all of them. A header
/// may hold 100 MB: a tree of it would take many times that.
class Events : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Events(std::string_view origin) : origin_(origin) {}

  bool null() override { return scalar("null"); }
  bool boolean(bool) override { return scalar("a boolean"); }
  bool number_integer(number_integer_t) override { return scalar("a negative number"); }
  bool number_unsigned(number_unsigned_t) override { return scalar("a number"); }
  bool number_float(number_float_t, const string_t&) override {
    return scalar("a number that is no 64-bit integer");
  }
  bool string(string_t&) override { return scalar("a string"); }
  bool binary(binary_t&) override { return scalar("binary data"); }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::json::exception& error) override {
    const std::string what = error.what();
    const auto start = what.find("] ");
    fail("{}: the JSON is damaged at byte {}: {}", origin_, position,
         start == std::string::npos ? what : what.substr(start + 2));
  }

 protected:
  virtual bool scalar(const char* found) = 0;

  std::string_view origin_;
};

void run(std::string_view json, Events& events) {
  nlohmann::json::sax_parse(json.begin(), json.end(), &events);
}

class HeaderEvents final : public Events {
 public:
  using Events::Events;

  Header take() { return std::move(header_); }

  bool start_object(size_t) override {
    if (place_ == Place::start) {
      place_ = Place::top;
    } else if (place_ == Place::name && name_ == "__metadata__") {
      place_ = Place::metadata;
    } else if (place_ == Place::name) {
      if (header_.entries.size() == kMaxTensors)
        fail("{}: more than {} tensors", origin_, kMaxTensors);
      header_.entries.emplace_back();
      header_.entries.back().name = name_;
      place_ = Place::tensor;
      seen_ = 0;
    } else {
      unexpected("an object");
    }
    return true;
  }
  bool key(string_t& key) override {
    switch (place_) {
      case Place::top:
        if (!names_.insert(key).second) fail("{}: '{}' is there twice", origin_, key);
        name_ = key;
        place_ = Place::name;
        break;
      case Place::metadata:
        if (header_.metadata.contains(key))
          fail("{}: __metadata__: '{}' is there twice", origin_, key);
        key_ = key;
        break;
      default: {
        const unsigned bit = key == "dtype"          ? 1
                             : key == "shape"        ? 2
                             : key == "data_offsets" ? 4
                                                     : 0;
        if (bit == 0)
          fail("{}: tensor '{}': expected dtype, shape and data_offsets, found '{}'", origin_,
               name_, key);
        if (seen_ & bit) fail("{}: tensor '{}': '{}' is there twice", origin_, name_, key);
        seen_ |= bit;
        key_ = key;
      }
    }
    return true;
  }
  bool end_object() override {
    if (place_ == Place::tensor) {
      if (seen_ != 7)
        fail("{}: tensor '{}': '{}' is missing", origin_, name_,
             !(seen_ & 1)   ? "dtype"
             : !(seen_ & 2) ? "shape"
                            : "data_offsets");
      place_ = Place::top;
    } else {
      place_ = place_ == Place::metadata ? Place::top : Place::end;
    }
    return true;
  }
  bool start_array(size_t) override {
    if (place_ == Place::tensor && key_ == "shape") {
      place_ = Place::shape;
    } else if (place_ == Place::tensor && key_ == "data_offsets") {
      place_ = Place::offsets;
      offsets_ = 0;
    } else {
      unexpected("an array");
    }
    return true;
  }
  bool end_array() override {
    if (place_ == Place::offsets && offsets_ != 2)
      fail("{}: tensor '{}': expected 2 data_offsets, found {}", origin_, name_, offsets_);
    place_ = Place::tensor;
    return true;
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::shape) {
      auto& shape = header_.entries.back().shape;
      if (shape.size() == kMaxRank)
        fail("{}: tensor '{}': more than {} dimensions", origin_, name_, kMaxRank);
      if (value > static_cast<uint64_t>(INT64_MAX))
        fail("{}: tensor '{}': the dimension {} exceeds 63 bits", origin_, name_, value);
      shape.push_back(static_cast<int64_t>(value));
    } else if (place_ == Place::offsets) {
      auto& entry = header_.entries.back();
      if (offsets_ < 2) (offsets_ == 0 ? entry.begin : entry.end) = value;
      ++offsets_;
    } else {
      unexpected("a number");
    }
    return true;
  }
  bool string(string_t& value) override {
    if (place_ == Place::metadata) {
      header_.metadata.emplace(key_, value);
    } else if (place_ == Place::tensor && key_ == "dtype") {
      try {
        header_.entries.back().dtype = dtype_of(value);
      } catch (const Error& error) {
        fail("{}: tensor '{}': {}", origin_, name_, error.what());
      }
    } else {
      unexpected("a string");
    }
    return true;
  }

 private:
  enum class Place { start, top, name, tensor, shape, offsets, metadata, end };

  bool scalar(const char* found) override { unexpected(found); }
  [[noreturn]] void unexpected(const char* found) {
    switch (place_) {
      case Place::start:
        fail("{}: expected an object of tensors, found {}", origin_, found);
      case Place::name:
        fail("{}: '{}': expected an object, found {}", origin_, name_, found);
      case Place::metadata:
        fail("{}: __metadata__: '{}': expected a string, found {}", origin_, key_, found);
      default:
        fail("{}: tensor '{}': {}: expected {}, found {}", origin_, name_, key_,
             key_ == "dtype" ? "a string" : "an array of numbers", found);
    }
  }

  Header header_;
  std::unordered_set<std::string> names_;
  Place place_ = Place::start;
  std::string name_, key_;
  unsigned seen_ = 0;
  size_t offsets_ = 0;
};

class WeightMapEvents final : public Events {
 public:
  using Events::Events;

  std::vector<std::pair<std::string, std::string>> take() {
    if (!found_) fail("{}: expected an object 'weight_map'", origin_);
    return std::move(map_);
  }

  bool start_object(size_t) override {
    if (depth_ == 1 && key_ == "weight_map") {
      if (found_) fail("{}: 'weight_map' is there twice", origin_);
      found_ = inside_ = true;
    } else if (inside_) {
      scalar("an object");
    }
    return deeper();
  }
  bool start_array(size_t) override {
    if (depth_ == 0 || inside_ || key_ == "weight_map") scalar("an array");
    return deeper();
  }
  bool end_object() override {
    if (--depth_ == 1) inside_ = false;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool key(string_t& key) override {
    if (inside_ && !names_.insert(key).second)
      fail("{}: weight_map: '{}' is there twice", origin_, key);
    if (inside_ && map_.size() == kMaxTensors)
      fail("{}: more than {} tensors", origin_, kMaxTensors);
    if (inside_ || depth_ == 1) key_ = key;
    return true;
  }
  bool string(string_t& value) override {
    if (!inside_) return scalar("a string");
    map_.emplace_back(key_, value);
    return true;
  }

 private:
  bool deeper() {
    if (++depth_ > 64) fail("{}: JSON is nested deeper than 64", origin_);
    return true;
  }
  bool scalar(const char* found) override {
    if (inside_)
      fail("{}: weight_map: '{}': expected a shard's name, found {}", origin_, key_, found);
    if (depth_ == 0 || (depth_ == 1 && key_ == "weight_map"))
      fail("{}: expected an object{}, found {}", origin_, depth_ ? " 'weight_map'" : "", found);
    return true;
  }

  std::vector<std::pair<std::string, std::string>> map_;
  std::unordered_set<std::string> names_;
  std::string key_;
  int depth_ = 0;
  bool found_ = false, inside_ = false;
};

}  // namespace

size_t bits_of(DType type) { return info(type).bits; }

size_t size_of(DType type) {
  if (info(type).bits % 8 != 0)
    fail("{}: an element has {} bits, no whole bytes", info(type).name, info(type).bits);
  return info(type).bits / 8;
}

std::string_view name_of(DType type) { return info(type).name; }

DType dtype_of(std::string_view name) {
  for (size_t i = 0; i < kDTypes.size(); ++i)
    if (kDTypes[i].name == name) return static_cast<DType>(i);
  std::vector<std::string> known;
  for (const auto& [known_name, bits] : kDTypes) known.emplace_back(known_name);
  throw Error(detail::unknown_name("dtype", name.substr(0, 64), known));
}

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

uint64_t checked_bytes(const std::vector<int64_t>& shape, DType dtype, std::string_view name,
                       std::string_view origin) {
  uint64_t bits = bits_of(dtype);
  for (const auto size : shape) {
    if (size < 0 || __builtin_mul_overflow(bits, static_cast<uint64_t>(size), &bits))
      fail("{}: tensor '{}': the shape {} of {} is impossible: {}", origin, name, shape_text(shape),
           name_of(dtype), size < 0 ? "a size is negative" : "its size exceeds 64 bits");
  }
  if (bits % 8 != 0)
    fail("{}: tensor '{}': the shape {} of {} ends within a byte", origin, name, shape_text(shape),
         name_of(dtype));
  return bits / 8;
}

Header parse_header(std::string_view json, std::string_view origin) {
  HeaderEvents events(origin);
  run(json, events);
  return events.take();
}

std::vector<std::pair<std::string, std::string>> parse_weight_map(std::string_view json,
                                                                  std::string_view origin) {
  WeightMapEvents events(origin);
  run(json, events);
  return events.take();
}

}  // namespace weft::io
