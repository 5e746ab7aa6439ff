#include <cstdint>
#include <cstdlib>

#include <weft/data/grounding.hpp>

/// Any bytes are an answer, in every format; what is found in it can be written and read again.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft::data;
  if (size == 0) return 0;
  const auto format = static_cast<GroundingFormat>(data[0] % 7);
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto found = parse_grounding(text, format, 640, 480);
  if (found.text.size() > text.size()) std::abort();
  for (auto& box : found.boxes) {
    if (!(box.x1 >= 0 && box.x1 <= box.x2 && box.y1 >= 0 && box.y1 <= box.y2)) std::abort();
    box.label.clear();  // a label may hold what is a mark of its own format
  }
  for (auto& point : found.points) {
    if (!(point.x >= 0 && point.y >= 0)) std::abort();
    point.label.clear();
  }
  const auto written = emit_grounding(found.boxes, found.points, format, 640, 480);
  const auto again = parse_grounding(written, format, 640, 480);
  if (again.malformed != 0 || again.boxes.size() != found.boxes.size() ||
      again.points.size() != found.points.size())
    std::abort();
  return 0;
}
