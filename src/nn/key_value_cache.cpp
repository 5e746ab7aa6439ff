#include <ATen/ATen.h>

#include <weft/nn/key_value_cache.hpp>

namespace weft::nn {

std::pair<at::Tensor, at::Tensor> KeyValues::append(const at::Tensor& keys,
                                                    const at::Tensor& values) {
  TORCH_CHECK_VALUE(keys.dim() == 4 && keys.sizes() == values.sizes(),
                    "KeyValues: keys and values must both be [B, H, T, d], got ", keys.sizes(),
                    " and ", values.sizes());
  TORCH_CHECK_VALUE(!keys.requires_grad() && !values.requires_grad(),
                    "KeyValues: a cache serves generation; switch gradients off");
  const auto added = keys.size(2), needed = length_ + added;
  if (keys_.defined()) {
    TORCH_CHECK_VALUE(keys.size(0) == keys_.size(0) && keys.size(1) == keys_.size(1) &&
                          keys.size(3) == keys_.size(3),
                      "KeyValues: the cache holds keys of ", keys_.size(0), " rows, ",
                      keys_.size(1), " heads and width ", keys_.size(3), ", got ", keys.sizes());
  }
  if (!keys_.defined() || keys_.size(2) < needed) {
    const auto capacity = std::max({needed, reserved_, keys_.defined() ? 2 * keys_.size(2) : 0});
    const auto grown = [&](const at::Tensor& like, const at::Tensor& old) {
      auto out = at::empty({like.size(0), like.size(1), capacity, like.size(3)}, like.options());
      if (length_ > 0) out.narrow(2, 0, length_).copy_(old.narrow(2, 0, length_));
      return out;
    };
    keys_ = grown(keys, keys_);
    values_ = grown(values, values_);
  }
  keys_.narrow(2, length_, added).copy_(keys);
  values_.narrow(2, length_, added).copy_(values);
  length_ = needed;
  return {keys_.narrow(2, 0, length_), values_.narrow(2, 0, length_)};
}

void KeyValues::truncate(int64_t length) {
  TORCH_CHECK_VALUE(length >= 0 && length <= length_, "KeyValues: cannot cut ", length_,
                    " tokens to ", length);
  length_ = length;
}

void KeyValues::reorder(const at::Tensor& rows) {
  if (!keys_.defined()) return;
  keys_ = keys_.index_select(0, rows);
  values_ = values_.index_select(0, rows);
}

void KeyValueCache::truncate(int64_t length) {
  for (auto& layer : layers) layer.truncate(length);
}

void KeyValueCache::reorder(const at::Tensor& rows) {
  for (auto& layer : layers) layer.reorder(rows);
  for (auto& slot : hooks)
    for (auto& tensor : slot)
      if (tensor.defined()) tensor = tensor.index_select(0, rows);
}

void KeyValueCache::reserve(int64_t num_layers, int64_t length) {
  layers.resize(static_cast<size_t>(num_layers));
  for (auto& layer : layers) layer.reserve(length);
}

}  // namespace weft::nn
