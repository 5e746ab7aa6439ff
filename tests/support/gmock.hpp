#pragma once

#include <gmock/gmock.h>

#include <weft/core/error.hpp>

#include "support/temp_folder.hpp"

namespace weft::test {

// What nearly every test of files, runs and errors says.
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

}  // namespace weft::test
