#include <vector>

#include <ATen/ops/cat.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <weft/data/labels.hpp>
#include <weft/eval/classify.hpp>

#include "eval/chunks.hpp"
#include "eval/eval_mode.hpp"

namespace weft::eval {

ClassificationResult classify(models::ImageClassifierImpl& model, data::ImageTextLoader& loader,
                              const FeatureOptions& options, report::Stages& stages) {
  const EvalMode eval(model);
  ClassCounts counts(model.options.num_classes);
  std::vector<at::Tensor> labels;  // of the chunk
  for_each_chunk(
      loader, options, stages,
      [&](data::ImageTextBatch& batch) {
        data::check_labels(batch, model.options.num_classes);
        labels.push_back(batch.labels);
      },
      [&](const at::Tensor& pixels, const FeatureOptions& shifted) {
        const auto logits = encode_images(
            *model.encoder, [&](const EncoderInput& input) { return model.forward(input); }, pixels,
            shifted);
        counts.add(logits, at::cat(labels));
        labels.clear();
        stages.lap("classify");
      });
  return counts.result();
}

}  // namespace weft::eval
