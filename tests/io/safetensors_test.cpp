#include <cstring>
#include <fstream>

#include <gmock/gmock.h>

#include <weft/core/error.hpp>
#include <weft/io/file.hpp>
#include <weft/io/safetensors.hpp>

#include "support/python.hpp"
#include "support/temp_folder.hpp"

namespace safetensors_test {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::Error;
using namespace weft::io;

std::string file_of(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + header + std::string(data_bytes, '\0');
}

/// The message of the Error that a file with this header and as many bytes of data gives.
std::string message_of(const std::string& bytes) {
  try {
    Safetensors::parse(std::as_bytes(std::span(bytes)), "m.safetensors");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}
std::string message_of(const std::string& header, size_t data_bytes) {
  return message_of(file_of(header, data_bytes));
}

std::string tensor(const std::string& name, const std::string& shape, size_t begin, size_t end,
                   const std::string& dtype = "F32") {
  return '"' + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":[)" +
         std::to_string(begin) + ',' + std::to_string(end) + "]}";
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST(Safetensors, RoundTripsTensorsAndMetadata) {
  weft::test::TempFolder folder;
  const std::string a(24, 'a'), b(3, 'b'), c(8, 'c');
  write_safetensors(folder / "m.safetensors",
                    {{"b", DType::u8, {3}, bytes_of(b)},
                     {"none", DType::f16, {0, 7}, {}},
                     {"scalar \"ä\"", DType::f64, {}, bytes_of(c)},
                     {"a", DType::f32, {2, 3}, bytes_of(a)}},
                    {{"format", "pt"}, {"note", "a\nb"}});
  const auto file = Safetensors::open(folder / "m.safetensors");
  EXPECT_THAT(file.metadata(),
              ElementsAre(testing::Pair("format", "pt"), testing::Pair("note", "a\nb")));
  std::vector<std::string> names;
  for (const auto& view : file.tensors()) names.push_back(view.name);
  EXPECT_THAT(names, ElementsAre("scalar \"ä\"", "a", "none", "b"));
  EXPECT_EQ(file.at("a").shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(std::memcmp(file.at("a").data.data(), a.data(), 24), 0);
  EXPECT_TRUE(file.at("none").data.empty());
  // Widest first behind a padded header: every tensor is aligned to its type in the mapping.
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.at("scalar \"ä\"").data.data()) % 8, 0u);
  EXPECT_EQ(file.find("c"), nullptr);
  EXPECT_THAT(
      [&] { file.at("nine"); },
      ThrowsMessage<Error>(HasSubstr("m.safetensors: unknown tensor 'nine'; nearest: none")));
}

TEST(Safetensors, RefusesDamagedHeaders) {
  EXPECT_THAT(message_of("1234567"), HasSubstr("found only 7 bytes"));
  EXPECT_THAT(message_of(std::string(8, '\xff')), HasSubstr("at most 100000000 bytes"));
  EXPECT_THAT(message_of(file_of("{}", 0).substr(0, 9)),
              HasSubstr("a header of 2 bytes, but only 1 follow"));
  EXPECT_THAT(message_of(" {}", 0), HasSubstr("starts with '{'"));
  EXPECT_THAT(message_of("", 0), HasSubstr("starts with '{'"));
  EXPECT_THAT(message_of("{", 0), HasSubstr("damaged at byte"));
  EXPECT_THAT(message_of("{}}", 0), HasSubstr("damaged at byte"));
  EXPECT_THAT(message_of("{\"a\xff\":1}", 0), HasSubstr("damaged at byte"));
  EXPECT_THAT(message_of("{} ", 0), "");
  EXPECT_THAT(message_of(R"({"a":1})", 0), HasSubstr("'a': expected an object, found a number"));
  EXPECT_THAT(message_of(R"({"a":[]})", 0), HasSubstr("'a': expected an object, found an array"));
  EXPECT_THAT(message_of(R"({"a":{}})", 0), HasSubstr("tensor 'a': 'dtype' is missing"));
  EXPECT_THAT(message_of(R"({"a":{"dtype":"F32","shape":[1]}})", 4),
              HasSubstr("tensor 'a': 'data_offsets' is missing"));
  EXPECT_THAT(message_of(R"({"a":{"x":1}})", 0), HasSubstr("found 'x'"));
  EXPECT_THAT(message_of(R"({"a":{"dtype":3}})", 0),
              HasSubstr("tensor 'a': dtype: expected a string, found a number"));
  EXPECT_THAT(message_of(R"({"a":{"shape":3}})", 0),
              HasSubstr("tensor 'a': shape: expected an array of numbers, found a number"));
  EXPECT_THAT(message_of(R"({"a":{"shape":[[]]}})", 0), HasSubstr("found an array"));
  EXPECT_THAT(message_of(R"({"a":{"shape":{}}})", 0), HasSubstr("found an object"));
  EXPECT_THAT(message_of(R"({"a":{"shape":[1.5]}})", 0), HasSubstr("no 64-bit integer"));
  EXPECT_THAT(message_of(R"({"a":{"shape":[-1]}})", 0), HasSubstr("a negative number"));
  EXPECT_THAT(message_of(R"({"a":{"shape":[9223372036854775808]}})", 0), HasSubstr("63 bits"));
  EXPECT_THAT(message_of(R"({"a":{"data_offsets":[1]}})", 0),
              HasSubstr("expected 2 data_offsets, found 1"));
  EXPECT_THAT(message_of(R"({"a":{"data_offsets":[1,2,3]}})", 0), HasSubstr("found 3"));
  EXPECT_THAT(message_of(R"({"__metadata__":{"a":1}})", 0),
              HasSubstr("__metadata__: 'a': expected a string, found a number"));
  EXPECT_THAT(message_of(R"({"__metadata__":{"a":{}}})", 0), HasSubstr("found an object"));
}

TEST(Safetensors, RefusesDuplicatesOfEveryKind) {
  const auto a = tensor("a", "[1]", 0, 4);
  EXPECT_THAT(message_of("{" + a + "," + a + "}", 4), HasSubstr("'a' is there twice"));
  EXPECT_THAT(message_of(R"({"a":{"dtype":"U8","dtype":"U8"}})", 0),
              HasSubstr("tensor 'a': 'dtype' is there twice"));
  EXPECT_THAT(message_of(R"({"__metadata__":{"a":"","a":""}})", 0),
              HasSubstr("'a' is there twice"));
  EXPECT_THAT(message_of(R"({"__metadata__":{},"__metadata__":{}})", 0), HasSubstr("twice"));
}

TEST(Safetensors, RefusesShapesThatDoNotFitTheirBytes) {
  EXPECT_THAT(
      message_of("{" + tensor("a", "[2,3]", 0, 20) + "}", 20),
      HasSubstr("m.safetensors: tensor 'a': the shape [2, 3] of F32 needs 24 bytes, found 20"));
  EXPECT_THAT(message_of("{" + tensor("a", "[4294967296,4294967296]", 0, 0) + "}", 0),
              HasSubstr("exceeds 64 bits"));
  EXPECT_THAT(message_of("{" + tensor("a", "[0,4294967296,4294967296]", 0, 0) + "}", 0), "");
  EXPECT_THAT(message_of("{" + tensor("a", "[1,1,1,1,1,1,1,1]", 0, 4) + "}", 4), "");
  EXPECT_THAT(message_of("{" + tensor("a", "[1,1,1,1,1,1,1,1,1]", 0, 4) + "}", 4),
              HasSubstr("more than 8 dimensions"));
  EXPECT_THAT(message_of("{" + tensor("a", "[3]", 0, 1, "F4") + "}", 1),
              HasSubstr("ends within a byte"));
  EXPECT_THAT(message_of("{" + tensor("a", "[4]", 0, 3, "F6_E2M3") + "}", 3), "");
  EXPECT_THAT(message_of("{" + tensor("a", "[4]", 0, 4, "F33") + "}", 4),
              AllOf(HasSubstr("tensor 'a': unknown dtype 'F33'"), HasSubstr("F32")));
}

TEST(Safetensors, RefusesRangesThatOverlapLeaveGapsOrDoNotEndWithTheFile) {
  const auto a = tensor("a", "[1]", 0, 4);
  EXPECT_THAT(message_of("{" + a + "}", 3),
              HasSubstr("not within the 3 bytes of data; is the file cut?"));
  EXPECT_THAT(message_of("{" + a + "}", 5),
              HasSubstr("expected 4 bytes of data, as the tensors have, found 5"));
  EXPECT_THAT(message_of("{" + a + "," + tensor("b", "[1]", 2, 6) + "}", 6), HasSubstr("overlap"));
  EXPECT_THAT(message_of("{" + a + "," + tensor("b", "[1]", 0, 4) + "}", 4),
              HasSubstr("tensor 'b': expected its bytes to start at 4"));
  EXPECT_THAT(message_of("{" + a + "," + tensor("b", "[1]", 8, 12) + "}", 12), HasSubstr("a gap"));
  EXPECT_THAT(message_of("{" + tensor("a", "[1]", 4, 0) + "}", 4), HasSubstr("not within"));
  EXPECT_THAT(message_of("{" + tensor("b", "[1]", 4, 8) + "," + a + "}", 8), "");
}

TEST(Safetensors, TheWriterRefusesWhatTheReaderWould) {
  weft::test::TempFolder folder;
  const std::string four(4, 'x');
  const auto write = [&](std::vector<TensorBytes> tensors) {
    return [&folder, tensors] { write_safetensors(folder / "m.safetensors", tensors); };
  };
  EXPECT_THAT(
      write({{"a", DType::f32, {2}, bytes_of(four)}}),
      ThrowsMessage<Error>(HasSubstr("tensor 'a': the shape [2] of F32 needs 8 bytes, got 4")));
  EXPECT_THAT(
      write({{"a", DType::f32, {1}, bytes_of(four)}, {"a", DType::f32, {1}, bytes_of(four)}}),
      ThrowsMessage<Error>(HasSubstr("twice")));
  EXPECT_THAT(write({{"__metadata__", DType::f32, {1}, bytes_of(four)}}),
              ThrowsMessage<Error>(HasSubstr("reserved")));
  EXPECT_THAT(write({{"\xff", DType::f32, {1}, bytes_of(four)}}),
              ThrowsMessage<Error>(HasSubstr("not UTF-8")));
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

struct SafetensorsIndex : testing::Test {
  void SetUp() override {
    for (const auto* name : {"a", "b"})
      write_safetensors(folder / (std::string(name) + ".safetensors"),
                        {{name, DType::f32, {1}, bytes_of(four)}}, {{"from", name}});
  }
  void write_index(const std::string& map) {
    write_file(
        folder / "model.safetensors.index.json",
        R"({"metadata":{"total_size":8,"more":[{"weight_map":1}]},"weight_map":)" + map + "}");
  }
  auto open() {
    return [this] { Safetensors::open(folder.path()); };
  }
  weft::test::TempFolder folder;
  const std::string four = "abcd";
};

TEST_F(SafetensorsIndex, OpensEveryShard) {
  write_index(R"({"a":"a.safetensors","b":"b.safetensors"})");
  const auto model = Safetensors::open(folder.path());
  EXPECT_EQ(model.tensors().size(), 2u);
  EXPECT_EQ(std::memcmp(model.at("b").data.data(), "abcd", 4), 0);
  EXPECT_EQ(model.metadata().at("from"), "a");
  EXPECT_EQ(Safetensors::open(folder / "model.safetensors.index.json").tensors().size(), 2u);
}

TEST_F(SafetensorsIndex, RefusesMissingShardsMisplacedTensorsAndForeignPaths) {
  EXPECT_THAT(open(), ThrowsMessage<Error>(HasSubstr("found neither")));
  write_index(R"({"a":"a.safetensors","c":"c.safetensors"})");
  EXPECT_THAT(open(),
              ThrowsMessage<Error>(HasSubstr("c.safetensors is missing; the index expects 1")));
  write_index(R"({"a":"a.safetensors","c":"a.safetensors"})");
  EXPECT_THAT(open(), ThrowsMessage<Error>(HasSubstr("tensor 'c' is not in a.safetensors")));
  write_index(R"({"c":"a.safetensors"})");
  EXPECT_THAT(open(), ThrowsMessage<Error>(
                          HasSubstr("tensor 'a' is in a.safetensors, but the index does not")));
  write_index(R"({"b":"a.safetensors","a":"b.safetensors"})");
  EXPECT_THAT(open(), ThrowsMessage<Error>(HasSubstr("expects it in b.safetensors")));
  write_index(R"({"a":"a.safetensors","a":"a.safetensors"})");
  EXPECT_THAT(open(), ThrowsMessage<Error>(HasSubstr("'a' is there twice")));
  write_index(R"({"a":1})");
  EXPECT_THAT(open(), ThrowsMessage<Error>(HasSubstr("expected a shard's name, found a number")));
  write_index("[]");
  EXPECT_THAT(open(),
              ThrowsMessage<Error>(HasSubstr("expected an object 'weight_map', found an array")));
  write_file(folder / "model.safetensors.index.json", "{}");
  EXPECT_THAT(open(), ThrowsMessage<Error>(HasSubstr("expected an object 'weight_map'")));
  for (const auto* name : {"../x", "/etc/passwd", "..", ".", "", "a/b", "a\\\\b", "a\\u0000b"}) {
    write_index(std::string(R"({"a":")") + name + "\"}");
    EXPECT_THAT(open(), ThrowsMessage<Error>(HasSubstr("expected the name of a file"))) << name;
  }
}

TEST(SafetensorsPython, ReadsOursWithEqualTensorsAndWritesTheSameBytes) {
  WEFT_NEEDS_PYTHON();
  weft::test::TempFolder folder;
  ASSERT_TRUE(weft::test::run_python(R"(
import sys, torch
from safetensors.torch import save_file
torch.manual_seed(1)
t = {f'{i}.{str(d)[6:]}': (torch.randn(s) * 50).to(d)
     for i, s in enumerate([(), (3,), (2, 5), (4, 0, 2), (1, 2, 3, 1, 2)])
     for d in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
               torch.int16, torch.int8, torch.uint8, torch.bool, torch.uint16, torch.uint32, torch.uint64,
               torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2)}
t['\u00e4 "x"\n\t\\/\x01'] = torch.ones(3)
save_file(t, sys.argv[1], metadata={'format': 'pt'})
)",
                                     folder / "python.safetensors"));
  const auto file = Safetensors::open(folder / "python.safetensors");
  EXPECT_EQ(file.tensors().size(), 81u);
  std::vector<TensorBytes> tensors;
  for (const auto& view : file.tensors())
    tensors.insert(tensors.begin(), {view.name, view.dtype, view.shape, view.data});
  write_safetensors(folder / "ours.safetensors", tensors, file.metadata());
  EXPECT_EQ(read_file(folder / "ours.safetensors"), read_file(folder / "python.safetensors"));
  EXPECT_TRUE(weft::test::run_python(R"(
import sys, torch
from safetensors.torch import load_file
ours, theirs = load_file(sys.argv[1]), load_file(sys.argv[1].replace('ours', 'python'))
assert ours.keys() == theirs.keys()
for name, t in ours.items():
    assert t.dtype == theirs[name].dtype and t.shape == theirs[name].shape
    assert t.numel() == 0 or bytes(t.untyped_storage()) == bytes(theirs[name].untyped_storage()), name
)",
                                     folder / "ours.safetensors"));
}

}  // namespace safetensors_test
