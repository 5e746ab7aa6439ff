#pragma once

#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <weft/core/error.hpp>
#include <weft/core/export.hpp>
#include <weft/core/options.hpp>

namespace weft {

/// The command line of a program, made from options structs: a member `batch_size` becomes
/// `--batch-size`, its third word in visit() the help text, its value the default that --help
/// shows. Booleans are `--flag` and `--no-flag`, vectors take several words, nested structs add
/// their members beside the others.
///
///     struct Options { std::string out = "runs/x"; int64_t steps = 100; ... visit ... } options;
///     Flags("clip_train", "Trains a dual encoder.").add(options).parse(argc, argv);
class WEFT_API Flags {
 public:
  Flags(const std::string& program, const std::string& description);
  ~Flags();

  template <OptionsStruct T>
  Flags& add(T& options) {
    T::visit(options, [this](std::string_view name, auto& member, auto&&... extra) {
      if constexpr (OptionsStruct<std::remove_cvref_t<decltype(member)>>) {
        add(member);
      } else {
        std::string help;
        bool needed = false;
        const auto look = [&](const auto& word) {
          if constexpr (std::is_same_v<std::remove_cvref_t<decltype(word)>, Required>)
            needed = true;
          if constexpr (std::is_convertible_v<decltype(word), std::string_view>) help = word;
        };
        (look(extra), ...);
        add_member(std::string(name), member, help, needed);
      }
    });
    return *this;
  }

  /// A second spelling of a flag, such as open_clip's: alias("train", "train-data").
  Flags& alias(const std::string& flag, const std::string& other);
  /// Words without a flag in front of them.
  Flags& positional(const std::string& name, std::vector<std::string>& words,
                    const std::string& help);
  /// A first word that selects what to do; must be one of `choices`.
  Flags& command(std::string& word, const std::vector<std::string>& choices,
                 const std::string& help);

  /// --help prints the page and ends the process with 0; a mistake throws Error (usage) that names
  /// the nearest flags.
  void parse(int argc, char** argv);

 private:
  struct Impl;
  static std::string flag_name(const std::string& member);  // batch_size -> --batch-size
  using Setter = std::function<void(const std::vector<std::string>&)>;

  template <class T>
  void add_member(const std::string& name, T& member, const std::string& help, bool needed) {
    const std::string flag = flag_name(name);
    std::vector<std::string> choices;
    if constexpr (std::is_enum_v<T>)
      choices.assign(std::begin(enum_names<T>), std::end(enum_names<T>));
    if constexpr (std::is_same_v<T, bool>) {
      add_switch(name, member, help);
    } else if constexpr (detail::is_vector<T>::value) {
      add_words(name, help, default_text(member), needed, true, choices,
                [&member, flag](const std::vector<std::string>& words) {
                  member.clear();
                  for (const auto& word : words)
                    member.push_back(parse_word<typename T::value_type>(word, flag));
                });
    } else if constexpr (detail::is_optional<T>::value) {
      add_words(name, help, default_text(member), needed, false, choices,
                [&member, flag](const std::vector<std::string>& words) {
                  member = parse_word<typename T::value_type>(words.back(), flag);
                });
    } else {
      add_words(name, help, default_text(member), needed, false, choices,
                [&member, flag](const std::vector<std::string>& words) {
                  member = parse_word<T>(words.back(), flag);
                });
    }
  }

  template <class T>
  static T parse_word(const std::string& word, const std::string& flag) {
    if constexpr (std::is_same_v<T, bool>) {
      if (word == "true" || word == "1") return true;
      if (word == "false" || word == "0") return false;
      throw Error(flag + ": expected true or false, found '" + word + "'", ErrorKind::usage);
    } else if constexpr (std::is_arithmetic_v<T>) {
      std::istringstream in(word);
      T value{};
      if (!(in >> value) || !in.eof())
        throw Error(flag + ": expected " + (std::is_integral_v<T> ? "an integer" : "a number") +
                        ", found '" + word + "'",
                    ErrorKind::usage);
      return value;
    } else if constexpr (std::is_enum_v<T>) {
      T value{};
      try {
        from_json(Json(word), value, flag);
      } catch (const Error& error) {
        throw Error(error.what(), ErrorKind::usage);
      }
      return value;
    } else {
      return T(word);
    }
  }

  template <class T>
  static std::string default_text(const T& member) {
    const auto json = to_json(member);
    if (json.is_null()) return "";
    if (json.is_string()) return json.as_string();
    if (json.is_array() && json.size() == 0) return "";
    return json.dump();
  }

  void add_words(const std::string& name, const std::string& help, const std::string& default_text,
                 bool needed, bool many, const std::vector<std::string>& choices, Setter set);
  void add_switch(const std::string& name, bool& member, const std::string& help);

  std::unique_ptr<Impl> impl_;
};

/// Runs a program's body: what it throws is printed to stderr, and the exit status is 0, the one of
/// weft::Error (2 usage, 3 bad input, 4 diverged, 5 too much bad data), or 1 for anything else.
/// Freed memory stays with the process (glibc), which spares training the page faults.
WEFT_API int run_program(const char* name, const std::function<int()>& body);

}  // namespace weft
