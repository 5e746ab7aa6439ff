#include <typeinfo>

#include <weft/tokenizers/added_tokens.hpp>

#include "core/fail.hpp"
#include "tokenizers/pipeline.hpp"

namespace weft::tokenizers {

std::shared_ptr<Tokenizer> with_added_tokens(const Tokenizer& tokenizer,
                                             const std::vector<std::string>& tokens,
                                             const AddTokensOptions& options) {
  const auto* pipeline = dynamic_cast<const Pipeline*>(&tokenizer);
  // Its subclasses read texts in ways that a tokenizer.json cannot express.
  if (pipeline == nullptr || typeid(*pipeline) != typeid(Pipeline))
    fail(
        "with_added_tokens: this tokenizer is no tokenizer.json at work; where save() can write "
        "one, load that and add the tokens to it");
  return pipeline->with_added(tokens, options.special);
}

std::shared_ptr<Pipeline> Pipeline::with_added(const std::vector<std::string>& tokens,
                                               bool special) const {
  auto document = whole_document();
  auto& list = document["added_tokens"];
  if (list.is_null()) list = json::array();
  auto next = model_->size();
  for (const auto& [id, token] : added_) next = std::max(next, id + 1);
  std::map<std::string, int64_t, std::less<>> fresh;
  for (const auto& token : tokens) {
    if (token.empty()) fail("{}: an added token must not be empty", file_);
    if (added_ids_.contains(token) || fresh.contains(token)) continue;
    const auto known = model_->id(token);
    const auto id = known ? *known : next++;
    fresh.emplace(token, id);
    list.push_back({{"id", id},
                    {"content", token},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", false},
                    {"special", special}});
  }
  const auto config = pad_ ? json{{"pad_token", token(*pad_)}} : json();
  return std::make_shared<Pipeline>(std::move(document), config, file_);
}

}  // namespace weft::tokenizers
