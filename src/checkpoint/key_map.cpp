#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include <fmt/ranges.h>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <weft/checkpoint/key_map.hpp>
#include <weft/checkpoint/tensors.hpp>

#include "checkpoint/name_pattern.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

std::string shape_text(c10::IntArrayRef shape) {
  return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", "));
}

std::vector<int64_t> with_size(c10::IntArrayRef shape, int64_t dim, int64_t size) {
  auto out = shape.vec();
  out.at(static_cast<size_t>(dim)) = size;
  return out;
}

std::map<std::string, at::Tensor, std::less<>> tensors_by_name(
    const std::vector<NamedTensor>& tensors) {
  std::map<std::string, at::Tensor, std::less<>> out;
  for (const auto& [name, tensor] : tensors) out.emplace(name, tensor.detach());
  return out;
}

}  // namespace

KeyMap& KeyMap::rename(std::string theirs, std::string ours) {
  rules_.push_back({Kind::rename, {std::move(theirs)}, {std::move(ours)}});
  return *this;
}
KeyMap& KeyMap::split(std::string theirs, std::vector<std::string> ours, int64_t dim) {
  rules_.push_back({Kind::split, {std::move(theirs)}, std::move(ours), dim});
  return *this;
}
KeyMap& KeyMap::split_transposed(std::string theirs, std::vector<std::string> ours) {
  rules_.push_back({Kind::split_transposed, {std::move(theirs)}, std::move(ours)});
  return *this;
}
KeyMap& KeyMap::join(std::vector<std::string> theirs, std::string ours, int64_t dim) {
  rules_.push_back({Kind::join, std::move(theirs), {std::move(ours)}, dim});
  return *this;
}
KeyMap& KeyMap::transpose(std::string theirs, std::string ours) {
  rules_.push_back({Kind::transpose, {std::move(theirs)}, {std::move(ours)}});
  return *this;
}
KeyMap& KeyMap::permute(std::string theirs, std::string ours, Convert to_ours, Convert to_theirs) {
  rules_.push_back({Kind::permute,
                    {std::move(theirs)},
                    {std::move(ours)},
                    0,
                    std::move(to_ours),
                    std::move(to_theirs)});
  return *this;
}
KeyMap& KeyMap::tie(std::string theirs, std::string same_as) {
  ties_.push_back({std::move(theirs), std::move(same_as)});
  return *this;
}
KeyMap& KeyMap::drop(std::string theirs, std::string reason) {
  drops_.push_back({std::move(theirs), std::move(reason)});
  return *this;
}
KeyMap& KeyMap::alias(std::string spelling, std::string theirs) {
  aliases_.push_back({std::move(spelling), std::move(theirs)});
  return *this;
}
KeyMap& KeyMap::otherwise(std::string ours, double value) {
  defaults_.push_back({std::move(ours), value});
  return *this;
}
KeyMap& KeyMap::prefix(std::string prefix) {
  prefixes_.push_back(std::move(prefix));
  return *this;
}
KeyMap& KeyMap::move(const std::string& from, const std::string& to) {
  const auto renamed = [&](std::string& name) {
    if (name.starts_with(from)) name.replace(0, from.size(), to);
  };
  for (auto& rule : rules_)
    for (auto& name : rule.theirs) renamed(name);
  for (auto& [name, same_as] : ties_) {
    renamed(name);
    renamed(same_as);
  }
  for (auto& drop : drops_) renamed(drop.first);
  for (auto& alias : aliases_) renamed(alias.second);
  return *this;
}
KeyMap& KeyMap::nest(const KeyMap& inner, const std::string& theirs, const std::string& ours) {
  for (auto rule : inner.rules_) {
    for (auto& name : rule.theirs) name.insert(0, theirs);
    for (auto& name : rule.ours) name.insert(0, ours);
    rules_.push_back(std::move(rule));
  }
  for (const auto& [from, to] : inner.ties_) tie(theirs + from, theirs + to);
  for (const auto& [name, reason] : inner.drops_) drop(theirs + name, reason);
  for (const auto& [from, to] : inner.aliases_) alias(theirs + from, theirs + to);
  for (const auto& [name, value] : inner.defaults_) otherwise(ours + name, value);
  return *this;
}

/// One load: the file's tensors under their canonical names, and what becomes of them.
struct KeyMap::Loader {
  struct Copy {
    at::Tensor to, from;
  };
  const KeyMap& map;
  const io::Safetensors& file;
  std::map<std::string, at::Tensor, std::less<>> by_name;  // ours
  std::map<std::string, const io::TensorView*, std::less<>> theirs = {};
  std::set<std::string, std::less<>> used = {};
  std::vector<Copy> copies = {};
  std::vector<std::string> missing = {}, unexpected = {}, misshapen = {};
  LoadReport report = {};

  void index() {
    std::string_view prefix;
    for (const auto& candidate : map.prefixes_)
      for (const auto& view : file.tensors())
        if (view.name.starts_with(candidate)) prefix = candidate;
    for (const auto& view : file.tensors()) {
      if (!view.name.starts_with(prefix)) {
        report.dropped.push_back({view.name, "belongs to a head on top of the encoder"});
        continue;
      }
      const auto name = map.canonical(view.name.substr(prefix.size()));
      if (!theirs.emplace(name, &view).second)
        unexpected.push_back(
            fmt::format("{} {}: a second copy of {}", view.name, shape_text(view.shape), name));
    }
  }

  // The file's tensor, or that of a name tied to it.
  const io::TensorView* find(const std::string& name) {
    if (const auto found = theirs.find(name); found != theirs.end()) {
      used.insert(name);
      return found->second;
    }
    for (const auto& [other, view] : theirs) {
      for (const auto& tie : map.ties_) {
        const auto captures = match(tie.first, other);
        if (captures && fill(tie.second, *captures) == name) {
          used.insert(other);
          return view;
        }
      }
    }
    return nullptr;
  }

  void want(const std::string& name, const std::vector<int64_t>& shape, const NamedTensor& ours,
            const std::function<Copy(at::Tensor)>& copy) {
    const auto* view = find(name);
    if (view == nullptr) {
      for (const auto& fallback : map.defaults_) {
        if (!match(fallback.ours, ours.name)) continue;
        copies.push_back({ours.tensor, at::empty({}, at::kFloat).fill_(fallback.value)});
        report.defaulted.push_back(ours.name);
        return;
      }
      missing.push_back(fmt::format("{} {} (for {})", name, shape_text(shape), ours.name));
      return;
    }
    if (view->shape != shape) {
      misshapen.push_back(fmt::format("{}: expected {}, found {} (for {})", view->name,
                                      shape_text(shape), shape_text(view->shape), ours.name));
      return;
    }
    const auto tensor = borrow_tensor(*view);
    if (tensor.is_floating_point() != ours.tensor.is_floating_point()) {
      misshapen.push_back(
          fmt::format("{}: expected a {}, found {} (for {})", view->name,
                      ours.tensor.is_floating_point() ? "floating-point type" : "type of integers",
                      io::name_of(view->dtype), ours.name));
      return;
    }
    copies.push_back(copy(tensor));
  }

  // Where a part of ours begins in theirs, and how long all parts are.
  std::pair<int64_t, int64_t> extent(const Rule& rule, size_t part, const Captures& captures,
                                     const at::Tensor& to) const {
    int64_t begin = 0, whole = 0;
    for (size_t i = 0; i < rule.ours.size(); ++i) {
      if (i == part) begin = whole;
      const auto found = by_name.find(fill(rule.ours[i], captures));
      whole += (found == by_name.end() ? to : found->second).size(rule.dim);
    }
    return {begin, whole};
  }

  void plan(const Rule& rule, size_t part, const Captures& captures, const NamedTensor& ours) {
    const auto& to = ours.tensor;
    const auto parts = static_cast<int64_t>(rule.theirs.size());
    const auto name = fill(rule.theirs[0], captures);
    switch (rule.kind) {
      case Kind::rename:
        want(name, to.sizes().vec(), ours, [&](at::Tensor from) { return Copy{to, from}; });
        break;
      case Kind::split:
      case Kind::split_transposed: {
        const auto [begin, whole] = extent(rule, part, captures, to);
        const bool transposed = rule.kind == Kind::split_transposed && to.dim() == 2;
        auto shape = with_size(to.sizes(), rule.dim, whole);
        if (transposed) std::reverse(shape.begin(), shape.end());
        want(name, shape, ours, [&, begin = begin](at::Tensor from) {
          if (transposed) from = from.t();
          return Copy{to, from.narrow(rule.dim, begin, to.size(rule.dim))};
        });
        break;
      }
      case Kind::join:
        for (int64_t i = 0; i < parts; ++i)
          want(fill(rule.theirs[static_cast<size_t>(i)], captures),
               with_size(to.sizes(), rule.dim, to.size(rule.dim) / parts), ours,
               [&](at::Tensor from) {
                 const auto size = to.size(rule.dim) / parts;
                 return Copy{to.narrow(rule.dim, i * size, size), from};
               });
        break;
      case Kind::transpose:
        want(name, to.t().sizes().vec(), ours, [&](at::Tensor from) { return Copy{to, from.t()}; });
        break;
      case Kind::permute:
        want(name, rule.to_theirs(to).sizes().vec(), ours, [&](at::Tensor from) {
          return Copy{to, rule.to_ours(from)};
        });
        break;
    }
  }

  void leave_aside() {
    for (const auto& [name, view] : theirs) {
      if (used.contains(name)) continue;
      std::optional<std::string> reason;
      for (const auto& drop : map.drops_)
        if (!reason && match(drop.first, name)) reason = drop.second;
      for (const auto& tie : map.ties_)
        if (!reason && match(tie.first, name)) reason = "the same weight as " + tie.second;
      if (reason)
        report.dropped.push_back({view->name, *reason});
      else
        unexpected.push_back(fmt::format("{} {}", view->name, shape_text(view->shape)));
    }
  }

  void check() const {
    if (missing.empty() && unexpected.empty() && misshapen.empty()) return;
    const auto list = [](const char* title, const std::vector<std::string>& lines) {
      return lines.empty() ? std::string()
                           : fmt::format("\n  {} ({}):\n    {}", title, lines.size(),
                                         fmt::join(lines, "\n    "));
    };
    fail("{}: the weights do not fit the model{}{}{}", file.origin(), list("missing", missing),
         list("unexpected", unexpected), list("misshapen", misshapen));
  }
};

LoadReport KeyMap::load(const io::Safetensors& file, const std::vector<NamedTensor>& ours) const {
  const at::NoGradGuard no_grad;
  Loader loader{*this, file, tensors_by_name(ours)};
  loader.index();
  for (const auto& parameter : ours) {
    bool mapped = false;
    for (const auto& rule : rules_) {
      for (size_t part = 0; part < rule.ours.size() && !mapped; ++part) {
        const auto captures = match(rule.ours[part], parameter.name);
        if (!captures) continue;
        loader.plan(rule, part, *captures, parameter);
        mapped = true;
      }
      if (mapped) break;
    }
    if (!mapped)
      loader.missing.push_back(
          fmt::format("a rule for {} {}", parameter.name, shape_text(parameter.tensor.sizes())));
  }
  loader.leave_aside();
  loader.check();
  for (const auto& copy : loader.copies) {
    const auto& [to, from] = copy;
    // On the caller's thread: reading the mapping is bound by page faults, and a few hundred
    // parallel regions would cost more than they save, many times more on a busy machine.
    if (to.numel() > 0 && to.scalar_type() == from.scalar_type() && to.sizes() == from.sizes() &&
        to.device().is_cpu() && to.is_contiguous() && from.is_contiguous()) {
      std::memcpy(to.mutable_data_ptr(), from.const_data_ptr(), to.nbytes());
    } else {
      to.copy_(from);
    }
  }
  return std::move(loader.report);
}

std::string KeyMap::canonical(std::string name) const {
  for (const auto& [spelling, canonical] : aliases_)
    if (const auto captures = match(spelling, name)) return fill(canonical, *captures);
  return name;
}

std::optional<KeyMap::Place> KeyMap::place(std::string_view ours) const {
  for (const auto& rule : rules_) {
    std::optional<Captures> captures;
    for (const auto& pattern : rule.ours)
      if ((captures = match(pattern, ours))) break;
    if (!captures) continue;
    if (rule.kind == Kind::join || rule.kind == Kind::permute || rule.dim != 0) return std::nullopt;
    Place out{fill(rule.theirs[0], *captures),
              {},
              rule.kind == Kind::transpose || rule.kind == Kind::split_transposed};
    for (const auto& pattern : rule.ours) out.parts.push_back(fill(pattern, *captures));
    return out;
  }
  return std::nullopt;
}

std::vector<NamedTensor> KeyMap::save(const std::vector<NamedTensor>& ours) const {
  const at::NoGradGuard no_grad;
  for (const auto& tensor : ours)
    if (tensor.name.find(".lora_A.") != std::string::npos)
      fail(
          "{}: an adapter that is not merged has no place in a model's weights; merge it into them "
          "(nn::merge_lora) or save it by itself (checkpoint::save_lora)",
          tensor.name);
  const auto by_name = tensors_by_name(ours);
  std::vector<NamedTensor> out;
  for (const auto& [name, value] : ours) {
    const Rule* rule = nullptr;
    size_t part = 0;
    std::optional<Captures> captures;
    for (const auto& candidate : rules_) {
      for (part = 0; part < candidate.ours.size(); ++part)
        if ((captures = match(candidate.ours[part], name))) break;
      if (captures) {
        rule = &candidate;
        break;
      }
    }
    if (rule == nullptr)
      fail("key map: no rule names {} {} in the foreign layout", name, shape_text(value.sizes()));
    const auto tensor = value.detach();
    const auto theirs = fill(rule->theirs[0], *captures);
    switch (rule->kind) {
      case Kind::rename:
        out.push_back({theirs, tensor});
        break;
      case Kind::split:
      case Kind::split_transposed: {
        if (part != 0) break;  // the first of the parts brings the others along
        std::vector<at::Tensor> parts;
        for (const auto& pattern : rule->ours) {
          const auto found = by_name.find(fill(pattern, *captures));
          if (found == by_name.end())
            fail("key map: {} needs {}, which the model lacks", theirs, fill(pattern, *captures));
          parts.push_back(found->second);
        }
        const auto whole = at::cat(parts, rule->dim);
        const bool transposed = rule->kind == Kind::split_transposed && whole.dim() == 2;
        out.push_back({theirs, transposed ? whole.t() : whole});
        break;
      }
      case Kind::join: {
        const auto size = tensor.size(rule->dim) / static_cast<int64_t>(rule->theirs.size());
        for (size_t i = 0; i < rule->theirs.size(); ++i)
          out.push_back({fill(rule->theirs[i], *captures),
                         tensor.narrow(rule->dim, static_cast<int64_t>(i) * size, size)});
        break;
      }
      case Kind::transpose:
        out.push_back({theirs, tensor.t()});
        break;
      case Kind::permute:
        out.push_back({theirs, rule->to_theirs(tensor)});
        break;
    }
  }
  return out;
}

bool KeyMap::has(const io::Safetensors& file, std::string_view theirs) const {
  if (file.find(theirs) != nullptr) return true;
  return std::any_of(prefixes_.begin(), prefixes_.end(), [&](const std::string& prefix) {
    return file.find(prefix + std::string(theirs)) != nullptr;
  });
}

}  // namespace weft::checkpoint
