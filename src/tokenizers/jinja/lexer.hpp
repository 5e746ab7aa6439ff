#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weft::tokenizers::jinja {

enum class TokenKind {
  data,
  variable_begin,
  variable_end,
  block_begin,
  block_end,
  name,
  string,
  integer,
  floating,
  op,
  end
};

struct Token {
  TokenKind kind = TokenKind::end;
  int line = 0;
  std::string text = {};  // data, name, operator, the string itself, digits without '_'
};

/// The tokens of a template as jinja2's lexer makes them with trim_blocks and lstrip_blocks.
/// Error with name and line where a tag or a string does not end.
std::vector<Token> tokenize(std::string_view source, const std::string& name);

int digit_value(char c);  ///< of a hexadecimal digit; 16 for others
/// Python's "unicode-escape" of the string with its non-ASCII characters written as escapes,
/// which lets a backslash in front of one stand for itself.
std::string unescape(std::string_view text, const std::string& name, int line);

}  // namespace weft::tokenizers::jinja
