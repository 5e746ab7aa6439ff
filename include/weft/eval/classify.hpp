#pragma once

#include <weft/core/export.hpp>
#include <weft/data/image_text.hpp>
#include <weft/eval/classification.hpp>
#include <weft/eval/features.hpp>
#include <weft/models/image_classifier.hpp>
#include <weft/report/stages.hpp>

namespace weft::eval {

/// One epoch of a loader with needs_label through a classifier in evaluation mode, chunk by chunk;
/// load and classify are timed in `stages`. A label that the model has no class for is an Error
/// that names the sample; so is a loader of which nothing remains.
WEFT_API ClassificationResult classify(models::ImageClassifierImpl& model,
                                       data::ImageTextLoader& loader, const FeatureOptions& options,
                                       report::Stages& stages);

}  // namespace weft::eval
