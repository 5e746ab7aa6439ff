#pragma once

#include "tokenizers/normal_forms.hpp"
#include "tokenizers/regex.hpp"

namespace weft::tokenizers {

/// NFC, NFD, NFKC or NFKD.
class FormNormalizer final : public Normalizer {
 public:
  explicit FormNormalizer(Form form) : form_(form) {}
  void apply(Text& text) const override;

 private:
  Form form_;
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

/// Combining marks out.
class StripAccentsNormalizer final : public Normalizer {
 public:
  void apply(Text& text) const override;
};

/// White space at the ends out.
class StripNormalizer final : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}
  void apply(Text& text) const override;

 private:
  bool left_, right_;
};

/// Control characters out, other white space to ' ' (the rules of SentencePiece's nmt).
class NmtNormalizer final : public Normalizer {
 public:
  void apply(Text& text) const override;
};

/// Something in front of every text that is not empty.
class PrependNormalizer final : public Normalizer {
 public:
  explicit PrependNormalizer(std::string front) : front_(std::move(front)) {}
  void apply(Text& text) const override;

 private:
  std::string front_;
};

/// Every occurrence of a string by another. What is put in is counted at the last character of what
/// it stands for.
class ReplaceNormalizer final : public Normalizer {
 public:
  ReplaceNormalizer(std::string pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(Text& text) const override;

 private:
  std::string pattern_, content_;
};

/// The same of a regular expression.
class RegexNormalizer final : public Normalizer {
 public:
  RegexNormalizer(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(Text& text) const override;

 private:
  Regex pattern_;
  std::string content_;
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
