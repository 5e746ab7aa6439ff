#include "tokenizers/siglip.hpp"

#include <algorithm>

#include <weft/io/file.hpp>

#include "core/fail.hpp"
#include "tokenizers/documents.hpp"
#include "tokenizers/padding.hpp"
#include "tokenizers/python_unicode.hpp"
#include "tokenizers/spm.hpp"

namespace weft::tokenizers {
namespace {

constexpr char32_t kMark = 0x2581;

bool is_ascii_punctuation(char32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
         (c >= '{' && c <= '~');
}

class Canonical final : public Normalizer {
 public:
  Canonical(const SpmFile& model, bool lower, const Where& where)
      : rules_(model, where, true), lower_(lower) {}

  void apply(Text& text) const override {
    static thread_local Chars chars;
    read_chars(text, chars);
    for (auto& c : chars)
      if (c.code == kMark) c.code = ' ';
    // The mark stands in front of the whole input, white space that it begins with included.
    if (text.at_start)
      chars.insert(chars.begin(), {kMark, chars.empty() ? Offset{} : chars[0].from});
    if (lower_) python_lower(chars);
    std::erase_if(chars, [](const Char& c) { return is_ascii_punctuation(c.code); });
    // python_join_words takes separators as white space too, as \s and strip() of Python do.
    python_join_words(chars);
    write_chars(chars, text);
    rules_.apply(text);
  }

 private:
  SpmNormalizer rules_;
  bool lower_;
};

PipelineParts parts_of(SpmFile model, const json& config, const std::string& file) {
  const Where where{file, "tokenizer_config.json"};
  if (model.model != SpmFile::unigram)
    fail("{}: SiglipTokenizer asks for a unigram model, found BPE", file);
  if (!flag(config, "legacy", true, where)) fail_unsupported(where.at("legacy"), "false");
  model.normalizer.add_dummy_prefix = false;
  PipelineParts parts;
  parts.normalizer =
      std::make_unique<Canonical>(model, flag(config, "do_lower_case", true, where), where);
  model.normalizer.add_dummy_prefix = true;  // decoding takes the mark off the front
  parts.decoder = std::make_unique<SpmDecoder>(model, where);
  const auto special = [&](const char* key) {
    const auto given = config.contains(key) ? token_content(config[key]) : std::string();
    const auto name = !given.empty()                         ? given
                      : key == std::string_view("unk_token") ? "<unk>"
                                                             : "</s>";
    const auto found = std::ranges::find(model.pieces, name, &SpmPiece::piece);
    if (found == model.pieces.end()) fail("{}: the {} '{}' is no piece of it", file, key, name);
    const auto id = found - model.pieces.begin();
    parts.added.push_back(
        {.id = id, .content = name, .lstrip = true, .rstrip = true, .special = true});
    return id;
  };
  special("unk_token");
  parts.pad = special("pad_token");
  parts.post.single = {PostProcessor::kText, special("eos_token")};
  for (const auto& token : read_added_tokens_decoder(config, where))
    parts.added.push_back(read_added_token(token, where.at("added_tokens_decoder")));
  parts.model = std::make_unique<SpmUnigram>(std::move(model));
  return parts;
}

}  // namespace

SiglipTokenizer::SiglipTokenizer(std::string bytes, const json& config, const std::string& file)
    : Pipeline(parts_of(parse_spm(bytes, file), config, file), file), bytes_(std::move(bytes)) {
  eos_ = Pipeline::encode("", {}).ids.back();
}

// The text names the eos_token at its end.
bool SiglipTokenizer::ends_twice(const std::vector<int64_t>& ids,
                                 const EncodeOptions& options) const {
  return options.add_special_tokens && ids.size() > 1 && ids.end()[-1] == eos_ &&
         ids.end()[-2] == eos_;
}

Encoding SiglipTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  auto bare = options;
  bare.padding = Padding::none;
  auto out = Pipeline::encode(text, bare);
  if (ends_twice(out.ids, options)) {
    out.ids.pop_back();
    out.tokens.pop_back();
    out.offsets.pop_back();
    out.mask.pop_back();
  }
  if (options.padding == Padding::max_length)
    pad_encoding(out, options.max_length, *this, options.padding_side);
  return out;
}

void SiglipTokenizer::encode_ids(std::string_view text, const EncodeOptions& options,
                                 std::vector<int64_t>& out) const {
  auto bare = options;
  bare.padding = Padding::none;
  Pipeline::encode_ids(text, bare, out);
  if (ends_twice(out, options)) out.pop_back();
  if (options.padding == Padding::max_length)
    pad_values(out, options.max_length, pad_id(), options.padding_side);
}

void SiglipTokenizer::save(const std::filesystem::path& path) const {
  if (path.extension() != ".model")
    fail(
        "{}: a tokenizer.json cannot express how SigLIP cleans texts; save it as spiece.model "
        "beside the tokenizer_config.json",
        path.string());
  io::write_file(path, bytes_);
}

}  // namespace weft::tokenizers
