#include <weft/io/file.hpp>

#include "core/fail.hpp"
#include "tokenizers/decoders.hpp"
#include "tokenizers/pipeline.hpp"

namespace weft::tokenizers {

std::string token_content(const json& token) {
  if (token.is_string()) return token.get<std::string>();
  if (token.is_object() && token.contains("content") && token["content"].is_string())
    return token["content"].get<std::string>();
  return {};
}

Pipeline::Pipeline(PipelineParts parts, const std::string& file)
    : file_(file),
      normalizer_(std::move(parts.normalizer)),
      pre_tokenizer_(std::move(parts.pre_tokenizer)),
      model_(std::move(parts.model)),
      decoder_(std::move(parts.decoder)),
      post_(std::move(parts.post)),
      pad_(parts.pad),
      size_(model_->size()) {
  for (const auto id : parts.specials)
    added_[id] = {.id = id, .content = *model_->token(id), .special = true};
  if (!parts.added.empty()) set_added_tokens(parts.added, {file, "added_tokens"});
}

Pipeline::Pipeline(json document, const json& config, const std::string& file) : file_(file) {
  const Where root{file, "tokenizer"};
  if (!document.is_object())
    fail("{}: expected an object with the key 'model', found {}", file, document.type_name());
  const auto part = [&](const char* key) -> const json& { return document[key]; };
  const auto here = [&](const char* key) { return Where{file, key}; };
  normalizer_ = make_normalizer(part("normalizer"), here("normalizer"));
  pre_tokenizer_ = make_pre_tokenizer(part("pre_tokenizer"), here("pre_tokenizer"));
  post_ = make_post_processor(part("post_processor"), here("post_processor"));
  decoder_ = make_decoder(part("decoder"), here("decoder"));
  if (!decoder_) decoder_ = std::make_unique<JoinDecoder>();
  member(document, "model", root);
  model_ =
      make_model(part("model"), pre_tokenizer_ && pre_tokenizer_->gives_bytes(), here("model"));
  document_ = std::move(document);
  document_["model"] = nullptr;
  read_added_tokens(here("added_tokens"));
  for (const auto id : post_.single) {
    if (id != PostProcessor::kText && !find_token(id))
      fail_at(here("post_processor"), fmt::format("no token has the id {}", id));
  }
  read_pad(config, here("padding"));
}

AddedToken read_added_token(const json& value, const Where& where) {
  AddedToken token;
  const auto& content = member(value, "content", where);
  if (!content.is_string()) fail_at(where.at("content"), "expected a string");
  token.content = content.get<std::string>();
  token.id = int_member(value, "id", 0, kMaxTokens - 1, where);
  token.single_word = flag(value, "single_word", false, where);
  token.lstrip = flag(value, "lstrip", false, where);
  token.rstrip = flag(value, "rstrip", false, where);
  token.special = flag(value, "special", false, where);
  token.normalized = flag(value, "normalized", !token.special, where);
  return token;
}

void Pipeline::read_added_tokens(const Where& where) {
  const auto& list = document_["added_tokens"];
  std::vector<AddedToken> tokens;
  if (!list.is_null() && !list.is_array())
    fail_at(where, fmt::format("expected an array, found {}", list.type_name()));
  for (size_t i = 0; i < list.size(); ++i) tokens.push_back(read_added_token(list[i], where.at(i)));
  set_added_tokens(tokens, where);
}

void Pipeline::set_added_tokens(const std::vector<AddedToken>& tokens, const Where& where) {
  size_ = model_->size();
  std::vector<AddedToken> raw, normalized;
  std::vector<std::string> raw_texts, normalized_texts;
  for (size_t i = 0; i < tokens.size(); ++i) {
    auto token = tokens[i];
    if (const auto in_model = model_->id(token.content)) {
      token.id = *in_model;
    } else if (const auto* other = find_token(token.id)) {
      fail_at(where.at(i),
              fmt::format("the id {} of '{}' belongs to '{}'", token.id, token.content, *other));
    } else {
      ++size_;
    }
    if (!added_ids_.emplace(token.content, token.id).second) continue;
    added_[token.id] = token;
    auto text = token.content;
    if (token.normalized && normalizer_) {
      Text form;
      form.bytes = text;
      normalizer_->apply(form);
      text = form.bytes;
    }
    (token.normalized ? normalized_texts : raw_texts).push_back(std::move(text));
    (token.normalized ? normalized : raw).push_back(std::move(token));
  }
  raw_ = AddedTokenMatcher(std::move(raw), raw_texts);
  normalized_ = AddedTokenMatcher(std::move(normalized), normalized_texts);
}

void Pipeline::read_pad(const json& config, const Where& where) {
  const auto& padding = document_["padding"];
  if (!padding.is_null()) {
    pad_ = int_member(padding, "pad_id", 0, kMaxTokens - 1, where);
    if (!find_token(*pad_))
      fail_at(where.at("pad_id"), fmt::format("no token has the id {}", *pad_));
    return;
  }
  if (config.is_object() && config.contains("pad_token"))
    pad_ = id(token_content(config["pad_token"]));
  for (const auto* name : {"[PAD]", "<pad>", "<|pad|>"}) {
    if (!pad_) pad_ = id(name);
  }
  // CLIP pads with the token that ends a text.
  const auto end = id("<|endoftext|>");
  if (!pad_ && end && post_.added() == 2 && post_.single.back() == *end) pad_ = end;
}

json Pipeline::whole_document() const {
  auto document = document_;
  document["model"] = model_->to_json();
  return document;
}

void Pipeline::save(const std::filesystem::path& path) const {
  if (path.extension() == ".gz")
    fail("{}: OpenAI's vocabulary is written of a tokenizer read from one; this is {}",
         path.string(), file_);
  io::write_file(path, whole_document().dump(2) + "\n");
}

}  // namespace weft::tokenizers
