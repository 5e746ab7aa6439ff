#include <fmt/format.h>

#include <ATen/ops/mm.h>
#include <torch/types.h>

#include <weft/eval/clip_report.hpp>
#include <weft/eval/retrieval.hpp>
#include <weft/io/image.hpp>
#include <weft/report/run_log.hpp>
#include <weft/report/svg_plot.hpp>

namespace weft::eval {
namespace {

/// pixels [3, S, S] uint8 -> an encoded image.
std::string thumbnail(const at::Tensor& pixels) {
  const auto rows = pixels.permute({1, 2, 0}).contiguous();  // [S, S, 3]
  const auto* bytes = rows.data_ptr<uint8_t>();
  return io::encode_jpeg({rows.size(1), rows.size(0), {bytes, bytes + rows.numel()}});
}

std::string percent(const Json& value) { return fmt::format("{:.1f} %", 100 * value.as_double()); }

}  // namespace

std::vector<report::RetrievalExample> retrieval_examples(const at::Tensor& image,
                                                         const at::Tensor& text,
                                                         const PairFeatures& pairs,
                                                         const at::Tensor& pixels, int64_t top) {
  const auto count = std::min(pixels.size(0), image.size(0));
  const auto found = top_k(image.narrow(0, 0, count), text, top).cpu();  // [K, top]
  const auto scores = at::mm(image.narrow(0, 0, count), text.t()).cpu();
  const auto owner = pairs.owner.contiguous();
  std::vector<report::RetrievalExample> out;
  int64_t caption = 0;
  for (int64_t i = 0; i < count; ++i) {
    report::RetrievalExample example{.key = pairs.keys[i], .thumbnail = thumbnail(pixels[i])};
    for (; caption < owner.numel() && owner.data_ptr<int64_t>()[caption] <= i; ++caption)
      if (owner.data_ptr<int64_t>()[caption] == i)
        example.captions.push_back(pairs.captions[caption]);
    for (int64_t j = 0; j < found.size(1); ++j) {
      const auto which = found[i][j].item<int64_t>();
      example.retrieved.push_back({pairs.captions[which], scores[i][which].item<double>(),
                                   owner.data_ptr<int64_t>()[which] == i});
    }
    out.push_back(std::move(example));
  }
  return out;
}

std::filesystem::path write_clip_report(const std::filesystem::path& run, const Json& result,
                                        const Json& config,
                                        const std::vector<report::RetrievalExample>& examples) {
  report::HtmlReport page("Contrastive training: " + run.filename().string());
  if (result.contains("image_to_text")) {
    page.heading("Retrieval");
    std::vector<std::vector<std::string>> rows;
    for (const auto* way : {"image_to_text", "text_to_image"}) {
      const auto recall = result.at(way);
      rows.push_back(
          {way, percent(recall.at("r1")), percent(recall.at("r5")), percent(recall.at("r10"))});
    }
    page.table({"", "R@1", "R@5", "R@10"}, rows);
  }
  if (result.contains("swapped")) {
    page.heading("Captions with their colours swapped");
    std::vector<std::vector<std::string>> rows;
    for (const auto& key : result.at("swapped").keys())
      rows.push_back({key, percent(result.at("swapped").at(key))});
    page.table({"", "share of images"}, rows);
  }
  const auto metrics = report::read_metrics(run);
  report::Series loss{"loss", {}, {}}, rate{"", {}, {}}, lr{"", {}, {}}, norm{"", {}, {}},
      scale{"", {}, {}};
  for (const auto& line : metrics) {
    const auto step = static_cast<double>(line.step);
    for (auto* series : {&loss, &rate, &lr, &norm}) series->x.push_back(step);
    loss.y.push_back(line.loss);
    rate.y.push_back(line.samples_per_second);
    lr.y.push_back(line.lr);
    norm.y.push_back(line.grad_norm);
    for (const auto& [name, value] : line.extra)
      if (name == "logit_scale") scale.x.push_back(step), scale.y.push_back(value);
  }
  page.heading("Curves");
  page.figure(report::line_plot({loss}, {.title = "loss", .x_label = "step"}));
  page.figure(report::line_plot({lr}, {.title = "learning rate", .x_label = "step"}));
  page.figure(report::line_plot({scale}, {.title = "logit scale, exp(tau)", .x_label = "step"}));
  page.figure(
      report::line_plot({norm}, {.title = "gradient norm", .x_label = "step", .log_y = true}));
  page.figure(report::line_plot({rate}, {.title = "samples per second", .x_label = "step"}));
  if (!examples.empty()) page.heading("Retrieved captions").retrieval(examples);
  page.heading("Seconds").preformatted(result.get("seconds").dump(2));
  page.heading("Configuration").preformatted(config.dump(2));
  const auto path = run / "report.html";
  page.write(path);
  return path;
}

}  // namespace weft::eval
