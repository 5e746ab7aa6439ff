#include <utility>

#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/checkpoint/lm_folder.hpp>
#include <weft/checkpoint/tensors.hpp>
#include <weft/io/folder.hpp>
#include <weft/nn/init.hpp>
#include <weft/tokenizers/added_tokens.hpp>

#include "checkpoint/own_folder.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {

LmFolder load_language_model(const std::filesystem::path& folder, at::ScalarType dtype) {
  LmFolder out;
  out.config = read_model_config(folder);
  out.family = family_of(out.config);
  check_family(lm_families(), out.family, folder);
  const auto& family = lm_families().at(out.family);
  const auto file = open_weights(folder);
  {
    const nn::NoInitGuard no_init;
    out.model = family.make(out.config);
  }
  if (dtype != at::kFloat) out.model->to(dtype);
  out.report = family.key_map(out.config).load(file, named_tensors(*out.model));
  const auto generation = folder / "generation_config.json";
  if (std::filesystem::exists(generation)) out.generation = Json::read(generation);
  out.model->eval();
  return out;
}

void save_language_model(const LmFolder& folder, const std::filesystem::path& path) {
  io::FolderWriter writer(path);
  const auto& family = lm_families().at(folder.family);
  auto config = config_or(folder.config, [&] { return family.config(*folder.model); });
  const auto tensors = their_tensors(family.key_map(config), *folder.model);
  mark_config(config, family.architecture, folder.family, tensors.begin()->second.scalar_type());
  write_tensors(writer.folder() / "model.safetensors", tensors, {{"format", "pt"}});
  if (!folder.generation.is_null())
    folder.generation.write(writer.folder() / "generation_config.json");
  config.write(writer.folder() / "config.json");
  writer.keep_others(is_model_file);
  writer.commit();
}

LmFolder wrap_language_model(std::shared_ptr<LanguageModel> model) {
  LmFolder out{.model = std::move(model)};
  out.family = out.model->info().family;
  out.config = lm_families().at(out.family).config(*out.model);
  return out;
}

std::vector<int64_t> end_tokens(const LmFolder& folder) {
  auto value = folder.generation.is_object() ? folder.generation.get("eos_token_id") : Json();
  if (value.is_null()) value = folder.config.get("eos_token_id");
  if (value.is_null()) return {};
  return value.is_array() ? value.as_ints() : std::vector<int64_t>{value.as_int()};
}

bool is_language_model(const std::filesystem::path& folder) {
  return !folder.empty() && lm_families().contains(family_of(folder));
}

std::shared_ptr<tokenizers::Tokenizer> load_text_tokenizer(const std::filesystem::path& folder) {
  auto out = tokenizers::load_tokenizer(folder);
  if (!is_language_model(folder)) return out;
  const auto ends = end_tokens({.config = read_model_config(folder)});
  return ends.empty() ? out : tokenizers::with_end_token(*out, ends.front());
}

}  // namespace weft::checkpoint
