#include <algorithm>
#include <map>
#include <vector>

#include "data/mark_reader.hpp"

namespace weft::data {
namespace {

bool mark_digit(char c) { return c >= '0' && c <= '9'; }

/// (x, y) pairs with commas between them.
std::vector<double> read_pairs(MarkReader& reader) {
  std::vector<double> out;
  for (;;) {
    const auto begin = reader.at();
    reader.spaces();
    if (!out.empty() && reader.take(",")) reader.spaces();
    if (reader.take("(")) {
      const auto x = reader.number();
      const bool comma = x && reader.take(",");
      const auto y = comma ? reader.number() : std::nullopt;
      if (y && reader.take(")")) {
        out.insert(out.end(), {*x, *y});
        continue;
      }
    }
    reader.move(begin);
    reader.spaces();
    return out;
  }
}

void read_qwen_box(MarkReader& reader, const QwenTags& tags, std::string_view label,
                   GroundedBuilder& out) {
  const auto numbers = read_pairs(reader);
  const bool closed = reader.take(tags.end_box);
  if (closed && numbers.size() == 4) {
    out.box(numbers[0], numbers[1], numbers[2], numbers[3], label);
  } else if (closed && numbers.size() == 2) {
    out.point(numbers[0], numbers[1], label);
  } else {
    out.malformed();
    // The rest of a mark that was cut off is no text.
    if (closed) return;
    reader.run([](char c) {
      return std::string_view("0123456789(), .-").find(c) != std::string_view::npos;
    });
    reader.take(tags.end_box);
  }
}

/// The coordinates of <locNNNN>, or the number of <segNNN>.
std::optional<int> read_token(MarkReader& reader, std::string_view name, size_t digits, int limit) {
  const auto begin = reader.at();
  if (!reader.take(name)) return std::nullopt;
  const auto number = reader.run(mark_digit);
  int value = 0;
  if (number.size() == digits && reader.take(">")) {
    std::from_chars(number.data(), number.data() + number.size(), value);
    if (value < limit) return value;
  }
  reader.move(begin);
  return std::nullopt;
}

std::string unescape_attribute(std::string_view text) {
  static constexpr std::pair<std::string_view, char> kNames[] = {
      {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&#39;", '\''}, {"&amp;", '&'}};
  std::string out;
  while (!text.empty()) {
    const auto* name = std::ranges::find_if(
        kNames, [&](const auto& entry) { return text.starts_with(entry.first); });
    out += name == std::end(kNames) ? text[0] : name->second;
    text.remove_prefix(name == std::end(kNames) ? 1 : name->first.size());
  }
  return out;
}

using Attributes = std::map<std::string, std::string_view, std::less<>>;

/// name="value" ... up to > or />; nullopt where the tag does not end so.
std::optional<Attributes> read_attributes(MarkReader& reader, bool& empty) {
  Attributes out;
  for (;;) {
    reader.spaces();
    empty = reader.take("/");
    if (reader.take(">")) return out;
    const auto name =
        reader.run([](char c) { return mark_digit(c) || (c >= 'a' && c <= 'z') || c == '_'; });
    if (empty || name.empty() || !reader.take("=\"")) return std::nullopt;
    const auto value = reader.run([](char c) { return c != '"'; });
    if (!reader.take("\"")) return std::nullopt;
    out.emplace(name, value);
  }
}

std::optional<double> attribute(const Attributes& attributes, const std::string& name) {
  const auto found = attributes.find(name);
  if (found == attributes.end()) return std::nullopt;
  MarkReader reader(found->second);
  const auto value = reader.number();
  return reader.done() ? value : std::nullopt;
}

void read_molmo_points(const Attributes& attributes, bool many, std::string_view label,
                       GroundedBuilder& out) {
  size_t read = 0;
  for (int i = 1;; ++i) {
    const auto suffix = many ? std::to_string(i) : std::string();
    if (!attributes.contains("x" + suffix) && !attributes.contains("y" + suffix)) break;
    const auto x = attribute(attributes, "x" + suffix), y = attribute(attributes, "y" + suffix);
    if (x && y) {
      out.point(*x, *y, label);
    } else {
      out.malformed();
    }
    ++read;
    if (!many) break;
  }
  if (read == 0) out.malformed();
}

}  // namespace

void parse_qwen(std::string_view text, const QwenTags& tags, GroundedBuilder& out) {
  MarkReader reader(text);
  std::string_view label;
  while (!reader.done()) {
    const auto begin = reader.at();
    reader.run([](char c) { return c != '<'; });
    if (const auto piece = text.substr(begin, reader.at() - begin); !piece.empty()) {
      out.text(piece);
      label = {};
    }
    if (reader.take(tags.ref)) {
      const auto inside = reader.at();
      const auto end = find_mark(text, inside, {tags.ref, tags.end_ref, tags.box, tags.end_box});
      out.mark();
      if (text.substr(end).starts_with(tags.end_ref)) {
        label = text.substr(inside, end - inside);
        out.text(label);
        reader.move(end + tags.end_ref.size());
        const auto after = reader.at();
        reader.spaces();
        if (!reader.rest().starts_with(tags.box)) reader.move(after);
        out.mark();
      } else {
        out.malformed();
      }
    } else if (reader.take(tags.box)) {
      read_qwen_box(reader, tags, label, out);
    } else if (reader.take(tags.end_ref) || reader.take(tags.end_box)) {
      out.malformed();
    } else if (!reader.done()) {
      out.text("<");
      label = {};
      reader.move(reader.at() + 1);
    }
  }
}

void parse_paligemma(std::string_view text, GroundedBuilder& out) {
  MarkReader reader(text);
  std::vector<double> run;
  const auto token = [&] {
    if (const auto value = read_token(reader, "<loc", 4, 1024)) {
      run.push_back(*value);
    } else if (read_token(reader, "<seg", 3, 128)) {
      out.segment();
    } else {
      return false;
    }
    return true;
  };
  while (!reader.done()) {
    run.clear();
    while (token()) {
      const auto after = reader.at();
      reader.spaces();
      if (!reader.rest().starts_with("<loc") && !reader.rest().starts_with("<seg"))
        reader.move(after);
    }
    if (!run.empty()) out.mark();
    if (reader.take("<loc") || reader.take("<seg")) {
      reader.run(mark_digit);
      reader.take(">");
      out.malformed();
    }
    const auto begin = reader.at();
    const auto stop = find_mark(text, begin, {"<loc", "<seg"});
    const auto piece = text.substr(begin, stop - begin);
    const auto label = piece.substr(0, piece.find_first_of(";\n"));
    for (size_t i = 0; i + 4 <= run.size(); i += 4)
      out.box(run[i + 1], run[i], run[i + 3], run[i + 2], label);
    if (run.size() % 4 != 0) out.malformed();
    out.text(piece);
    reader.move(stop);
  }
}

void parse_molmo(std::string_view text, GroundedBuilder& out) {
  MarkReader reader(text);
  while (!reader.done()) {
    out.text(reader.run([](char c) { return c != '<'; }));
    const auto begin = reader.at();
    const bool many = reader.take("<points ");
    if (many || reader.take("<point ")) {
      bool empty = false;
      const auto attributes = read_attributes(reader, empty);
      if (!attributes) {
        out.malformed();
        continue;
      }
      std::string_view inner;
      // A tag that is never closed has points, but no text.
      const std::string_view close = many ? "</points>" : "</point>";
      const auto inside = reader.at();
      reader.run([](char c) { return c != '<'; });
      const auto end = reader.at();
      if (!empty && reader.take(close)) {
        inner = text.substr(inside, end - inside);
      } else {
        reader.move(inside);
      }
      const auto alt = attributes->find("alt");
      read_molmo_points(*attributes, many,
                        unescape_attribute(alt == attributes->end() ? inner : alt->second), out);
      out.text(unescape_attribute(inner));
      out.mark();
    } else if (reader.take("</points>") || reader.take("</point>")) {
      out.malformed();
    } else if (!reader.done()) {
      out.text("<");
      reader.move(begin + 1);
    }
  }
}

void parse_plain(std::string_view text, GroundedBuilder& out) {
  MarkReader reader(text);
  while (!reader.done()) {
    out.text(reader.run([](char c) { return c != '['; }));
    const auto begin = reader.at();
    if (!reader.take("[")) continue;
    std::vector<double> numbers;
    do {
      const auto number = reader.number();
      if (!number) break;
      numbers.push_back(*number);
    } while (numbers.size() < 5 && reader.take(","));
    bool read = false;
    if (reader.take("]")) {
      if (numbers.size() == 4)
        read = out.box(numbers[0], numbers[1], numbers[2], numbers[3], {});
      else if (numbers.size() == 2)
        read = out.point(numbers[0], numbers[1], {});
    }
    if (read) continue;
    reader.move(begin + 1);
    out.text("[");
  }
}

}  // namespace weft::data
