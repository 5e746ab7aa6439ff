#include <csignal>
#include <cstring>
#include <fstream>

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <zlib.h>

#include <weft/core/error.hpp>
#include <weft/io/file.hpp>
#include <weft/io/tar.hpp>

#include "support/python.hpp"
#include "support/temp_folder.hpp"

namespace tar_test {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::ThrowsMessage;
using weft::Error;
using namespace weft::io;

using Members = std::vector<std::pair<std::string, std::string>>;

Members read_all(TarReader reader) {
  Members out;
  while (auto member = reader.next()) out.emplace_back(member->name, member->bytes);
  return out;
}

/// The members before the damage, then the message.
std::pair<Members, std::string> read_until_error(TarReader reader) {
  Members out;
  try {
    while (auto member = reader.next()) out.emplace_back(member->name, member->bytes);
  } catch (const Error& error) {
    EXPECT_FALSE(reader.next());
    return {out, error.what()};
  }
  return {out, ""};
}

std::string archive_of(const Members& members) {
  weft::test::TempFolder folder;
  TarWriter writer(folder / "a.tar");
  for (const auto& [name, bytes] : members) writer.add(name, bytes);
  writer.close();
  return read_file(folder / "a.tar");
}

TarReader reader_of(const std::string& bytes, const TarLimits& limits = {}) {
  return TarReader(std::as_bytes(std::span(bytes)), "shard.tar", limits);
}

TEST(Tar, RoundTripsNamesBytesAndEmptyMembers) {
  const Members members = {{"a.jpg", std::string("\0\1\2", 3)},
                           {"empty", ""},
                           {"dir/b.txt", std::string(100'000, 'x')},
                           {"ein Bär.txt", "UTF-8"},
                           {std::string(300, 'n') + "/" + std::string(200, 'm'), "long"}};
  EXPECT_EQ(read_all(reader_of(archive_of(members))), members);
}

TEST(Tar, IsAbsentWithoutClose) {
  weft::test::TempFolder folder;
  { TarWriter(folder / "a.tar").add("a", "text"); }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(Tar, SaysWhatTheDiskRefuses) {
  weft::test::TempFolder folder;
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{.rlim_cur = 1 << 20, .rlim_max = before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  EXPECT_THAT(
      [&] {
        TarWriter writer(folder / "a.tar");
        for (int i = 0; i < 4; ++i) writer.add("m" + std::to_string(i), std::string(1 << 19, 'x'));
        writer.close();
      },
      testing::ThrowsMessage<Error>(HasSubstr("a.tar")));
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(Tar, StartsAtAMembersOffset) {
  weft::test::TempFolder folder;
  TarWriter writer(folder / "a.tar");
  for (const auto* name : {"a", "b", "c"}) writer.add(name, std::string(name) + "!");
  writer.close();
  TarReader reader(folder / "a.tar");
  reader.next();
  const auto offset = reader.next()->offset;
  EXPECT_EQ(offset, 1024u);
  EXPECT_THAT(read_all(TarReader(folder / "a.tar", {}, offset)),
              ElementsAre(Pair("b", "b!"), Pair("c", "c!")));
}

TEST(Tar, EveryCutGivesTheMembersBeforeItAndAnError) {
  const auto whole = archive_of({{"a", std::string(700, 'a')}, {"b", std::string(10, 'b')}});
  // a: header 0, data 512 to 1212, padded to 1536; b: header 1536, data 2048 to 2058; zeros from
  // 2560.
  for (size_t size = 0; size < 2560; ++size) {
    const auto cut = whole.substr(0, size);
    Members members;
    std::string message;
    try {
      std::tie(members, message) = read_until_error(reader_of(cut));
    } catch (const Error& error) {
      message = error.what();
    }
    EXPECT_THAT(message, HasSubstr("shard.tar")) << size;
    EXPECT_EQ(members.size(), size >= 2058 ? 2u : size >= 1212 ? 1u : 0u) << size;
  }
  EXPECT_THAT(read_until_error(reader_of(whole.substr(0, 1536))).second,
              HasSubstr("shard.tar: expected a member or the end-of-archive mark at byte 1536"));
  EXPECT_THAT(read_until_error(reader_of(whole.substr(0, 1000))).second,
              HasSubstr("shard.tar: at byte 0: the member 'a' of 700 bytes is damaged after 488: "
                        "Truncated"));
  EXPECT_THAT(read_until_error(reader_of(whole.substr(0, 600))).second,
              HasSubstr("shard.tar: at byte 0: the member 'a' should have 700 bytes, but the "
                        "archive ends before"));
}

TEST(Tar, ADamagedHeaderIsAnErrorWithItsOffset) {
  auto bytes = archive_of({{"a", "1"}, {"b", "2"}, {"c", "3"}});
  bytes[1024 + 3] ^= 1;
  const auto [members, message] = read_until_error(reader_of(bytes));
  EXPECT_THAT(members, ElementsAre(Pair("a", "1")));
  EXPECT_THAT(message, HasSubstr("shard.tar: damaged at byte 1024: "));
}

TEST(Tar, KeepsItsLimits) {
  const auto bytes = archive_of({{"a", "12345"}, {"name", "1"}});
  EXPECT_THAT([&] { read_all(reader_of(bytes, {.max_member_bytes = 4})); },
              ThrowsMessage<Error>(AllOf(HasSubstr("'a' has 5 bytes"), HasSubstr("limit of 4"))));
  EXPECT_THAT([&] { read_all(reader_of(bytes, {.max_name_bytes = 3})); },
              ThrowsMessage<Error>(HasSubstr("name has 4 bytes, more than the limit of 3")));
  EXPECT_THAT(
      [&] {
        read_all(reader_of(archive_of({{std::string(5000, 'x'), ""}})));
      },
      ThrowsMessage<Error>(HasSubstr("limit of 4096")));
}

TEST(Tar, ReadsGzip) {
  weft::test::TempFolder folder;
  const auto bytes = archive_of({{"a", std::string(100'000, 'a')}, {"b", "2"}});
  const auto path = folder / "a.tar.gz";
  gzFile out = gzopen(path.c_str(), "wb");
  gzwrite(out, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(out);
  EXPECT_EQ(read_all(TarReader(path)).size(), 2u);
  auto cut = read_file(path);
  cut.resize(cut.size() / 2);
  EXPECT_THROW(read_all(reader_of(cut)), Error);
}

TEST(Tar, SkipsLinksAndFoldersOfPythonsFormats) {
  WEFT_NEEDS_PYTHON();
  weft::test::TempFolder folder;
  ASSERT_TRUE(weft::test::run_python(R"(
import io, sys, tarfile
for name, format in (('ustar', tarfile.USTAR_FORMAT), ('gnu', tarfile.GNU_FORMAT), ('pax', tarfile.PAX_FORMAT)):
    with tarfile.open(f'{sys.argv[1]}.{name}', 'w', format=format) as tar:
        def add(name, data=b'', **kw):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in kw.items(): setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
        add('folder', type=tarfile.DIRTYPE)
        add('folder/a.jpg', b'a' * 5000)
        add('symbolic', type=tarfile.SYMTYPE, linkname='/etc/passwd')
        add('hard', type=tarfile.LNKTYPE, linkname='folder/a.jpg')
        add('pipe', type=tarfile.FIFOTYPE)
        add('B\u00e4r.txt', b'text')
        if name != 'ustar': add('n' * 300, b'long')
)",
                                     folder / "a.tar"));
  for (const auto* format : {"ustar", "gnu", "pax"}) {
    const auto members = read_all(TarReader(folder / (std::string("a.tar.") + format)));
    ASSERT_GE(members.size(), 2u) << format;
    EXPECT_THAT(members[0], Pair("folder/a.jpg", std::string(5000, 'a')));
    EXPECT_THAT(members[1], Pair("B\u00e4r.txt", "text"));
    if (members.size() > 2) {
      EXPECT_EQ(members[2].first, std::string(300, 'n'));
    }
    EXPECT_EQ(members.size(), format == std::string("ustar") ? 2u : 3u);
  }
}

TEST(Tar, PythonReadsWhatIsWritten) {
  WEFT_NEEDS_PYTHON();
  weft::test::TempFolder folder;
  TarWriter writer(folder / "a.tar");
  writer.add("B\u00e4r.txt", "text");
  writer.add(std::string(300, 'n'), std::string(5000, 'x'));
  writer.close();
  EXPECT_TRUE(weft::test::run_python(R"(
import sys, tarfile
with tarfile.open(sys.argv[1]) as tar:
    found = {m.name: tar.extractfile(m).read() for m in tar}
assert found == {'B\u00e4r.txt': b'text', 'n' * 300: b'x' * 5000}, found.keys()
)",
                                     folder / "a.tar"));
}

TEST(Tar, ReadsEveryMemberOfRealShards) {
  const fs::path shard = fs::path(WEFT_SHARED_DIR) / "data/flickr8k-128/train-000000.tar";
  if (!fs::exists(shard)) GTEST_SKIP() << shard << " is not on this machine";
  const auto members = read_all(TarReader(shard));
  EXPECT_EQ(members.size(), 3000u);
  for (size_t i = 0; i < members.size(); i += 3) {
    EXPECT_TRUE(members[i].first.ends_with(".jpg"));
    EXPECT_EQ(members[i].second.substr(0, 2), "\xff\xd8");
  }
}

}  // namespace tar_test
