#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include <ATen/ops/cat.h>
#include <ATen/ops/mm.h>
#include <torch/types.h>

#include <weft/eval/attention_maps.hpp>
#include <weft/eval/clip_report.hpp>
#include <weft/eval/retrieval.hpp>
#include <weft/io/image.hpp>
#include <weft/report/attention.hpp>
#include <weft/report/embeddings.hpp>
#include <weft/report/heat_map.hpp>
#include <weft/report/run_log.hpp>
#include <weft/report/svg_plot.hpp>

namespace weft::eval {
namespace {

/// pixels [3, S, S] uint8.
io::Image image_of(const at::Tensor& pixels) {
  const auto rows = pixels.permute({1, 2, 0}).contiguous();  // [S, S, 3]
  const auto* bytes = rows.const_data_ptr<uint8_t>();
  return {rows.size(1), rows.size(0), {bytes, bytes + rows.numel()}};
}

/// Two images of one height as one.
io::Image beside(const io::Image& left, const io::Image& right) {
  io::Image out{left.width + right.width, left.height, {}};
  for (int64_t y = 0; y < left.height; ++y)
    for (const auto* part : {&left, &right})
      out.rgb.insert(out.rgb.end(), part->rgb.begin() + 3 * part->width * y,
                     part->rgb.begin() + 3 * part->width * (y + 1));
  return out;
}

std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

std::vector<std::vector<double>> table_of(const at::Tensor& matrix) {
  const auto x = matrix.detach().to(at::kCPU, at::kDouble).contiguous();
  std::vector<std::vector<double>> out;
  for (int64_t r = 0; r < x.size(0); ++r) {
    const auto* row = x.const_data_ptr<double>() + r * x.size(1);
    out.emplace_back(row, row + x.size(1));
  }
  return out;
}

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
    report::RetrievalExample example{.key = pairs.keys[i],
                                     .thumbnail = io::encode_jpeg(image_of(pixels[i]))};
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

void add_space_figures(report::HtmlReport& page, const PairRows& rows, const PairFeatures& pairs,
                       int64_t limit) {
  const auto owner = pairs.owner.cpu().contiguous();
  std::vector<int64_t> images, texts;  // an image and its first caption
  std::vector<std::string> keys, captions;
  for (int64_t t = 0; t < owner.numel() && static_cast<int64_t>(images.size()) < limit; ++t) {
    const auto image = owner.const_data_ptr<int64_t>()[t];
    if (!images.empty() && images.back() == image) continue;
    images.push_back(image);
    texts.push_back(t);
    keys.push_back(pairs.keys[image]);
    captions.push_back(pairs.captions[t]);
  }
  const auto chosen = [](const at::Tensor& all, const std::vector<int64_t>& index) {
    return all.index_select(0, at::tensor(index, at::kLong).to(all.device()));
  };
  page.heading("The shared space");
  page.figure(report::heat_map(
      table_of(at::mm(chosen(rows.image, images), chosen(rows.text, texts).t())), keys, captions,
      {.title = "cosines", .row_label = "images", .column_label = "their first captions"}));

  const auto directions = report::pca(at::cat({rows.image, rows.text}), 2);
  const auto cloud = [&](const char* name, const at::Tensor& all) {
    const auto xy = directions.project(all).t().contiguous();  // [k, N]
    const auto* x = xy.const_data_ptr<double>();
    const auto* y = x + (xy.size(0) > 1 ? xy.size(1) : 0);
    return report::Series{name, {x, x + xy.size(1)}, {y, y + xy.size(1)}};
  };
  page.figure(report::scatter_plot({cloud("images", rows.image), cloud("texts", rows.text)},
                                   {.title = "principal components of both modalities",
                                    .x_label = "first",
                                    .y_label = "second",
                                    .height = 420}));
  page.paragraph(fmt::format(
      "Distance of the modalities' means: {:.3f}. The two components hold {:.1f} % of the "
      "variance.",
      report::modality_gap(rows.image, rows.text),
      100 * directions.variance.sum().item<double>() / std::max(directions.total, 1e-300)));
}

void add_classification(report::HtmlReport& page, const ClassificationResult& result,
                        const std::vector<std::string>& names) {
  page.table({"top-1", "top-5", "mean per-class recall", "images"},
             {{percent(result.top1), percent(result.top5), percent(result.mean_per_class_recall),
               std::to_string(result.samples)}});
  if (result.recall.size() > 100) return;
  auto classes = names;
  if (classes.empty())
    for (size_t c = 0; c < result.recall.size(); ++c) classes.push_back(std::to_string(c));
  const auto counts = result.confusion.to(at::kDouble);
  page.figure(report::heat_map(table_of(counts / counts.sum(1, /*keepdim=*/true)), classes, classes,
                               {.title = "confusion",
                                .row_label = "classes",
                                .column_label = "taken for",
                                .low = 0,
                                .high = 1}));
}

void add_curves(report::HtmlReport& page, const std::vector<report::StepMetrics>& metrics) {
  const auto draw = [&](const char* title, auto&& value, bool log_y = false) {
    report::Series series{"", {}, {}};
    for (const auto& line : metrics)
      if (const std::optional<double> y = value(line))
        series.x.push_back(static_cast<double>(line.step)), series.y.push_back(*y);
    if (!series.x.empty())
      page.figure(report::line_plot({series}, {.title = title, .x_label = "step", .log_y = log_y}));
  };
  const auto extra = [](const char* name) {
    return [name](const report::StepMetrics& line) -> std::optional<double> {
      for (const auto& [key, value] : line.extra)
        if (key == name) return value;
      return std::nullopt;
    };
  };
  draw("loss", [](const auto& line) { return std::optional(line.loss); });
  draw("accuracy of the batch", extra("accuracy"));
  draw("learning rate", [](const auto& line) { return std::optional(line.lr); });
  draw("logit scale, exp(tau)", extra("logit_scale"));
  draw("temperature, exp(-tau)", [scale = extra("logit_scale")](const auto& line) {
    const auto value = scale(line);
    return value ? std::optional(1 / *value) : std::nullopt;
  });
  draw(
      "gradient norm", [](const auto& line) { return std::optional(line.grad_norm); }, true);
  draw("samples per second",
       [](const auto& line) { return std::optional(line.samples_per_second); });
  draw("distance of the modalities' means", extra("modality_gap"));
}

void write_training_report(const std::filesystem::path& run, const std::string& title,
                           const Json& result, const Json& config) {
  report::HtmlReport page(title + ": " + run.filename().string());
  page.heading("Curves");
  add_curves(page, report::read_metrics(run));
  page.heading("Result").preformatted(result.dump(2));
  page.heading("Configuration").preformatted(config.dump(2));
  page.write(run / "report.html");
}

void add_attention(report::HtmlReport& page, Encoder& encoder, const at::Tensor& pixels,
                   nn::Pooling pooling) {
  if (encoder.info().patch_size == 0) return;
  page.heading("Where the image tower looks");
  page.paragraph(
      "Attention rollout (Abnar and Zuidema, 2020) from the image's vector to its patches; bright "
      "is much.");
  const auto device = encoder.parameters().front().device();
  const auto maps = attention_maps(encoder, pixels.to(device), pooling).cpu();
  for (int64_t i = 0; i < pixels.size(0); ++i) {
    const auto seen = image_of(pixels[i]);
    const auto overlay = report::attention_overlay(seen, maps[i]);
    page.image(io::encode_jpeg(beside(seen, overlay)), fmt::format("image {}", i + 1));
  }
}

std::filesystem::path write_clip_report(const std::filesystem::path& run,
                                        models::DualEncoderImpl& model, const Json& result,
                                        const Json& config, const SplitView& split) {
  report::HtmlReport page("Contrastive training: " + run.filename().string());
  if (result.contains("image_to_text")) {
    page.heading("Retrieval");
    std::vector<std::vector<std::string>> cells;
    for (const auto* way : {"image_to_text", "text_to_image"}) {
      const auto recall = result.at(way);
      cells.push_back({way, percent(recall.at("r1").as_double()),
                       percent(recall.at("r5").as_double()),
                       percent(recall.at("r10").as_double())});
    }
    page.table({"", "R@1", "R@5", "R@10"}, cells);
  }
  if (result.contains("swapped")) {
    page.heading("Captions with their colours swapped");
    std::vector<std::vector<std::string>> cells;
    for (const auto& key : result.at("swapped").keys())
      cells.push_back({key, percent(result.at("swapped").at(key).as_double())});
    page.table({"", "share of images"}, cells);
  }
  page.heading("Curves");
  add_curves(page, report::read_metrics(run));
  if (split.rows.image.defined()) {
    add_space_figures(page, split.rows, split.pairs);
    if (split.pixels.defined())
      page.heading("Retrieved captions")
          .retrieval(
              retrieval_examples(split.rows.image, split.rows.text, split.pairs, split.pixels));
  }
  if (split.pixels.defined())
    add_attention(page, *model.image,
                  split.pixels.narrow(0, 0, std::min<int64_t>(6, split.pixels.size(0))),
                  model.options.image_pool);
  page.heading("Seconds").preformatted(result.get("seconds").dump(2));
  page.heading("Configuration").preformatted(config.dump(2));
  const auto path = run / "report.html";
  page.write(path);
  return path;
}

}  // namespace weft::eval
