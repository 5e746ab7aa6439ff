#include <random>
#include <set>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <weft/core/error.hpp>
#include <weft/core/json.hpp>
#include <weft/io/file.hpp>
#include <weft/io/paths.hpp>
#include <weft/io/safetensors.hpp>
#include <weft/io/tar.hpp>

#include "support/temp_folder.hpp"

namespace io_properties_test {

using weft::Error;
using weft::io::DType;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

/// Names as files have them: not empty, no zero byte, valid UTF-8.
rc::Gen<std::string> names() {
  return rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::oneOf(
      rc::gen::inRange<char>('a', '{'), rc::gen::element('"', '\\', ' ', '.', '\n'))));
}

struct Case {
  DType dtype;
  std::vector<int64_t> shape;
  std::string data;
};

rc::Gen<Case> cases() {
  return rc::gen::exec([] {
    Case out;
    out.dtype = static_cast<DType>(*rc::gen::inRange(0, static_cast<int>(DType::u64) + 1));
    out.shape = *rc::gen::resize(
        8, rc::gen::container<std::vector<int64_t>>(rc::gen::inRange<int64_t>(0, 4)));
    if (weft::io::bits_of(out.dtype) < 8) out.shape.insert(out.shape.begin(), 4);
    if (out.shape.size() > 8) out.shape.resize(8);
    size_t bits = weft::io::bits_of(out.dtype);
    for (const auto size : out.shape) bits *= static_cast<size_t>(size);
    out.data = *rc::gen::container<std::string>(bits / 8, rc::gen::arbitrary<char>());
    return out;
  });
}

RC_GTEST_PROP(SafetensorsProperty, WhatIsWrittenIsRead, ()) {
  const auto tensors = *rc::gen::container<std::map<std::string, Case>>(names(), cases());
  const auto metadata = *rc::gen::container<std::map<std::string, std::string>>(names(), names());
  weft::test::TempFolder folder;
  std::vector<weft::io::TensorBytes> written;
  for (const auto& [name, c] : tensors)
    written.push_back({name, c.dtype, c.shape, bytes_of(c.data)});
  weft::io::write_safetensors(folder / "m.safetensors", written, metadata);
  const auto file = weft::io::Safetensors::open(folder / "m.safetensors");
  RC_ASSERT(file.metadata() == metadata);
  RC_ASSERT(file.tensors().size() == tensors.size());
  for (const auto& [name, c] : tensors) {
    const auto& view = file.at(name);
    RC_ASSERT(view.dtype == c.dtype);
    RC_ASSERT(view.shape == c.shape);
    RC_ASSERT(std::ranges::equal(view.data, bytes_of(c.data)));
  }
}

RC_GTEST_PROP(TarProperty, WhatIsWrittenIsRead, ()) {
  using Members = std::vector<std::pair<std::string, std::string>>;
  auto members = *rc::gen::container<Members>(
      rc::gen::pair(names(), rc::gen::container<std::string>(rc::gen::arbitrary<char>())));
  weft::test::TempFolder folder;
  weft::io::TarWriter writer(folder / "a.tar");
  for (const auto& [name, bytes] : members) writer.add(name, bytes);
  writer.close();
  weft::io::TarReader reader(folder / "a.tar");
  Members found;
  std::vector<uint64_t> offsets;
  while (auto member = reader.next()) {
    found.emplace_back(member->name, member->bytes);
    offsets.push_back(member->offset);
  }
  RC_ASSERT(found == members);
  for (size_t i = 0; i < offsets.size(); ++i)
    RC_ASSERT(weft::io::TarReader(folder / "a.tar", {}, offsets[i]).next()->bytes ==
              members[i].second);
}

RC_GTEST_PROP(BracesProperty, GroupsInSequenceAreTheProductOfTheirLists, ()) {
  const auto word = rc::gen::container<std::string>(rc::gen::inRange('a', 'd'));
  const auto lists = *rc::gen::resize(4, rc::gen::container<std::vector<std::vector<std::string>>>(
                                             rc::gen::container<std::vector<std::string>>(word)));
  std::string pattern;
  std::vector<std::string> expected = {""};
  for (const auto& list : lists) {
    if (list.size() < 2) continue;  // no comma, no group
    std::string group;
    std::vector<std::string> product;
    for (const auto& text : list) group += (group.empty() ? "" : ",") + std::string("#") + text;
    for (const auto& head : expected)
      for (const auto& text : list) product.push_back(head + "#" + text);
    pattern += "{" + group + "}";
    expected = product;
  }
  RC_ASSERT(weft::io::expand_braces(pattern) == expected);
}

/// Calls `read` with damaged copies of `valid`: flipped bits, cuts, moved and zeroed pieces. It
/// must return or throw weft::Error; both must happen.
void reads_or_throws(const std::string& valid, const std::function<void(const std::string&)>& read,
                     int rounds = 20'000) {
  std::mt19937_64 random(7);
  int refused = 0;
  for (int round = 0; round < rounds; ++round) {
    auto bytes = valid;
    const auto at = [&] { return static_cast<size_t>(random() % bytes.size()); };
    const auto kind = random() % 8;
    if (kind < 5) {
      for (auto flips = 1 + random() % 4; flips > 0; --flips)
        bytes[at()] ^= static_cast<char>(1 << random() % 8);
    } else if (kind == 5) {
      bytes.resize(at());
    } else if (kind == 6) {
      const auto from = at(), to = at();
      bytes.replace(to, 16, bytes.substr(from, 16));
    } else {
      const auto from = at();
      std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(from),
                bytes.begin() + static_cast<std::ptrdiff_t>(std::min(from + 64, bytes.size())),
                '\0');
    }
    try {
      read(bytes);
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, rounds);
}

TEST(Mutation, SafetensorsAreReadOrRefused) {
  weft::test::TempFolder folder;
  const std::string data(96, 'x');
  weft::io::write_safetensors(folder / "m.safetensors",
                              {{"a", DType::f32, {2, 3}, bytes_of(data).first(24)},
                               {"b.weight", DType::i64, {3, 3}, bytes_of(data).first(72)},
                               {"c", DType::boolean, {1}, bytes_of(data).first(1)},
                               {"d", DType::f4, {8}, bytes_of(data).first(4)}},
                              {{"format", "pt"}});
  reads_or_throws(weft::io::read_file(folder / "m.safetensors"), [](const std::string& bytes) {
    const auto file = weft::io::Safetensors::parse(bytes_of(bytes), "m");
    unsigned sum = 0;
    for (const auto& tensor : file.tensors())
      for (const auto byte : tensor.data) sum += std::to_integer<unsigned>(byte);
    EXPECT_NE(sum, 1u);  // keeps the reads
  });
}

TEST(Mutation, TarIsReadOrRefused) {
  weft::test::TempFolder folder;
  weft::io::TarWriter writer(folder / "a.tar");
  writer.add("a.jpg", std::string(700, 'a'));
  writer.add(std::string(200, 'n'), "pax");
  writer.add("b\u00e4", "");
  writer.close();
  reads_or_throws(
      weft::io::read_file(folder / "a.tar").substr(0, 6144), [](const std::string& bytes) {
        weft::io::TarReader reader(bytes_of(bytes), "shard", {.max_member_bytes = 1 << 20});
        while (reader.next()) {
        }
      });
}

TEST(Mutation, JsonIsReadOrRefused) {
  reads_or_throws(
      R"({"a":[1,-2.5e3,true,null,"x\u00e9\n"],"b":{"c":{"d":[[],{}]}},"e":18446744073709551615})",
      [](const std::string& text) {
        const auto json = weft::Json::parse(text);
        EXPECT_EQ(weft::Json::parse(json.dump()), json);
      });
}

TEST(Mutation, PathsAreExpandedOrRefused) {
  reads_or_throws("x/{a,b{1..3}}-{000..012..4}{,y}.tar",
                  [](const std::string& text) { weft::io::expand_braces(text, 1000); });
}

}  // namespace io_properties_test
