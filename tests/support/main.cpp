#include <gmock/gmock.h>

#include <ATen/Parallel.h>

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  at::set_num_threads(2);
  return RUN_ALL_TESTS();
}
