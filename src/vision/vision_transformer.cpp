#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include <weft/nn/autocast.hpp>
#include <weft/ops/patchify.hpp>
#include <weft/vision/vision_transformer.hpp>

namespace weft::vision {
namespace {

// x [B, N, D]: a random choice of each image's patches in random order, behind the prefix.
torch::Tensor drop_patches(const torch::Tensor& x, int64_t prefix, double share) {
  const auto patches = x.size(1) - prefix;
  const auto kept =
      std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(patches) * (1 - share)));
  const auto chosen = at::rand({x.size(0), patches}, x.options().dtype(at::kFloat))
                          .argsort(int64_t{1})
                          .narrow(1, 0, kept);
  const auto rest =
      x.narrow(1, prefix, patches).gather(1, chosen.unsqueeze(2).expand({-1, -1, x.size(2)}));
  return prefix == 0 ? rest : at::cat(std::vector{x.narrow(1, 0, prefix), rest}, 1);
}

}  // namespace

VisionTransformerImpl::VisionTransformerImpl(const VisionTransformerOptions& o) : options(o) {
  TORCH_CHECK_VALUE(o.patch_size > 0 && o.image_size >= o.patch_size,
                    "VisionTransformer: image_size must be at least patch_size, got ", o.image_size,
                    " and ", o.patch_size);
  TORCH_CHECK_VALUE(o.num_channels > 0 && o.num_registers >= 0,
                    "VisionTransformer: num_channels must be positive and num_registers not "
                    "negative, got ",
                    o.num_channels, " and ", o.num_registers);
  TORCH_CHECK_VALUE(o.patch_dropout >= 0 && o.patch_dropout < 1,
                    "VisionTransformer: patch_dropout must be in [0, 1), got ", o.patch_dropout);
  TORCH_CHECK_VALUE(o.class_token || !o.pooler,
                    "VisionTransformer: the pooler reads the class token; switch class_token on");
  if (o.pooling == nn::Pooling::encoder)
    options.pooling = o.class_token ? nn::Pooling::cls : nn::Pooling::mean;
  const auto pooling = options.pooling;
  TORCH_CHECK_VALUE((pooling == nn::Pooling::cls && o.class_token) ||
                        pooling == nn::Pooling::mean || pooling == nn::Pooling::map,
                    "VisionTransformer: pooling must be cls (with class_token), mean or map");
  const auto D = o.hidden_size, p = o.patch_size, grid = o.image_size / p;
  patch_embed = register_module("patch_embed", std::make_shared<PatchEmbed>());
  patch_embed->weight = patch_embed->register_parameter(
      "weight", nn::init_weight(at::empty({D, o.num_channels, p, p}), o.init_std));
  if (o.patch_bias)
    patch_embed->bias =
        patch_embed->register_parameter("bias", nn::init_constant(at::empty({D}), 0));
  if (o.class_token)
    class_token =
        register_parameter("class_token", nn::init_weight(at::empty({1, 1, D}), o.init_std));
  if (o.num_registers > 0)
    register_tokens = register_parameter(
        "register_tokens", nn::init_weight(at::empty({1, o.num_registers, D}), o.init_std));
  if (o.mask_token)
    mask_token = register_parameter("mask_token", nn::init_constant(at::empty({1, D}), 0));
  if (o.position_kind == PositionKind::learned) {
    const int64_t prefix = o.class_token && o.position_class ? 1 : 0;
    positions = register_parameter(
        "positions", nn::init_weight(at::empty({1, prefix + grid * grid, D}), o.init_std));
  }
  if (o.pre_norm) pre_norm = register_module("pre_norm", nn::Norm({.size = D, .eps = o.eps}));
  auto block = nn::block_options(o);
  block.attention.q_bias = block.attention.k_bias = block.attention.v_bias = o.qkv_bias;
  block.attention.qk_norm = o.qk_norm;
  block.attention.qk_norm_whole = o.qk_norm_whole;
  block.attention.qk_norm_kind = o.qk_norm_kind;
  if (o.qk_norm_eps != 0) block.attention.eps = o.qk_norm_eps;
  block.norm = o.norm;
  block.mlp.gated = o.gated;
  block.layer_scale = o.layer_scale;
  block.drop_path = o.drop_path;
  options.intermediate_size = block.mlp.intermediate_size;
  make_blocks({.block = block, .num_layers = o.num_layers}, {.final_norm = o.final_norm,
                                                             .norm_pooled = o.norm_pooled,
                                                             .pooling = options.pooling,
                                                             .pooler = o.pooler});
  if (o.init == nn::Initialization::clip) init_clip();
}

// open_clip's VisionTransformer: a scale of its own for what is added to the patches, torch's
// initialisation for everything else.
void VisionTransformerImpl::init_clip() {
  const auto D = static_cast<double>(options.hidden_size);
  const auto linear = [](nn::Linear& layer, bool bias) {
    const auto bound = 1 / std::sqrt(static_cast<double>(layer->options.in_features));
    nn::init_uniform(layer->weight, bound);
    if (bias && layer->bias.defined()) nn::init_uniform(layer->bias, bound);
  };
  for (const auto& tensor : {class_token, positions})
    if (tensor.defined()) nn::init_normal(tensor, 1 / std::sqrt(D));
  const auto fan_in = static_cast<double>(patch_embed->weight[0].numel());
  nn::init_uniform(patch_embed->weight, 1 / std::sqrt(fan_in));
  for (auto& block : blocks->blocks) {
    auto& attention = *block->attention;
    // Xavier over the one matrix [3D, D] that torch's attention keeps.
    for (auto* layer : {&attention.q, &attention.k, &attention.v})
      nn::init_uniform((*layer)->weight, std::sqrt(6 / (4 * D)));
    linear(attention.out, false);
    linear(block->mlp->fc1, true);
    linear(block->mlp->fc2, true);
  }
}

EncoderInfo VisionTransformerImpl::info() const {
  auto out = nn::encoder_info(options);
  out.prefix = (options.class_token ? 1 : 0) + options.num_registers;
  out.image_size = options.image_size;
  out.patch_size = options.patch_size;
  return out;
}

torch::Tensor VisionTransformerImpl::positions_for(int64_t height, int64_t width) const {
  const bool class_position = options.class_token && options.position_class;
  if (positions.defined())
    return nn::resample_positions(positions, height, width, class_position ? 1 : 0,
                                  options.resample);
  auto table = nn::sincos_2d(options.hidden_size, height, width)
                   .to(patch_embed->weight.options())
                   .unsqueeze(0);
  if (class_position) table = at::cat({at::zeros_like(table.narrow(1, 0, 1)), table}, 1);
  return table;
}

// Those of images that fill the first rows and columns of the grid only. [B, h*w, D].
torch::Tensor VisionTransformerImpl::positions_within(const torch::Tensor& real, int64_t height,
                                                      int64_t width) const {
  TORCH_CHECK_VALUE(
      positions.defined() && options.resample.mode == nn::Interpolation::bucket &&
          info().prefix == 0,
      "VisionTransformer: input.mask needs positions by bucket, without class and register tokens");
  const auto grid = real.to(at::kCPU).reshape({-1, height, width});
  const auto rows = grid.select(2, 0).sum(1), columns = grid.select(1, 0).sum(1);  // [B]
  const auto side = options.image_size / options.patch_size;
  std::vector<torch::Tensor> places;
  for (int64_t b = 0; b < grid.size(0); ++b)
    places.push_back(nn::position_buckets(height, rows[b].item<int64_t>(), side).unsqueeze(1) *
                         side +
                     nn::position_buckets(width, columns[b].item<int64_t>(), side));
  const auto ids = at::stack(places).mul_(grid).flatten();  // padding takes the first position
  return positions[0]
      .index_select(0, ids.to(positions.device()))
      .view({grid.size(0), height * width, -1});
}

torch::Tensor VisionTransformerImpl::embed(const torch::Tensor& pixels, const torch::Tensor& masked,
                                           const torch::Tensor& real) {
  const auto& o = options;
  TORCH_CHECK_VALUE(pixels.dim() == 4 && pixels.size(1) == o.num_channels,
                    "VisionTransformer: pixels must be [B, ", o.num_channels, ", H, W], got ",
                    pixels.sizes());
  TORCH_CHECK_VALUE(pixels.size(2) >= o.patch_size && pixels.size(3) >= o.patch_size,
                    "VisionTransformer: pixels of ", pixels.sizes(), " hold no patch of ",
                    o.patch_size, " x ", o.patch_size);
  TORCH_CHECK_VALUE(pixels.scalar_type() != at::kByte ||
                        (o.pixel_mean.size() == static_cast<size_t>(o.num_channels) &&
                         o.pixel_std.size() == o.pixel_mean.size()),
                    "VisionTransformer: uint8 pixels need pixel_mean and pixel_std of ",
                    o.num_channels, " channels, got ", o.pixel_mean.size(), " and ",
                    o.pixel_std.size());
  const bool fast =
      !masked.defined() && !real.defined() && nn::inference_applies(pixels, is_training());
  auto x = fast ? embed_packed(pixels) : embed_plain(pixels, masked, real);
  if (is_training() && o.embed_dropout > 0) x = at::dropout(x, o.embed_dropout, true);
  if (is_training() && o.patch_dropout > 0) x = drop_patches(x, info().prefix, o.patch_dropout);
  return pre_norm ? pre_norm(x) : x;
}

torch::Tensor VisionTransformerImpl::embed_plain(const torch::Tensor& pixels,
                                                 const torch::Tensor& masked,
                                                 const torch::Tensor& real) {
  const auto& o = options;
  const auto height = pixels.size(2) / o.patch_size, width = pixels.size(3) / o.patch_size;
  const auto& bias = patch_embed->bias;
  auto x = ops::patch_embed(pixels, patch_embed->weight,
                            bias.defined() ? std::optional(bias) : std::nullopt, o.pixel_mean,
                            o.pixel_std);  // [B, h*w, D]
  if (masked.defined()) {
    TORCH_CHECK_VALUE(mask_token.defined(),
                      "VisionTransformer: masked patches need mask_token, which is off");
    TORCH_CHECK_VALUE(masked.scalar_type() == at::kBool && masked.dim() == 2 &&
                          masked.size(0) == x.size(0) && masked.size(1) == x.size(1),
                      "VisionTransformer: masked must be [", x.size(0), ", ", x.size(1),
                      "] bool, got ", masked.sizes(), " ", masked.scalar_type());
    x = at::where(masked.unsqueeze(2), mask_token.to(x.scalar_type()).unsqueeze(0), x);
  }
  TORCH_CHECK_VALUE(
      !real.defined() || (real.scalar_type() == at::kBool && real.sizes() == x.sizes().slice(0, 2)),
      "VisionTransformer: input.mask must be ", x.sizes().slice(0, 2), " bool, got ", real.sizes(),
      " ", real.scalar_type());
  const auto table =
      real.defined() ? positions_within(real, height, width) : positions_for(height, width);
  const int64_t class_rows = table.size(1) - height * width;
  x = x + table.narrow(1, class_rows, height * width);
  std::vector<torch::Tensor> parts;
  const auto expanded = [&](const torch::Tensor& t) {
    return t.expand({x.size(0), -1, -1}).to(x.scalar_type());
  };
  if (class_token.defined())
    parts.push_back(expanded(class_rows ? class_token + table.narrow(1, 0, 1) : class_token));
  if (register_tokens.defined()) parts.push_back(expanded(register_tokens));
  parts.push_back(x);
  return parts.size() == 1 ? x : at::cat(parts, 1);
}

torch::Tensor VisionTransformerImpl::embed_packed(const torch::Tensor& pixels) {
  const auto& o = options;
  const auto height = pixels.size(2) / o.patch_size, width = pixels.size(3) / o.patch_size;
  const bool bytes = pixels.scalar_type() == at::kByte;
  const auto type = nn::inference_type();
  const nn::AutocastGuard off(at::kCPU, at::kBFloat16, false);
  const std::vector<torch::Tensor> sources{patch_embed->weight, patch_embed->bias, class_token,
                                           register_tokens, positions};
  if (packed_.type != type || packed_.bytes != bytes || packed_.height != height ||
      packed_.width != width || !packed_.stamp.matches(sources)) {
    auto weight = patch_embed->weight.detach().reshape({o.hidden_size, -1});
    auto bias = patch_embed->bias;
    if (bytes) {
      // As ops::patch_embed: W x + b = W' (u - 128) + b', b' from the rounded W'.
      const auto channel = [&](auto&& value) {  // [C] -> [C*p*p]
        std::vector<double> values;
        for (size_t c = 0; c < o.pixel_mean.size(); ++c)
          values.insert(values.end(), o.patch_size * o.patch_size, value(c));
        return at::tensor(values, at::kFloat);
      };
      weight = (weight * channel([&](size_t c) { return 1 / (255 * o.pixel_std[c]); })).to(type);
      const auto shift =
          at::mv(weight.to(at::kDouble),
                 channel([&](size_t c) { return 128 - 255 * o.pixel_mean[c]; }).to(at::kDouble));
      bias = bias.defined() ? shift.add_(bias) : shift;
    }
    packed_.patches = nn::PackedLinear(weight, bias, type, pixels.size(0) * height * width);
    const auto table = positions_for(height, width).detach().to(at::kFloat);
    const int64_t class_rows = table.size(1) - height * width;
    packed_.positions = table.narrow(1, class_rows, height * width).contiguous();
    std::vector<torch::Tensor> prefix;
    if (class_token.defined())
      prefix.push_back(class_rows ? class_token + table.narrow(1, 0, 1) : class_token);
    if (register_tokens.defined()) prefix.push_back(register_tokens);
    packed_.prefix = prefix.empty() ? torch::Tensor() : at::cat(prefix, 1).to(at::kFloat);
    packed_.type = type;
    packed_.bytes = bytes;
    packed_.height = height;
    packed_.width = width;
    packed_.stamp.set(sources);
  }
  auto cut = ops::patchify(pixels, o.patch_size).to(type);
  if (bytes) cut.sub_(128);
  const auto patches = packed_.patches(cut);  // [B, h*w, D]
  const auto before = packed_.prefix.defined() ? packed_.prefix.size(1) : 0;
  auto x = at::empty({pixels.size(0), before + height * width, o.hidden_size},
                     pixels.options().dtype(at::kFloat));
  if (before > 0) x.narrow(1, 0, before).copy_(packed_.prefix.expand({pixels.size(0), -1, -1}));
  auto rest = x.narrow(1, before, height * width);
  at::add_out(rest, patches, packed_.positions);
  return x;
}

EncoderOutput VisionTransformerImpl::encode(const EncoderInput& input,
                                            const EncodeOptions& encode_options) {
  TORCH_CHECK_VALUE(input.data.defined(), "VisionTransformer: input.data (pixels) is missing");
  const auto& real = input.mask;
  const auto x = embed(input.data, {}, real);
  const auto B = x.size(0), N = x.size(1);
  // Padding gives tokens too: what follows may read them.
  const auto visible = real.defined() ? real.view({B, 1, 1, N}).expand({B, 1, N, N}) : real;
  return encode_blocks(x, {.mask = real, .prefix = info().prefix}, encode_options, visible);
}

}  // namespace weft::vision
