#pragma once

#include "tokenizers/components.hpp"

namespace weft::tokenizers {

/// NFC.
class NfcNormalizer final : public Normalizer {
 public:
  void apply(Text& text) const override;
};

/// Replace of the pattern \s+ by one space.
class WhiteSpaceNormalizer final : public Normalizer {
 public:
  void apply(Text& text) const override;
};

class LowercaseNormalizer final : public Normalizer {
 public:
  void apply(Text& text) const override;
};

class NormalizerSequence final : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> parts)
      : parts_(std::move(parts)) {}
  void apply(Text& text) const override {
    for (const auto& part : parts_) part->apply(text);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

}  // namespace weft::tokenizers
