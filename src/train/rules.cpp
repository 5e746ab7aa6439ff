#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>

#include <torch/nn/module.h>

#include <weft/train/rules.hpp>

namespace weft::train {
namespace {

constexpr std::string_view kBlocks = "blocks.";
constexpr std::string_view kEmbeddings[] = {"patch_embed", "token_embed",     "type_embed",
                                            "embed_norm",  "positions",       "pre_norm",
                                            "class_token", "register_tokens", "mask_token"};

struct BlockName {
  std::string tower;  // the prefix of the transformer's names
  int64_t index;
};

std::optional<BlockName> block_of(std::string_view name) {
  const auto at = name.find(kBlocks);
  if (at == name.npos || (at > 0 && name[at - 1] != '.')) return {};
  const auto digits = name.substr(at + kBlocks.size());
  int64_t index = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (error != std::errc() || end == digits.data() + digits.size() || *end != '.') return {};
  return BlockName{std::string(name.substr(0, at)), index};
}

}  // namespace

ParameterRule open_clip_rule(std::string_view name, const Tensor& parameter) {
  // open_clip keeps a class token as [D].
  const bool token = name.ends_with("class_token");
  return {.decay = parameter.dim() >= 2 && !token && !name.ends_with("logit_scale")};
}

GroupRule layer_decay(const torch::nn::Module& module, double decay, GroupRule base) {
  TORCH_CHECK_VALUE(decay > 0 && decay <= 1, "layer_decay: decay must be in (0, 1], got ", decay);
  std::map<std::string, int64_t> blocks;  // of each transformer
  for (const auto& item : module.named_parameters())
    if (const auto block = block_of(item.key()))
      blocks[block->tower] = std::max(blocks[block->tower], block->index + 1);
  return [=, base = std::move(base)](std::string_view name, const Tensor& parameter) {
    auto rule = base(name, parameter);
    for (const auto& [tower, count] : blocks) {
      if (!name.starts_with(tower)) continue;
      const auto part = name.substr(tower.size(), name.find('.', tower.size()) - tower.size());
      const auto block = block_of(name);
      const bool embedding = std::ranges::find(kEmbeddings, part) != std::end(kEmbeddings);
      const auto layer = block ? block->index + 1 : embedding ? 0 : count + 1;
      rule.lr_scale *= std::pow(decay, static_cast<double>(count + 1 - layer));
      break;
    }
    return rule;
  };
}

}  // namespace weft::train
