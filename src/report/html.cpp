#include <fmt/format.h>

#include <weft/core/error.hpp>
#include <weft/io/file.hpp>
#include <weft/report/html.hpp>

#include "core/fail.hpp"
#include "report/escape.hpp"

namespace weft::report {
namespace {

constexpr std::string_view kStyle = R"(
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #222; }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2rem; border-bottom: 1px solid #ddd }
table { border-collapse: collapse } td, th { border: 1px solid #ddd; padding: .25rem .6rem; text-align: left }
th { background: #f4f4f4 } pre { background: #f6f6f6; padding: .8rem; overflow-x: auto }
figure { margin: 1rem 0; display: inline-block }
.pictures { display: flex; flex-wrap: wrap; gap: .8rem; margin: .8rem 0 } .pictures figure { margin: 0 }
.pictures figcaption { max-width: 28rem; overflow-wrap: anywhere }
.example { display: flex; gap: 1rem; margin: .8rem 0 } .example img { width: 128px; height: auto; image-rendering: auto }
.example ol { margin: 0; padding-left: 1.4rem } .hit { color: #0a7a2f; font-weight: 600 } .key { color: #777; font-size: .85rem }
)";

std::string_view mime_of(std::string_view bytes) {
  return bytes.substr(0, 4) == "\x89PNG" ? "image/png" : "image/jpeg";
}

/// `size`: more attributes of the image.
std::string figure_of(std::string_view bytes, std::string_view caption, std::string_view size) {
  return fmt::format(
      "<figure><img alt=\"{0}\" src=\"{1}\"{2}><figcaption>{0}</figcaption></figure>\n",
      escape(caption), data_uri(mime_of(bytes), bytes), size);
}

}  // namespace

std::string data_uri(std::string_view mime, std::string_view bytes) {
  static constexpr char kAlphabet[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out = fmt::format("data:{};base64,", mime);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t left = bytes.size() - i;
    const auto byte = [&](size_t j) {
      return j < left ? static_cast<unsigned char>(bytes[i + j]) : 0u;
    };
    const unsigned group = byte(0) << 16 | byte(1) << 8 | byte(2);
    out += kAlphabet[group >> 18];
    out += kAlphabet[group >> 12 & 63];
    out += left > 1 ? kAlphabet[group >> 6 & 63] : '=';
    out += left > 2 ? kAlphabet[group & 63] : '=';
  }
  return out;
}

HtmlReport::HtmlReport(const std::string& title) : title_(escape(title)) {}

HtmlReport& HtmlReport::heading(std::string_view text) {
  body_ += fmt::format("<h2>{}</h2>\n", escape(text));
  return *this;
}

HtmlReport& HtmlReport::paragraph(std::string_view text) {
  body_ += fmt::format("<p>{}</p>\n", escape(text));
  return *this;
}

HtmlReport& HtmlReport::table(const std::vector<std::string>& header,
                              const std::vector<std::vector<std::string>>& rows) {
  body_ += "<table><tr>";
  for (const auto& cell : header) body_ += fmt::format("<th>{}</th>", escape(cell));
  body_ += "</tr>\n";
  for (const auto& row : rows) {
    if (row.size() != header.size())
      fail("report '{}': a table row has {} cells, its header {}", title_, row.size(),
           header.size());
    body_ += "<tr>";
    for (const auto& cell : row) body_ += fmt::format("<td>{}</td>", escape(cell));
    body_ += "</tr>\n";
  }
  body_ += "</table>\n";
  return *this;
}

HtmlReport& HtmlReport::preformatted(std::string_view text) {
  body_ += fmt::format("<pre>{}</pre>\n", escape(text));
  return *this;
}

HtmlReport& HtmlReport::figure(std::string_view svg) {
  body_ += fmt::format("<figure>{}</figure>\n", svg);
  return *this;
}

HtmlReport& HtmlReport::image(std::string_view bytes, std::string_view caption) {
  body_ += figure_of(bytes, caption, "");
  return *this;
}

HtmlReport& HtmlReport::pictures(const std::vector<Picture>& pictures, int64_t width,
                                 std::string_view summary) {
  if (!summary.empty()) body_ += fmt::format("<details><summary>{}</summary>\n", escape(summary));
  const auto size = width > 0 ? fmt::format(" width=\"{}\"", width) : std::string();
  body_ += "<div class=\"pictures\">\n";
  for (const auto& picture : pictures) body_ += figure_of(picture.bytes, picture.caption, size);
  body_ += summary.empty() ? "</div>\n" : "</div></details>\n";
  return *this;
}

HtmlReport& HtmlReport::retrieval(const std::vector<RetrievalExample>& examples) {
  for (const auto& example : examples) {
    body_ += fmt::format(
        "<div class=\"example\"><div><img alt=\"{0}\" src=\"{1}\"><div "
        "class=\"key\">{0}</div></div><div>",
        escape(example.key), data_uri(mime_of(example.thumbnail), example.thumbnail));
    for (const auto& caption : example.captions)
      body_ += fmt::format("<div class=\"key\">{}</div>", escape(caption));
    body_ += "<ol>";
    for (const auto& text : example.retrieved)
      body_ += fmt::format("<li class=\"{}\">{} <span class=\"key\">{:.3f}</span></li>",
                           text.correct ? "hit" : "miss", escape(text.text), text.score);
    body_ += "</ol></div></div>\n";
  }
  return *this;
}

void HtmlReport::write(const std::filesystem::path& path) const {
  io::write_file(
      path,
      fmt::format(
          "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title>"
          "<style>{1}</style></head>\n<body><h1>{0}</h1>\n{2}</body></html>\n",
          title_, kStyle, body_));
}

}  // namespace weft::report
