#pragma once

#include <map>
#include <string>

#include <weft/core/export.hpp>
#include <weft/core/json.hpp>
#include <weft/eval/features.hpp>

namespace weft::eval {

/// Sample key -> the wrong caption that its JSON holds under `name`, such as one with two colours
/// swapped. Error where no sample has one.
WEFT_API std::map<std::string, std::string> read_negatives(const std::string& shards,
                                                           const std::string& name);

/// How a model takes captions that hold the right words in the wrong places (Thrush et al., 2022,
/// Winoground):
///   image_to_text_r1  the share of images whose own wrong caption is the nearest among all wrong
///                     captions: high for a model that reads a bag of words
///   prefers_right     the share of images nearer to their first right caption than to the wrong
///                     one; chance is 0.5
/// Only images that have a wrong caption count. `rows` are embed()'s.
WEFT_API Json negatives(models::DualEncoderImpl& model, const tokenizers::Tokenizer& tokenizer,
                        const PairFeatures& pairs, const PairRows& rows,
                        const std::map<std::string, std::string>& wrong,
                        const FeatureOptions& options);

}  // namespace weft::eval
