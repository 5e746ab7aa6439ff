#include <algorithm>
#include <cmath>
#include <unordered_map>

#include <c10/util/Exception.h>

#include <weft/eval/captions.hpp>

#include "tokenizers/python_text.hpp"

namespace weft::eval {
namespace {

constexpr size_t kOrders = 4;
constexpr double kSigma = 6, kBeta = 1.2;
constexpr double kTiny = 1e-15, kSmall = 1e-9;

using Words = std::vector<std::string>;
using Counts = std::unordered_map<std::string, double>;  // words of an n-gram behind each other

struct Caption {
  Words words;
  std::array<Counts, kOrders> grams;
};

Caption caption_of(const std::string& text, bool tokenize) {
  Caption out{tokenize ? caption_words(text) : tokenizers::python_split(text), {}};
  for (size_t n = 0; n < kOrders; ++n) {
    for (size_t begin = 0; begin + n < out.words.size(); ++begin) {
      std::string gram;
      // No word holds white space.
      for (size_t i = begin; i <= begin + n; ++i) gram += out.words[i] + ' ';
      ++out.grams[n][gram];
    }
  }
  return out;
}

struct CaptionedImage {
  Caption caption;
  std::vector<Caption> references;
};

std::array<double, kOrders> corpus_bleu(const std::vector<CaptionedImage>& images) {
  std::array<double, kOrders> matches{}, counts{};
  double length = 0, reference_length = 0;
  for (const auto& [caption, references] : images) {
    const auto own = static_cast<double>(caption.words.size());
    std::pair<double, double> closest{INFINITY, INFINITY};
    for (const auto& reference : references) {
      const auto other = static_cast<double>(reference.words.size());
      closest = std::min(closest, {std::abs(other - own), other});
    }
    length += own;
    reference_length += closest.second;
    for (size_t n = 0; n < kOrders; ++n) {
      counts[n] += std::max(0.0, own - static_cast<double>(n));
      for (const auto& [gram, count] : caption.grams[n]) {
        double most = 0;
        for (const auto& reference : references)
          if (const auto found = reference.grams[n].find(gram); found != reference.grams[n].end())
            most = std::max(most, found->second);
        matches[n] += std::min(most, count);
      }
    }
  }
  const auto ratio = (length + kTiny) / (reference_length + kSmall);
  std::array<double, kOrders> out{};
  double product = 1;
  for (size_t n = 0; n < kOrders; ++n) {
    product *= (matches[n] + kTiny) / (counts[n] + kSmall);
    out[n] = std::pow(product, 1 / static_cast<double>(n + 1));
    if (ratio < 1) out[n] *= std::exp(1 - 1 / ratio);
  }
  return out;
}

int64_t longest_common(const Words& a, const Words& b) {
  std::vector<int64_t> row(b.size() + 1, 0);
  for (const auto& word : a) {
    int64_t diagonal = 0;
    for (size_t i = 0; i < b.size(); ++i) {
      const auto above = row[i + 1];
      row[i + 1] = word == b[i] ? diagonal + 1 : std::max(above, row[i]);
      diagonal = above;
    }
  }
  return row.back();
}

double rouge_l_of(const CaptionedImage& image) {
  double precision = 0, recall = 0;
  const auto size = [](const Caption& c) {
    return static_cast<double>(std::max<size_t>(c.words.size(), 1));
  };
  for (const auto& reference : image.references) {
    const auto common = static_cast<double>(longest_common(reference.words, image.caption.words));
    precision = std::max(precision, common / size(image.caption));
    recall = std::max(recall, common / size(reference));
  }
  if (precision == 0 || recall == 0) return 0;
  return (1 + kBeta * kBeta) * precision * recall / (recall + kBeta * kBeta * precision);
}

/// Weights of the n-grams of one order, and their length.
struct Weighted {
  Counts weights;
  double norm = 0;
};

class Cider {
 public:
  explicit Cider(const std::vector<CaptionedImage>& images)
      : log_images_(std::log(static_cast<double>(images.size()))) {
    for (const auto& image : images) {
      for (size_t n = 0; n < kOrders; ++n) {
        Counts once;
        for (const auto& reference : image.references)
          for (const auto& [gram, count] : reference.grams[n]) once[gram] = 1;
        for (const auto& [gram, one] : once) frequency_[n][gram] += one;
      }
    }
  }

  double operator()(const CaptionedImage& image) const {
    const auto own = weigh(image.caption);
    double sum = 0;
    for (const auto& reference : image.references) {
      const auto other = weigh(reference);
      const auto delta = bigrams(image.caption) - bigrams(reference);
      const auto penalty = std::exp(-delta * delta / (2 * kSigma * kSigma));
      for (size_t n = 0; n < kOrders; ++n) {
        double product = 0;
        for (const auto& [gram, weight] : own[n].weights)
          if (const auto found = other[n].weights.find(gram); found != other[n].weights.end())
            product += std::min(weight, found->second) * found->second;
        if (own[n].norm != 0 && other[n].norm != 0) product /= own[n].norm * other[n].norm;
        sum += product * penalty;
      }
    }
    return 10 * sum / static_cast<double>(kOrders) / static_cast<double>(image.references.size());
  }

 private:
  static double bigrams(const Caption& caption) {
    return static_cast<double>(std::max<size_t>(caption.words.size(), 1) - 1);
  }

  std::array<Weighted, kOrders> weigh(const Caption& caption) const {
    std::array<Weighted, kOrders> out;
    for (size_t n = 0; n < kOrders; ++n) {
      for (const auto& [gram, count] : caption.grams[n]) {
        const auto found = frequency_[n].find(gram);
        const auto documents = found == frequency_[n].end() ? 1.0 : found->second;
        const auto weight = count * (log_images_ - std::log(documents));
        out[n].weights[gram] = weight;
        out[n].norm += weight * weight;
      }
      out[n].norm = std::sqrt(out[n].norm);
    }
    return out;
  }

  double log_images_;
  std::array<Counts, kOrders> frequency_;
};

double mean_score(const std::vector<double>& values) {
  double sum = 0;
  for (const auto value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

}  // namespace

CaptionScores caption_scores(const std::vector<std::string>& captions,
                             const std::vector<std::vector<std::string>>& references,
                             const CaptionOptions& options) {
  TORCH_CHECK_VALUE(!captions.empty() && captions.size() == references.size(),
                    "caption_scores: expects a caption and its references for each image, got ",
                    captions.size(), " captions and ", references.size(), " lists");
  std::vector<CaptionedImage> images;
  for (size_t i = 0; i < captions.size(); ++i) {
    TORCH_CHECK_VALUE(!references[i].empty(), "caption_scores: image ", i, " has no reference");
    auto& image =
        images.emplace_back(CaptionedImage{caption_of(captions[i], options.tokenize), {}});
    for (const auto& reference : references[i])
      image.references.push_back(caption_of(reference, options.tokenize));
  }
  CaptionScores out;
  out.samples = static_cast<int64_t>(images.size());
  out.bleu = corpus_bleu(images);
  const Cider cider(images);
  for (const auto& image : images) {
    out.sample_rouge_l.push_back(rouge_l_of(image));
    out.sample_cider.push_back(cider(image));
  }
  out.rouge_l = mean_score(out.sample_rouge_l);
  out.cider = mean_score(out.sample_cider);
  return out;
}

Json CaptionScores::json() const {
  auto out = Json::object();
  for (size_t n = 0; n < bleu.size(); ++n) out.set("bleu" + std::to_string(n + 1), bleu[n]);
  return out.set("rouge_l", rouge_l).set("cider", cider).set("samples", samples);
}

}  // namespace weft::eval
