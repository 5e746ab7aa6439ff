#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <weft/core/export.hpp>

namespace weft::report {

/// Bytes as a data: address, so that a page needs no second file.
WEFT_API std::string data_uri(std::string_view mime, std::string_view bytes);

/// A text that was retrieved for an image.
struct RetrievedText {
  std::string text;
  double score = 0;
  bool correct = false;
};

/// An image beside the texts that a model ranks highest for it.
struct RetrievalExample {
  std::string key;
  std::string thumbnail;  ///< encoded JPEG or PNG bytes
  std::vector<std::string> captions = {};
  std::vector<RetrievedText> retrieved = {};
};

/// The bytes of a JPEG or PNG, and a line of text under it.
struct Picture {
  std::string bytes;
  std::string caption = {};
};

/// A report of one run as one HTML file: no script, no other file. All text is escaped.
class WEFT_API HtmlReport {
 public:
  explicit HtmlReport(const std::string& title);

  HtmlReport& heading(std::string_view text);
  HtmlReport& paragraph(std::string_view text);
  /// Rows as wide as the header.
  HtmlReport& table(const std::vector<std::string>& header,
                    const std::vector<std::vector<std::string>>& rows);
  HtmlReport& preformatted(std::string_view text);
  /// An SVG element, such as line_plot() returns.
  HtmlReport& figure(std::string_view svg);
  /// The bytes of a JPEG or PNG with a line of text under it.
  HtmlReport& image(std::string_view bytes, std::string_view caption);
  /// Pictures in rows, each `width` pixels wide (0 = as large as it is). With a `summary` that line
  /// stands in their place until it is clicked.
  HtmlReport& pictures(const std::vector<Picture>& pictures, int64_t width = 0,
                       std::string_view summary = "");
  HtmlReport& retrieval(const std::vector<RetrievalExample>& examples);

  /// Whole or absent.
  void write(const std::filesystem::path& path) const;

 private:
  std::string title_, body_;
};

}  // namespace weft::report
