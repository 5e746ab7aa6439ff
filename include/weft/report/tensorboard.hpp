#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <weft/core/export.hpp>

namespace weft::report {

/// CRC-32C (Castagnoli; reversed polynomial 0x82F63B78), as TFRecord files use it.
WEFT_API uint32_t crc32c(std::string_view bytes);

/// Writes scalars for TensorBoard: one events.out.tfevents.* file, made of TFRecords (length,
/// masked CRC-32C of the length, bytes, masked CRC-32C of the bytes) that hold Event messages.
class WEFT_API TensorBoardWriter {
 public:
  /// `first_step` > 0 goes on with an earlier run: TensorBoard then forgets that run's scalars from
  /// this step on.
  explicit TensorBoardWriter(const std::filesystem::path& folder, int64_t first_step = 0);
  TensorBoardWriter(const TensorBoardWriter&) = delete;
  TensorBoardWriter& operator=(const TensorBoardWriter&) = delete;
  ~TensorBoardWriter();

  /// All scalars of a step in one event.
  void scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values);
  /// Hands everything to the system; Error names the file and the cause.
  void flush();
  const std::filesystem::path& path() const { return path_; }

 private:
  void record(std::string_view event);

  std::filesystem::path path_;
  int file_ = -1;
  std::string buffer_;
};

}  // namespace weft::report
