#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <CLI/CLI.hpp>

#include <weft/core/flags.hpp>
#include <weft/core/registry.hpp>

#include "core/fail.hpp"

namespace weft {
namespace {

std::string dashed(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

}  // namespace

struct Flags::Impl {
  CLI::App app;
  std::string program;
  std::map<std::string, CLI::Option*> options;           // by dashed name
  std::vector<std::pair<CLI::Option*, Setter>> setters;  // in order of declaration
  std::map<std::string, std::string> aliases;            // other spelling -> flag
};

Flags::Flags(const std::string& program, const std::string& description)
    : impl_(std::make_unique<Impl>()) {
  impl_->program = program;
  impl_->app.name(program);
  impl_->app.description(description);
}
Flags::~Flags() = default;

std::string Flags::flag_name(const std::string& member) { return "--" + dashed(member); }

void Flags::add_words(const std::string& name, const std::string& help,
                      const std::string& default_text, bool needed, bool many,
                      const std::vector<std::string>& choices, Setter set) {
  const auto flag = dashed(name);
  auto text = help;
  if (!choices.empty())
    text += (text.empty() ? "" : ": ") + fmt::format("{}", CLI::detail::join(choices, "|"));
  auto* option = impl_->app.add_option(
      "--" + flag, CLI::callback_t([](const CLI::results_t&) { return true; }), text);
  option->type_name("");
  option->default_str(default_text);
  option->expected(1, many ? CLI::detail::expected_max_vector_size : 1);
  option->multi_option_policy(many ? CLI::MultiOptionPolicy::TakeAll
                                   : CLI::MultiOptionPolicy::TakeLast);
  option->allow_extra_args(many);
  if (needed) option->required();
  impl_->options[flag] = option;
  impl_->setters.emplace_back(option, std::move(set));
}

void Flags::add_switch(const std::string& name, bool& member, const std::string& help) {
  const auto flag = dashed(name);
  impl_->options[flag] = impl_->app.add_flag("--" + flag + ",!--no-" + flag, member, help);
}

Flags& Flags::alias(const std::string& flag, const std::string& other) {
  if (!impl_->options.count(flag))
    fail(ErrorKind::usage, "alias '{}' of the unknown flag '{}'", other, flag);
  impl_->aliases["--" + other] = "--" + flag;
  return *this;
}

Flags& Flags::positional(const std::string& name, std::vector<std::string>& words,
                         const std::string& help) {
  impl_->app.add_option(name, words, help)->type_name("");
  return *this;
}

Flags& Flags::command(std::string& word, const std::vector<std::string>& choices,
                      const std::string& help) {
  impl_->app.add_option("command", word, help + ": " + CLI::detail::join(choices, "|"))
      ->required()
      ->check([choices](const std::string& found) {
        if (std::find(choices.begin(), choices.end(), found) != choices.end()) return std::string();
        return detail::unknown_name("command", found, choices);
      })
      ->type_name("");
  return *this;
}

void Flags::parse(int argc, char** argv) {
  std::vector<std::string> words;  // CLI11 takes them in reverse
  int flags_end = 1;               // what follows "--" is no flag, whatever it looks like
  while (flags_end < argc && std::string_view(argv[flags_end]) != "--") ++flags_end;
  for (int i = argc - 1; i > 0; --i) {
    std::string word = argv[i];
    if (i >= flags_end) {
      words.push_back(std::move(word));
      continue;
    }
    const auto equals = word.find('=');
    const auto found = impl_->aliases.find(word.substr(0, equals));
    if (found != impl_->aliases.end())
      word = found->second + (equals == std::string::npos ? "" : word.substr(equals));
    words.push_back(std::move(word));
  }
  for (size_t i = words.size(); i-- > 0;) {
    const auto& word = words[i];
    if (word == "--") break;
    if (word.rfind("--", 0) != 0 || word == "--" || word == "--help") continue;
    const auto name = word.substr(
        2, word.find('=') == std::string::npos ? std::string::npos : word.find('=') - 2);
    const auto plain =
        name.rfind("no-", 0) == 0 && impl_->options.count(name.substr(3)) ? name.substr(3) : name;
    if (impl_->options.count(plain)) continue;
    std::vector<std::string> known;
    for (const auto& [flag, option] : impl_->options) known.push_back(flag);
    for (const auto& [other, flag] : impl_->aliases) known.push_back(other.substr(2));
    std::vector<std::string> near;
    for (const auto& candidate : nearest(name, known)) near.push_back("--" + candidate);
    fail(ErrorKind::usage, "unknown flag '--{}'; nearest: {} ('{} --help' lists all)", name,
         CLI::detail::join(near, ", "), impl_->program);
  }
  try {
    impl_->app.parse(words);
  } catch (const CLI::CallForHelp&) {
    std::cout << impl_->app.help();
    std::exit(0);
  } catch (const CLI::ParseError& error) {
    fail(ErrorKind::usage, "{} ('{} --help' lists the flags)", error.what(), impl_->program);
  }
  for (const auto& [option, set] : impl_->setters)
    if (option->count() > 0) set(option->results());
}

// A step takes and frees the same large buffers as the one before. By default glibc returns each to
// the kernel, which costs a tenth of a training run in page faults.
static void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_MAX, 0);  // a threshold would be 32 MiB at most: an embedding's gradient has more
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

int run_program(const char* name, const std::function<int()>& body) {
  keep_freed_memory();
  try {
    return body();
  } catch (const Error& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return error.exit_status();
  } catch (const std::filesystem::filesystem_error& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return static_cast<int>(ErrorKind::input);
  } catch (const std::exception& error) {
    // c10 errors carry a backtrace below their first line, which says nothing to the user of a
    // program.
    const std::string what = error.what();
    const auto end = what.find("\nException raised from");
    std::fprintf(stderr, "%s: %s\n", name, what.substr(0, end).c_str());
    return 1;
  }
}

}  // namespace weft
