#include "tokenizers/jinja/text.hpp"

#include <algorithm>

namespace weft::tokenizers::jinja {
namespace {

/// The first run that ends behind `at`.
std::vector<Run>::const_iterator run_at(const Text& text, size_t at) {
  return std::upper_bound(text.runs.begin(), text.runs.end(), at,
                          [](size_t place, const Run& run) { return place < run.end; });
}

}  // namespace

void TextBuilder::add_run(size_t begin, size_t end, const Tag& tag) {
  if (begin == end || tag.empty()) return;
  auto& runs = text_.runs;
  if (!runs.empty() && runs.back().end == begin && runs.back().tag == tag)
    runs.back().end = end;
  else
    runs.push_back({begin, end, tag});
}

void TextBuilder::append(const Text& from, size_t begin, size_t end) {
  const size_t start = size();
  text_.bytes.append(from.bytes, begin, end - begin);
  for (auto run = run_at(from, begin); run != from.runs.end() && run->begin < end; ++run)
    add_run(start + std::max(run->begin, begin) - begin, start + std::min(run->end, end) - begin,
            run->tag);
}

void TextBuilder::append_as(const Text& from, size_t at, std::string_view bytes) {
  const size_t start = size();
  text_.bytes += bytes;
  const auto run = run_at(from, at);
  if (run != from.runs.end() && run->begin <= at) add_run(start, size(), run->tag);
}

void TextBuilder::mark(size_t begin, int32_t Tag::*field, int32_t value) {
  auto& runs = text_.runs;
  size_t first = runs.size();
  while (first > 0 && runs[first - 1].end > begin) --first;
  std::vector<Run> tail(runs.begin() + static_cast<std::ptrdiff_t>(first), runs.end());
  runs.resize(first);
  size_t at = begin;
  Tag fresh;
  fresh.*field = value;
  for (auto run : tail) {
    if (run.begin < begin) {
      add_run(run.begin, begin, run.tag);
      run.begin = begin;
    }
    add_run(at, run.begin, fresh);
    if (run.tag.*field < 0) run.tag.*field = value;
    add_run(run.begin, run.end, run.tag);
    at = run.end;
  }
  add_run(at, size(), fresh);
}

String make_string(std::string bytes) {
  return std::make_shared<const Text>(Text{.bytes = std::move(bytes)});
}

String as_safe(String text, bool safe) {
  if (text->safe == safe) return text;
  auto copy = *text;
  copy.safe = safe;
  return std::make_shared<const Text>(std::move(copy));
}

String substring(const Text& from, size_t begin, size_t end) {
  TextBuilder out;
  out.append(from, begin, end);
  return out.take();
}

}  // namespace weft::tokenizers::jinja
