#include <array>
#include <atomic>
#include <bit>
#include <chrono>

#include <unistd.h>

#include <weft/report/tensorboard.hpp>

#include "report/append.hpp"

namespace weft::report {
namespace {

constexpr size_t kBuffer = 1 << 16;

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value & 1 ? value >> 1 ^ 0x82F63B78u : value >> 1;
    table[i] = value;
  }
  return table;
}
constexpr auto kCrcTable = make_crc_table();

uint32_t masked_crc(std::string_view bytes) {
  const auto crc = crc32c(bytes);
  return std::rotr(crc, 15) + 0xA282EAD8u;
}

template <class T>
void put_fixed(std::string& out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) out.push_back(static_cast<char>(value >> 8 * i & 0xFF));
}

// The wire format of protocol buffers: (field << 3 | type), then a varint (0), 8 bytes (1), a
// length and bytes (2) or 4 bytes (5).
void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}
void put_bytes(std::string& out, int field, std::string_view bytes) {
  put_varint(out, static_cast<uint64_t>(field) << 3 | 2);
  put_varint(out, bytes.size());
  out += bytes;
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// message Event { double wall_time = 1; int64 step = 2; string file_version = 3;
//                 Summary summary = 5; SessionLog session_log = 7; }
std::string event(int64_t step, int field, std::string_view content) {
  std::string out;
  out.push_back(1 << 3 | 1);
  put_fixed(out, std::bit_cast<uint64_t>(now()));
  if (step != 0) {
    out.push_back(2 << 3 | 0);
    put_varint(out, static_cast<uint64_t>(step));
  }
  put_bytes(out, field, content);
  return out;
}

std::filesystem::path event_file(const std::filesystem::path& folder) {
  static std::atomic<int> count{0};
  char host[256] = "localhost";
  if (::gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
  return folder / fmt::format("events.out.tfevents.{}.{}.{}.{}", static_cast<int64_t>(now()), host,
                              ::getpid(), count++);
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (const char byte : bytes)
    crc = kCrcTable[(crc ^ static_cast<uint8_t>(byte)) & 0xFF] ^ crc >> 8;
  return ~crc;
}

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& folder, int64_t first_step)
    : path_(event_file(folder)) {
  std::filesystem::create_directories(folder);
  file_ = open_append(path_);
  record(event(0, 3, "brain.Event:2"));
  // message SessionLog { enum SessionStatus { START = 1; ... } status = 1; }
  if (first_step > 0) record(event(first_step, 7, std::string_view("\x08\x01", 2)));
  flush();
}

TensorBoardWriter::~TensorBoardWriter() {
  try {
    flush();
  } catch (const Error&) {
  }
  ::close(file_);
}

void TensorBoardWriter::scalars(int64_t step,
                                const std::vector<std::pair<std::string, double>>& values) {
  // message Summary { repeated Value value = 1; }
  // message Value { string tag = 1; float simple_value = 2; }
  std::string summary, value;
  for (const auto& [tag, number] : values) {
    value.clear();
    put_bytes(value, 1, tag);
    value.push_back(2 << 3 | 5);
    put_fixed(value, std::bit_cast<uint32_t>(static_cast<float>(number)));
    put_bytes(summary, 1, value);
  }
  record(event(step, 5, summary));
  if (buffer_.size() >= kBuffer) flush();
}

void TensorBoardWriter::flush() { append(file_, path_, buffer_); }

void TensorBoardWriter::record(std::string_view event) {
  const auto start = buffer_.size();
  put_fixed(buffer_, static_cast<uint64_t>(event.size()));
  put_fixed(buffer_, masked_crc(std::string_view(buffer_).substr(start)));
  buffer_ += event;
  put_fixed(buffer_, masked_crc(event));
}

}  // namespace weft::report
