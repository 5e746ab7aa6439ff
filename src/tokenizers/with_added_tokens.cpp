#include <typeinfo>

#include <weft/tokenizers/added_tokens.hpp>

#include "core/fail.hpp"
#include "tokenizers/pipeline.hpp"

namespace weft::tokenizers {

static const Pipeline& pipeline_of(const Tokenizer& tokenizer, std::string_view who) {
  const auto* pipeline = dynamic_cast<const Pipeline*>(&tokenizer);
  // Its subclasses read texts in ways that a tokenizer.json cannot express.
  if (pipeline == nullptr || typeid(*pipeline) != typeid(Pipeline))
    fail(
        "{}: this tokenizer is no tokenizer.json at work; where save() can write one, load that "
        "and add the tokens to it",
        who);
  return *pipeline;
}

std::shared_ptr<Tokenizer> with_added_tokens(const Tokenizer& tokenizer,
                                             const std::vector<std::string>& tokens,
                                             const AddTokensOptions& options) {
  return pipeline_of(tokenizer, "with_added_tokens").with_added(tokens, options.special);
}

std::shared_ptr<Tokenizer> with_end_token(const Tokenizer& tokenizer, int64_t end) {
  return pipeline_of(tokenizer, "with_end_token").with_end(end);
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

std::shared_ptr<Pipeline> Pipeline::with_end(int64_t end) const {
  auto document = whole_document();
  const auto pad = pad_.value_or(end);
  if (document["padding"].is_null())
    document["padding"] = {{"strategy", "BatchLongest"},
                           {"direction", "Right"},
                           {"pad_to_multiple_of", nullptr},
                           {"pad_id", pad},
                           {"pad_type_id", 0},
                           {"pad_token", token(pad)}};
  if (post_.single.back() != end) {
    auto single = json::array(), specials = json::object();
    const auto text = [](const char* id, int type) {
      return json{{"Sequence", json{{"id", id}, {"type_id", type}}}};
    };
    const auto add = [&](int64_t id) {
      const auto name = token(id);
      single.push_back(json{{"SpecialToken", json{{"id", name}, {"type_id", 0}}}});
      specials[name] = {{"id", name}, {"ids", json::array({id})}, {"tokens", json::array({name})}};
    };
    for (const auto id : post_.single)
      if (id == PostProcessor::kText)
        single.push_back(text("A", 0));
      else
        add(id);
    add(end);
    auto pair = single;
    pair.push_back(text("B", 1));
    json post{{"type", "TemplateProcessing"},
              {"single", single},
              {"pair", pair},
              {"special_tokens", specials}};
    if (post_.trim_offsets) {
      const json bytes{{"type", "ByteLevel"},
                       {"add_prefix_space", post_.add_prefix_space},
                       {"trim_offsets", true},
                       {"use_regex", true}};
      post = json{{"type", "Sequence"}, {"processors", json::array({bytes, post})}};
    }
    document["post_processor"] = post;
  }
  return std::make_shared<Pipeline>(std::move(document), json(), file_);
}

}  // namespace weft::tokenizers
