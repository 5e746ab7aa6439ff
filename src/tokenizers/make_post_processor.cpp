#include <fmt/format.h>

#include "tokenizers/components.hpp"

namespace weft::tokenizers {

// ["[SEP]", 102]
static int64_t named_id(const json& component, const char* key, const Where& where) {
  const auto& pair = member(component, key, where);
  if (!pair.is_array() || pair.size() != 2)
    fail_at(where.at(key), "expected a pair of a token and its id");
  return int_value(pair[1], 0, kMaxTokens - 1, where.at(key));
}

static std::vector<int64_t> read_template(const json& component, const Where& where) {
  const auto& parts = member(component, "single", where);
  const auto& specials = member(component, "special_tokens", where);
  if (!parts.is_array()) fail_at(where.at("single"), "expected an array");
  std::vector<int64_t> ids;
  int texts = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto here = where.at("single").at(i);
    const auto& part = parts[i];
    if (part.is_object() && part.contains("Sequence")) {
      ++texts;
      ids.push_back(PostProcessor::kText);
      continue;
    }
    const auto& name = member(member(part, "SpecialToken", here), "id", here);
    if (!name.is_string()) fail_at(here, "expected the name of a special token");
    const auto key = name.get<std::string>();
    const auto there = where.at("special_tokens");
    const auto& list = member(member(specials, key.c_str(), there), "ids", there.at(key));
    if (!list.is_array()) fail_at(there.at(key), "expected an array of ids");
    for (const auto& id : list) ids.push_back(int_value(id, 0, kMaxTokens - 1, there.at(key)));
  }
  if (texts != 1)
    fail_at(where.at("single"), fmt::format("expected the text once, found it {} times", texts));
  return ids;
}

PostProcessor make_post_processor(const json& component, const Where& where) {
  PostProcessor out;
  if (component.is_null()) return out;
  const auto type = type_of(component, where);
  if (type == "TemplateProcessing") {
    out.single = read_template(component, where);
  } else if (type == "BertProcessing") {
    out.single = {named_id(component, "cls", where), PostProcessor::kText,
                  named_id(component, "sep", where)};
  } else if (type == "RobertaProcessing") {
    out.single = {named_id(component, "cls", where), PostProcessor::kText,
                  named_id(component, "sep", where)};
    out.trim_offsets = flag(component, "trim_offsets", true, where);
    out.add_prefix_space = flag(component, "add_prefix_space", true, where);
  } else if (type == "ByteLevel") {
    out.trim_offsets = flag(component, "trim_offsets", true, where);
    out.add_prefix_space = flag(component, "add_prefix_space", true, where);
  } else if (type == "Sequence") {
    const auto& parts = parts_of(component, "processors", where);
    for (size_t i = 0; i < parts.size(); ++i) {
      auto next = make_post_processor(parts[i], where.at("processors").at(i));
      if (next.added() > 0) out.single = std::move(next.single);
      if (next.trim_offsets) {
        out.trim_offsets = true;
        out.add_prefix_space = next.add_prefix_space;
      }
    }
  } else {
    fail_unsupported(where, fmt::format("the post-processor '{}'", type));
  }
  return out;
}

}  // namespace weft::tokenizers
