#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/data/grounding.hpp>
#include <weft/io/image.hpp>

namespace weft::report {

/// The colours of labels, in order of their first appearance; the ninth is the first again. They
/// can be told apart by colour-blind eyes (Okabe and Ito, 2008).
class WEFT_API LabelColours {
 public:
  /// The colour of a label, a new one where it has none yet.
  std::array<uint8_t, 3> of(const std::string& label);
  const std::vector<std::string>& labels() const { return labels_; }

  /// One SVG element: a square of each label's colour beside its name ("unnamed" where it is
  /// empty), for HtmlReport::figure(). Empty where there is no label.
  std::string legend() const;

 private:
  std::vector<std::string> labels_;
};

struct DrawOptions {
  int64_t thickness = 0;  ///< of lines, in pixels; 0 = the longer side / 200, 2 at least
};

/// The image with a frame for each box and a ringed dot for each point, in the colours of their
/// labels. Frames lie inside their boxes and are cut at the image's edge; names stand in the
/// legend:
///
///     LabelColours colours;
///     report.image(io::encode_png(draw_boxes(image, answer.boxes, answer.points, colours)), text);
///     report.figure(colours.legend());
WEFT_API io::Image draw_boxes(const io::Image& image, const std::vector<data::Box>& boxes,
                              const std::vector<data::Point>& points, LabelColours& colours,
                              const DrawOptions& options = {});

}  // namespace weft::report
