#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <weft/report/html.hpp>
#include <weft/report/svg_plot.hpp>

#include "support/gmock.hpp"

namespace html_test {

using namespace weft::test;

TEST(DataUri, FollowsRfc4648) {
  using weft::report::data_uri;
  // The RFC's own test vectors, section 10.
  EXPECT_EQ(data_uri("a/b", ""), "data:a/b;base64,");
  EXPECT_EQ(data_uri("a/b", "f"), "data:a/b;base64,Zg==");
  EXPECT_EQ(data_uri("a/b", "fo"), "data:a/b;base64,Zm8=");
  EXPECT_EQ(data_uri("a/b", "foobar"), "data:a/b;base64,Zm9vYmFy");
}

TEST(HtmlReport, IsOneFileWithEscapedText) {
  const auto path = std::filesystem::temp_directory_path() / "weft_html_test.html";
  weft::report::HtmlReport report("a < b");
  report.heading("<script>").table({"k", "v"}, {{"r1", "0.5 & more"}});
  report.retrieval({{.key = "img",
                     .thumbnail = "\x89PNG",
                     .captions = {"a dog"},
                     .retrieved = {{"a \"cat\"", 0.25, false}, {"a dog", 0.2, true}}}});
  report.image("\x89PNG", "a \"map\"");
  report.pictures({{"\x89PNG", "first"}, {"\xFF\xD8", "a & b"}}, 96, "all < of them");
  report.write(path);
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  std::filesystem::remove(path);
  EXPECT_THAT(text.str(), HasSubstr("<title>a &lt; b</title>"));
  EXPECT_THAT(text.str(), Not(HasSubstr("<script>")));
  EXPECT_THAT(text.str(), HasSubstr("0.5 &amp; more"));
  EXPECT_THAT(text.str(), HasSubstr("data:image/png;base64,iVBORw=="));
  EXPECT_THAT(text.str(), HasSubstr("<figcaption>a &quot;map&quot;</figcaption>"));
  EXPECT_THAT(text.str(), HasSubstr("<li class=\"hit\">a dog"));
  EXPECT_THAT(text.str(), HasSubstr("<details><summary>all &lt; of them</summary>"));
  EXPECT_THAT(text.str(), HasSubstr("data:image/jpeg;base64,/9g=\" width=\"96\">"));
  EXPECT_THAT(text.str(),
              HasSubstr("<figcaption>a &amp; b</figcaption></figure>\n</div></details>"));
  EXPECT_THAT(
      [&] {
        report.table({"one"}, {{"1", "2"}});
      },
      ThrowsMessage<weft::Error>(HasSubstr("a table row has 2 cells, its header 1")));
}

TEST(LinePlot, BreaksAtNonFinitePointsAndThinsLongLines) {
  weft::report::Series series{"loss", {0, 1, 2, 3}, {1, NAN, 0.5, 0.25}};
  const auto svg = weft::report::line_plot({series}, {.title = "a & b"});
  EXPECT_THAT(svg, HasSubstr("a &amp; b"));
  const auto path = svg.substr(svg.find("<path d=\""));
  EXPECT_EQ(std::count(path.begin(), path.begin() + path.find("fill"), 'M'), 2);
  series = {"long", {}, {}};
  for (int i = 0; i < 100'000; ++i) series.x.push_back(i), series.y.push_back(i % 7);
  EXPECT_LT(weft::report::line_plot({series}, {}).size(), 30'000u);
  EXPECT_THAT(weft::report::line_plot({}, {.log_y = true}), HasSubstr("</svg>"));
}

}  // namespace html_test
