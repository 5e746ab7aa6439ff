#include <cstring>
#include <fstream>

#include <gmock/gmock.h>

#include <weft/core/error.hpp>
#include <weft/io/digest.hpp>
#include <weft/io/file.hpp>
#include <weft/io/folder.hpp>

#include "support/temp_folder.hpp"

namespace file_test {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::Error;
using namespace weft::io;

size_t count_files(const fs::path& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), {}));
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST(File, WritesWholeFilesAndLeavesNothingElse) {
  weft::test::TempFolder folder;
  write_file(folder / "a", "one");
  write_file(folder / "a", "two");
  EXPECT_EQ(read_file(folder / "a"), "two");
  { AtomicFile(folder / "b").write("never committed"); }
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(File, ErrorsNameTheFileAndTheCause) {
  weft::test::TempFolder folder;
  write_file(folder / "a", "0123456789");
  EXPECT_THAT([&] { read_file(folder / "none"); }, ThrowsMessage<Error>(HasSubstr("none: cannot")));
  EXPECT_THAT([&] { read_file(folder / "a", 9); },
              ThrowsMessage<Error>(HasSubstr("a: 10 bytes, more than the limit of 9")));
  EXPECT_THAT([&] { MappedFile::open(folder.path()); }, ThrowsMessage<Error>(HasSubstr("folder")));
  EXPECT_THAT([&] { MappedFile::open("/dev/zero"); },
              ThrowsMessage<Error>(HasSubstr("not a regular file")));
  EXPECT_THAT([&] { write_file(folder / "none/a", ""); },
              ThrowsMessage<Error>(HasSubstr("none/a: cannot be created")));
}

TEST(File, MapsFilesAlsoEmptyOnes) {
  weft::test::TempFolder folder;
  write_file(folder / "a", "abc");
  write_file(folder / "empty", "");
  const auto file = MappedFile::open(folder / "a");
  EXPECT_EQ(std::memcmp(file->bytes().data(), "abc", 3), 0);
  EXPECT_EQ(file->bytes().size(), 3u);
  EXPECT_TRUE(MappedFile::open(folder / "empty")->bytes().empty());
}

// FIPS 180-4's examples, and the lengths on either side of one and two blocks of padding.
TEST(Digest, Sha256OfKnownTexts) {
  EXPECT_EQ(sha256({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256(bytes_of("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256(bytes_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256(bytes_of(std::string(55, 'a'))),
            "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
  EXPECT_EQ(sha256(bytes_of(std::string(64, 'a'))),
            "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
  EXPECT_EQ(sha256(bytes_of(std::string(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Digest, XxhashOfKnownTexts) {
  EXPECT_EQ(xxh3_128({}), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(xxh3_128(bytes_of("abc")), "06b05ab6733a618578af5f94892f3950");
}

TEST(Folder, AppearsWholeAndReplacesTheOldOne) {
  weft::test::TempFolder folder;
  const auto target = folder / "step-1";
  for (const auto* text : {"old", "new"}) {
    FolderWriter writer(target);
    fs::create_directory(writer.folder() / "sub");
    write_file(writer.folder() / "sub" / "a", text);
    write_file(writer.folder() / "b", "b");
    write_manifest(writer.folder());
    writer.commit();
    EXPECT_THAT([&] { writer.commit(); }, ThrowsMessage<Error>(HasSubstr("complete already")));
  }
  EXPECT_EQ(read_file(target / "sub" / "a"), "new");
  EXPECT_EQ(count_files(folder.path()), 1u);
  EXPECT_THAT(check_manifest(target), testing::ElementsAre("b", "sub/a"));
}

TEST(Folder, LeavesTheOldOneWithoutCommit) {
  weft::test::TempFolder folder;
  {
    FolderWriter writer(folder / "x");
    write_file(writer.folder() / "a", "old");
    writer.commit();
  }
  {
    FolderWriter writer(folder / "x");
    write_file(writer.folder() / "a", "new");
  }
  EXPECT_EQ(read_file(folder / "x/a"), "old");
  EXPECT_EQ(count_files(folder.path()), 1u);
  EXPECT_THAT([&] { FolderWriter writer(folder / "x/a"); },
              ThrowsMessage<Error>(HasSubstr("a file stands in the way")));
}

TEST(Folder, KeepsWhatIsThereButWhatIsStale) {
  weft::test::TempFolder folder;
  fs::create_directories(folder / "x/sub");
  for (const auto* name : {"a", "notes", "sub/c", "manifest.json", "model-2"})
    write_file(folder / "x" / name, "old");
  fs::create_symlink("notes", folder / "x/link");
  FolderWriter writer((folder / "x").string() + "/");
  write_file(writer.folder() / "a", "new");
  writer.keep_others([](std::string_view name) { return name.starts_with("model"); });
  writer.commit();
  EXPECT_EQ(read_file(folder / "x/a"), "new");
  EXPECT_EQ(read_file(folder / "x/sub/c"), "old");
  EXPECT_TRUE(fs::is_symlink(folder / "x/link"));
  EXPECT_EQ(count_files(folder / "x"), 4u);
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(Folder, CheckFindsDamageMissingFilesAndFalseManifests) {
  weft::test::TempFolder folder;
  const auto check = [&] { check_manifest(folder.path()); };
  const auto manifest = folder / "manifest.json";
  write_file(folder / "a", "text");
  write_manifest(folder.path());
  write_file(folder / "a", "Text");
  EXPECT_THAT(check, ThrowsMessage<Error>(HasSubstr("a: damaged: expected digest")));
  write_file(folder / "a", "tex");
  EXPECT_THAT(check, ThrowsMessage<Error>(HasSubstr("a: expected 4 bytes, found 3")));
  fs::remove(folder / "a");
  EXPECT_THAT(check, ThrowsMessage<Error>(HasSubstr("a: cannot be opened")));
  for (const auto* name : {"../x", "/x", "", "a/../../x", "sub/"}) {
    write_file(manifest, R"({"version": 1, "files": {")" + std::string(name) + "\": {}}}");
    EXPECT_THAT(check, ThrowsMessage<Error>(HasSubstr("does not name a file in this folder")));
  }
  write_file(manifest, R"({"version": 1, "files": []})");
  EXPECT_THAT(check, ThrowsMessage<Error>(HasSubstr("files: expected an object, found array")));
  write_file(manifest, R"({"version": 2, "files": {}})");
  EXPECT_THAT(check, ThrowsMessage<Error>(HasSubstr("version 2 is not known; expected 1")));
  fs::remove(manifest);
  EXPECT_THAT(check, ThrowsMessage<Error>(HasSubstr("manifest.json is missing")));
}

}  // namespace file_test
