#pragma once

#include <string>
#include <vector>

#include <weft/core/json.hpp>
#include <weft/io/file.hpp>

#include "support/gmock.hpp"
#include "support/python.hpp"

namespace weft::test {

/// What vlm_references.py writes for `kind`, made fresh; null, and a failure, where it failed.
inline Json vlm_reference(const std::string& kind, std::vector<std::string> arguments = {}) {
  const TempFolder folder;
  arguments.insert(arguments.begin(), {kind, folder.path().string()});
  const auto status =
      run_python_file(WEFT_EVAL_FOLDER "/vlm_references.py", arguments, folder / "log.txt");
  const auto log = io::read_file(folder / "log.txt");
  EXPECT_EQ(status, 0) << log;
  if (status != 0) return {};
  testing::Test::RecordProperty("log", log);
  return Json::read(folder / (kind + ".json"));
}

}  // namespace weft::test
