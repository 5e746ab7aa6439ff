#include <algorithm>
#include <cmath>

#include <torch/types.h>

#include <weft/data/vlm_inputs.hpp>
#include <weft/eval/answer_report.hpp>
#include <weft/io/resize.hpp>
#include <weft/report/attention.hpp>
#include <weft/report/boxes.hpp>

namespace weft::eval {
namespace {

constexpr size_t kLookedAt = 97;  // questions that pictures are chosen from, about

bool is_right(const AskedQuestion& asked, const VisualAnswer& answer, bool yes_no) {
  const auto first = exact_form(asked.answers.front());
  if (yes_no && (first == "yes" || first == "no"))
    return pope_says_yes(answer.text) == (first == "yes");
  return std::ranges::any_of(asked.answers, [&](const auto& right) {
    return exact_form(right) == exact_form(answer.text);
  });
}

bool is_right(const SaidPlaces& places) {
  const auto &said = places.said.boxes, &expected = places.expected.boxes;
  return !said.empty() && !expected.empty() && data::iou(said.front(), expected.front()) >= 0.5;
}

/// `count` of all, evenly spread.
std::vector<size_t> spread(const std::vector<size_t>& all, size_t count) {
  std::vector<size_t> out;
  for (size_t i = 0; i < count; ++i) out.push_back(all[i * all.size() / count]);
  return out;
}

io::Image at_most(const io::Image& picture, int64_t side) {
  const auto longer = std::max(picture.width, picture.height);
  if (longer <= side) return picture;
  const auto scaled = [&](int64_t length) { return std::max<int64_t>(1, length * side / longer); };
  return io::resize(picture, scaled(picture.width), scaled(picture.height), io::Filter::bicubic);
}

}  // namespace

io::Image map_overlay(const io::Image& picture, const at::Tensor& map,
                      const vision::TilingOptions& tiling) {
  const auto side = static_cast<double>(tiling.view.size);
  const auto part = data::view_placement({picture.height, picture.width}, tiling)
                        .back(data::Box{.x2 = side, .y2 = side});
  const auto rounded = [](double value) { return static_cast<int64_t>(std::lround(value)); };
  const auto left = rounded(part.x1), top = rounded(part.y1);
  return report::attention_overlay(picture, map, 0.5,
                                   {.left = left,
                                    .top = top,
                                    .width = std::max<int64_t>(1, rounded(part.x2) - left),
                                    .height = std::max<int64_t>(1, rounded(part.y2) - top)});
}

void add_answers(report::HtmlReport& page, const AskedModel& model,
                 const std::vector<AskedQuestion>& asked, const std::vector<VisualAnswer>& answers,
                 const AnswerReportOptions& options) {
  TORCH_CHECK_VALUE(asked.size() == answers.size() && options.pictures >= 0,
                    "add_answers: expects an answer for each question, got ", answers.size(),
                    " for ", asked.size());
  auto vlm = model.folder.model;
  const auto shown = [&](size_t i) {  // what the model saw, if it saw one
    const auto& seen = asked[i].question.images;
    return (seen.empty() ? asked[i].images : seen).front();
  };
  const auto picture_of = [&](size_t i) { return model.source.image(shown(i)); };
  const auto places = [&](size_t i, const io::Image& picture) {
    return places_of(asked[i], answers[i].text, picture, *options.boxes);
  };
  std::vector<size_t> right, wrong;
  for (size_t i = 0; i < asked.size(); i += std::max<size_t>(1, asked.size() / kLookedAt)) {
    if (asked[i].images.empty() && asked[i].question.images.empty()) continue;
    const bool good = options.boxes ? is_right(places(i, picture_of(i)))
                                    : is_right(asked[i], answers[i], options.yes_no);
    (good ? right : wrong).push_back(i);
  }
  if (right.empty() && wrong.empty()) {
    page.paragraph("No question has a picture.");
    return;
  }
  const auto wanted = static_cast<size_t>(options.pictures);
  const auto rights =
      std::min(right.size(), std::max(wanted / 2, wanted - std::min(wanted, wrong.size())));
  const auto wrongs = std::min(wrong.size(), wanted - rights);
  page.paragraph(
      "What an answer rests on: how much the position that writes a token attends to each part of "
      "the picture, the mean over layers and heads, and over the answer's tokens. Bright is much; "
      "every map has its own scale.");
  report::LabelColours colours;
  const auto show = [&](size_t i, bool good) {
    auto picture = picture_of(i);
    const auto& said = answers[i];
    if (options.boxes) {
      const auto found = places(i, picture).said;
      picture = report::draw_boxes(picture, found.boxes, found.points, colours);
    }
    const auto verdict = good ? std::string("right") : "expected: " + asked[i].answers.front();
    std::vector<report::Picture> pair{{io::encode_png(at_most(picture, options.side)),
                                       asked[i].text + " " + said.text + " (" + verdict + ")"}};
    const auto maps = answer_maps(*vlm, model.encoder, asked[i].question, said.ids, model.read,
                                  model.features);  // [A, rows, columns]
    if (!maps.defined()) {
      page.pictures(pair);
      return;
    }
    const auto tiling = model.source.among_others(shown(i))
                            ? vision::among_others(model.folder.tiling)
                            : model.folder.tiling;
    const auto overlay = [&](const at::Tensor& map, int64_t side) {
      return io::encode_jpeg(map_overlay(at_most(picture, side), map, tiling));
    };
    pair.push_back({overlay(maps.mean(0), options.side), "what the answer rests on"});
    std::vector<report::Picture> tokens;
    for (int64_t k = 0; k < maps.size(0); ++k)
      tokens.push_back(
          {overlay(maps[k], options.token_side),
           model.encoder.tokenizer().decode({said.ids[static_cast<size_t>(k)]}, false)});
    page.pictures(pair).pictures(tokens, options.token_side, "each token of the answer");
  };
  for (const auto i : spread(right, rights)) show(i, true);
  for (const auto i : spread(wrong, wrongs)) show(i, false);
  if (std::ranges::any_of(colours.labels(), [](const auto& label) { return !label.empty(); }))
    page.figure(colours.legend());
}

}  // namespace weft::eval
