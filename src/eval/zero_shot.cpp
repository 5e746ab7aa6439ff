#include <algorithm>
#include <string_view>

#include <torch/types.h>

#include <weft/core/json.hpp>
#include <weft/eval/zero_shot.hpp>
#include <weft/io/file.hpp>
#include <weft/nn/pooling.hpp>

#include "core/fail.hpp"
#include "eval/score_blocks.hpp"

namespace weft::eval {
namespace {

constexpr size_t kTextsPerChunk = 4096;

std::vector<std::string> prompts_of(const Json& value, const std::string& where) {
  std::vector<std::string> out;
  if (value.is_string()) out = {value.as_string()};
  if (value.is_array()) {
    try {
      out = value.as_strings();
    } catch (const Error& error) {
      fail("{}: {}", where, error.what());
    }
  }
  if (out.empty())
    fail("{}: expected a prompt or an array of prompts, found {}", where,
         value.is_array() ? "an empty array" : value.type_name());
  return out;
}

std::vector<std::string> names_of(const Json& value, const std::string& where) {
  if (!value.is_array() || value.size() == 0)
    fail("{}: expected an array of class names, found {}", where,
         value.is_array() ? "an empty one" : value.type_name());
  try {
    return value.as_strings();
  } catch (const Error& error) {
    fail("{}: {}", where, error.what());
  }
}

/// {name: label}: the names in the order of their labels.
std::vector<std::string> names_by_label(const Json& json, const std::string& file) {
  const auto keys = json.keys();
  std::vector<std::string> names(keys.size());
  std::vector<bool> taken(keys.size());
  for (const auto& key : keys) {
    const auto value = json.at(key);
    if (!value.is_integer())
      fail("{}: expected the label of class '{}', as of the classes before it, found {}", file, key,
           value.type_name());
    const auto label = value.as_int();
    if (label < 0 || label >= static_cast<int64_t>(keys.size()) || taken[label])
      fail("{}: expected every label from 0 to {} once, found {} for class '{}'", file,
           keys.size() - 1, label, key);
    taken[label] = true;
    names[label] = key;
  }
  return names;
}

std::string filled(std::string_view text, std::string_view name) {
  std::string out;
  while (true) {
    const auto plain = text.find("{}"), named = text.find("{c}");
    const auto place = std::min(plain, named);
    out += text.substr(0, place);
    if (place == std::string_view::npos) return out;
    out += name;
    text.remove_prefix(place + (plain < named ? 2 : 3));
  }
}

}  // namespace

ZeroShotClasses read_classes(const std::filesystem::path& path) {
  const auto file = path.string();
  const auto json = Json::read(path);
  ZeroShotClasses out;
  if (json.is_array()) {
    out.names = names_of(json, file);
    return out;
  }
  if (!json.is_object() || json.size() == 0)
    fail("{}: expected an array of class names or an object, found {}", file,
         json.is_object() ? "an empty object" : json.type_name());
  if (json.contains("classes")) {
    out.names = names_of(json.at("classes"), file + ": classes");
    const auto prompts = json.get("prompts");
    if (prompts.is_null()) return out;
    if (!prompts.is_array() || prompts.size() != out.names.size())
      fail("{}: prompts: expected an array of {}, one for each class, found {} of {}", file,
           out.names.size(), prompts.type_name(), prompts.size());
    for (size_t i = 0; i < prompts.size(); ++i)
      out.prompts.push_back(
          prompts_of(prompts.at(i), fmt::format("{}: prompts of '{}'", file, out.names[i])));
    return out;
  }
  const auto keys = json.keys();
  if (json.at(keys.front()).is_integer()) {
    out.names = names_by_label(json, file);
    return out;
  }
  const auto is_number = [](const std::string& key) {
    return key.find_first_not_of("0123456789") == std::string::npos;
  };
  if (std::ranges::all_of(keys, is_number))
    fail(
        "{}: expected class names as keys, found labels such as '{}'; list the names in the order "
        "of their labels, as [\"dress\", \"hat\"]",
        file, keys.front());
  out.names = keys;
  for (const auto& key : keys)
    out.prompts.push_back(prompts_of(json.at(key), fmt::format("{}: class '{}'", file, key)));
  return out;
}

std::vector<std::string> read_templates(const std::filesystem::path& path) {
  const auto file = path.string();
  const auto text = io::read_file(path);
  std::vector<std::string> out;
  const auto start = text.find_first_not_of(" \t\r\n");
  if (start != std::string::npos && text[start] == '[') {
    out = Json::parse(text, file).as_strings();
  } else {
    for (size_t begin = 0; begin < text.size();) {
      const auto end = std::min(text.find('\n', begin), text.size());
      auto line = text.substr(begin, end - begin);
      if (line.ends_with('\r')) line.pop_back();
      if (line.find_first_not_of(" \t") != std::string::npos) out.push_back(std::move(line));
      begin = end + 1;
    }
  }
  if (out.empty()) fail("{}: expected a template a line or a JSON array of them, found none", file);
  for (size_t i = 0; i < out.size(); ++i)
    if (out[i].find("{}") == std::string::npos && out[i].find("{c}") == std::string::npos)
      fail("{}: template {}: expected {{}} or {{c}} in the class name's place, found '{}'", file,
           i + 1, out[i]);
  return out;
}

std::vector<std::vector<std::string>> fill_templates(const std::vector<std::string>& names,
                                                     const std::vector<std::string>& templates) {
  std::vector<std::vector<std::string>> out;
  for (const auto& name : names) {
    out.emplace_back();
    for (const auto& text : templates) out.back().push_back(filled(text, name));
  }
  return out;
}

at::Tensor zero_shot_classifier(const TextRows& encode,
                                const std::vector<std::vector<std::string>>& prompts) {
  TORCH_CHECK_VALUE(!prompts.empty(), "zero_shot_classifier: needs at least one class");
  const torch::NoGradGuard no_grad;
  std::vector<at::Tensor> classes;  // [E] each
  std::vector<std::string> texts;
  size_t begin = 0;
  const auto flush = [&](size_t end) {
    const auto rows = encode(texts);  // [B, E]
    int64_t row = 0;
    for (; begin < end; ++begin) {
      const auto count = static_cast<int64_t>(prompts[begin].size());
      classes.push_back(rows.narrow(0, row, count).mean(0));
      row += count;
    }
    texts.clear();
  };
  for (size_t c = 0; c < prompts.size(); ++c) {
    TORCH_CHECK_VALUE(!prompts[c].empty(), "zero_shot_classifier: class ", c, " has no prompt");
    texts.insert(texts.end(), prompts[c].begin(), prompts[c].end());
    if (texts.size() >= kTextsPerChunk || c + 1 == prompts.size()) flush(c + 1);
  }
  return nn::unit_rows(at::stack(classes));  // [C, E]
}

at::Tensor zero_shot_classifier(models::DualEncoderImpl& model,
                                const tokenizers::Tokenizer& tokenizer,
                                const std::vector<std::vector<std::string>>& prompts,
                                const FeatureOptions& options) {
  return zero_shot_classifier(
      [&](const std::vector<std::string>& texts) {
        return encode_texts(
            *model.text, [&](const EncoderInput& x) { return model.encode_text(x); }, tokenizer,
            texts, options);
      },
      prompts);
}

ClassificationResult zero_shot(const at::Tensor& image, const at::Tensor& classifier,
                               const at::Tensor& labels) {
  check_rows("zero_shot", image, classifier);
  TORCH_CHECK_VALUE(labels.dim() == 1 && labels.size(0) == image.size(0),
                    "zero_shot: labels must be [", image.size(0), "], got ", labels.sizes());
  const torch::NoGradGuard no_grad;
  ClassCounts counts(classifier.size(0));
  for_each_block("zero_shot", image, classifier, [&](int64_t first, const at::Tensor& scores) {
    counts.add(scores, labels.narrow(0, first, scores.size(0)));
  });
  return counts.result();
}

}  // namespace weft::eval
