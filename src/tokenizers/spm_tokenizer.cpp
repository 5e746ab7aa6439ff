#include "tokenizers/spm_tokenizer.hpp"

#include <weft/io/file.hpp>

#include "core/fail.hpp"
#include "tokenizers/spm.hpp"

namespace weft::tokenizers {
namespace {

PipelineParts parts_of(const SpmFile& model, const std::string& file) {
  const Where where{file, "normalizer_spec"};
  PipelineParts parts;
  parts.normalizer = std::make_unique<SpmNormalizer>(model, where);
  parts.decoder = std::make_unique<SpmDecoder>(model, where);
  for (size_t id = 0; id < model.pieces.size(); ++id)
    if (model.pieces[id].type == SpmPiece::control)
      parts.specials.push_back(static_cast<int64_t>(id));
  if (model.pad_id >= 0 && model.pad_id < static_cast<int64_t>(model.pieces.size()))
    parts.pad = model.pad_id;
  if (model.model == SpmFile::bpe) {
    parts.model = std::make_unique<SpmBpe>(model);
  } else {
    parts.model = std::make_unique<SpmUnigram>(model);
  }
  return parts;
}

}  // namespace

SpmTokenizer::SpmTokenizer(std::string bytes, const std::string& file)
    : Pipeline(parts_of(parse_spm(bytes, file), file), file), bytes_(std::move(bytes)) {}

void SpmTokenizer::save(const std::filesystem::path& path) const {
  if (path.extension() == ".model") return io::write_file(path, bytes_);
  const auto document = spm_document(static_cast<const SpmModel&>(model()).file());
  io::write_file(path, document.dump(2) + "\n");
}

}  // namespace weft::tokenizers
