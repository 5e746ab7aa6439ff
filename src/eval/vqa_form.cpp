#include <algorithm>
#include <array>
#include <map>

#include <weft/eval/vqa.hpp>

#include "tokenizers/python_text.hpp"

namespace weft::eval {
namespace {

constexpr std::string_view kPunctuation = ";/[]\"{}()=+\\_-><@`,?!";
constexpr int kFullStops = 32;  // re.UNICODE, which stands there in the place of a count
constexpr std::array<std::string_view, 11> kNumbers = {
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"};

// Each is written for any spelling of it that lacks one apostrophe.
constexpr std::string_view kContractions[] = {
    "ain't",       "aren't",      "can't",          "could've",     "couldn't",
    "couldn't've", "didn't",      "doesn't",        "don't",        "hadn't",
    "hadn't've",   "hasn't",      "haven't",        "he'd",         "he'd've",
    "he's",        "how'd",       "how'll",         "how's",        "isn't",
    "it'd",        "it'd've",     "it'll",          "ma'am",        "mightn't",
    "mightn't've", "might've",    "mustn't",        "must've",      "needn't",
    "not've",      "o'clock",     "oughtn't",       "'ow's'at",     "shan't",
    "she'd've",    "should've",   "shouldn't",      "shouldn't've", "somebody'd've",
    "somebody'll", "somebody's",  "someone'd",      "someone'd've", "someone'll",
    "someone's",   "something'd", "something'd've", "something'll", "that's",
    "there'd",     "there'd've",  "there're",       "there's",      "they'd",
    "they'd've",   "they'll",     "they're",        "they've",      "'twas",
    "wasn't",      "we'd've",     "we've",          "weren't",      "what'll",
    "what're",     "what's",      "what've",        "when's",       "where'd",
    "where's",     "where've",    "who'd",          "who'd've",     "who'll",
    "who's",       "who've",      "why'll",         "why're",       "why's",
    "won't",       "would've",    "wouldn't",       "wouldn't've",  "y'all",
    "y'all'll",    "y'all'd've",  "you'd",          "you'd've",     "you'll",
    "you're",      "you've"};

using Table = std::map<std::string, std::string, std::less<>>;

Table contraction_table() {
  Table out;
  for (const auto contraction : kContractions) {
    const std::string whole(contraction);
    for (auto at = whole.find('\''); at != std::string::npos; at = whole.find('\'', at + 1)) {
      auto key = whole;
      out.emplace(key.erase(at, 1), whole);
    }
  }
  out["somebody'd"] = "somebodyd";  // the published table's one entry the other way round
  return out;
}

bool vqa_digit(char c) { return c >= '0' && c <= '9'; }

bool comma_in_number(std::string_view text) {
  for (size_t at = 1; at + 1 < text.size(); ++at)
    if (text[at] == ',' && vqa_digit(text[at - 1]) && vqa_digit(text[at + 1])) return true;
  return false;
}

std::string without_punctuation(std::string_view text) {
  const bool all = comma_in_number(text);
  std::array<bool, kPunctuation.size()> drop{};
  for (size_t p = 0; p < kPunctuation.size(); ++p) {
    const char before[] = {' ', kPunctuation[p]}, after[] = {kPunctuation[p], ' '};
    drop[p] = all || text.find({before, 2}) != std::string_view::npos ||
              text.find({after, 2}) != std::string_view::npos;
  }
  std::string out;
  for (const char c : text) {
    const auto p = kPunctuation.find(c);
    if (p == std::string_view::npos) {
      out += c;
    } else if (!drop[p]) {
      out += ' ';
    }
  }
  std::string kept;
  int stops = 0;
  for (size_t at = 0; at < out.size(); ++at) {
    if (out[at] == '.' && !(at + 1 < out.size() && vqa_digit(out[at + 1])) && stops < kFullStops)
      ++stops;
    else
      kept += out[at];
  }
  return kept;
}

std::string one_line(std::string_view text) {
  std::string out(text);
  std::ranges::replace_if(
      out, [](char c) { return c == '\n' || c == '\t'; }, ' ');
  return tokenizers::python_strip(out);
}

bool is_numeral(std::string_view text) {
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  return std::ranges::any_of(text, vqa_digit) &&
         std::ranges::all_of(text, [](char c) { return vqa_digit(c) || c == '.' || c == ','; });
}

}  // namespace

std::string exact_form(std::string_view answer) {
  auto out = tokenizers::python_strip(tokenizers::python_lower(answer));
  while (out.ends_with('.')) out = tokenizers::python_strip(out.substr(0, out.size() - 1));
  return out;
}

std::string vqa_form(std::string_view answer) {
  static const Table contractions = contraction_table();
  std::string out;
  for (auto word :
       tokenizers::python_split(tokenizers::python_lower(without_punctuation(one_line(answer))))) {
    if (const auto number = std::ranges::find(kNumbers, word); number != kNumbers.end())
      word = std::to_string(number - kNumbers.begin());
    if (word == "none") word = "0";
    if (word == "a" || word == "an" || word == "the") continue;
    if (const auto found = contractions.find(word); found != contractions.end())
      word = found->second;
    if (!out.empty()) out += ' ';
    out += word;
  }
  return out;
}

double vqa_accuracy(std::string_view prediction, const std::vector<std::string>& answers) {
  if (answers.empty()) return 0;
  auto given = one_line(prediction);
  std::vector<std::string> forms;
  for (const auto& answer : answers) forms.push_back(one_line(answer));
  if (std::ranges::any_of(forms, [&](const auto& form) { return form != forms[0]; })) {
    given = vqa_form(given);
    for (auto& form : forms) form = vqa_form(form);
  }
  const auto equal = std::ranges::count(forms, given);
  double sum = 0;
  for (const auto& form : forms)
    sum += std::min(1.0, static_cast<double>(equal - (form == given ? 1 : 0)) / 3);
  return sum / static_cast<double>(forms.size());
}

std::string answer_kind(const std::vector<std::string>& answers) {
  std::vector<std::string> forms;
  for (const auto& answer : answers) forms.push_back(exact_form(answer));
  std::string best;
  int64_t most = 0;
  for (const auto& form : forms)
    if (const auto count = std::ranges::count(forms, form); count > most) best = form, most = count;
  if (best == "yes" || best == "no") return "yes/no";
  return is_numeral(best) || std::ranges::find(kNumbers, best) != kNumbers.end() ? "number"
                                                                                 : "other";
}

}  // namespace weft::eval
