// timm's names of vision transformers, and what stands behind them.
#include "checkpoint/timm_vit.hpp"

#include <algorithm>
#include <map>
#include <string_view>
#include <vector>

#include "checkpoint/config_reader.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

struct Size {
  int64_t embed_dim, depth, num_heads;
  double mlp_ratio = 4;
};

const std::map<std::string_view, Size>& vit_sizes() {
  static const std::map<std::string_view, Size> out = {
      {"xsmall", {256, 10, 4}},
      {"tiny", {192, 12, 3}},
      {"wee", {256, 14, 4, 5}},
      {"little", {320, 14, 5, 5.6}},
      {"small", {384, 12, 6}},
      {"medium", {512, 12, 8}},
      {"mediumd", {512, 20, 8}},
      {"betwixt", {640, 12, 10}},
      {"base", {768, 12, 12}},
      {"large", {1024, 24, 16}},
      {"so400m", {1152, 27, 16, 3.7362}},
      {"huge", {1280, 32, 16}},
      {"giant", {1408, 40, 16, 48.0 / 11}},
      {"giantopt", {1536, 40, 16}},
      {"gigantic", {1664, 48, 16, 64.0 / 13}},
  };
  return out;
}

std::vector<std::string> name_parts(const std::string& name) {
  std::vector<std::string> out;
  for (size_t start = 0; start <= name.size();) {
    const auto end = std::min(name.find('_', start), name.size());
    out.push_back(name.substr(start, end - start));
    start = end + 1;
  }
  return out;
}

/// The number behind `prefix`, which is all that follows; -1 = there is none.
int64_t number_behind(std::string_view part, std::string_view prefix) {
  if (!part.starts_with(prefix) || part.size() == prefix.size() || part.size() > prefix.size() + 4)
    return -1;
  int64_t out = 0;
  for (const char c : part.substr(prefix.size())) {
    if (c < '0' || c > '9') return -1;
    out = 10 * out + (c - '0');
  }
  return out;
}

[[noreturn]] void fail_unknown(const std::string& name) {
  fail(
      "timm's architecture '{}' is not known here; known are vit_<size>_patch<n>_<pixels> and its "
      "forms with plus, clip, clip_quickgelu, siglip, siglip_gap, dinov2, reg4_dinov2 and "
      "reg<n>_gap",
      name);
}

// SigLIP 2 replaced the activation; models that exist in one version only have that one's.
bool second_siglip(std::string_view size, int64_t patch, int64_t pixels) {
  return patch == 32 || (size == "large" && pixels == 512) || (size == "so400m" && patch == 16) ||
         size == "giantopt";
}

bool operator==(const std::vector<std::string>& parts, std::string_view joined) {
  std::string all;
  for (const auto& part : parts) all += (all.empty() ? "" : "_") + part;
  return all == joined;
}

}  // namespace

TimmVit timm_architecture(const std::string& full) {
  const auto name = full.substr(0, full.find('.'));  // what follows names the weights
  auto parts = name_parts(name);
  const auto size = parts.size() > 2 ? vit_sizes().find(parts[1]) : vit_sizes().end();
  const auto patch = parts.size() > 2 ? number_behind(parts[2], "patch") : -1;
  if (parts[0] != "vit" || size == vit_sizes().end() || patch <= 0) fail_unknown(name);
  TimmVit out{.patch_size = patch,
              .embed_dim = size->second.embed_dim,
              .depth = size->second.depth,
              .num_heads = size->second.num_heads,
              .mlp_ratio = size->second.mlp_ratio};
  const std::string_view size_name = size->first;
  parts.erase(parts.begin(), parts.begin() + 3);
  const auto pixels = parts.empty() ? -1 : number_behind(parts.back(), "");
  if (pixels > 0) {
    out.img_size = pixels;
    parts.pop_back();
  }
  const auto no_class = [&](const char* pool) {
    out.class_token = false;
    out.global_pool = pool;
  };
  if (!parts.empty() && parts[0] == "plus" && size_name == "base") {
    out.embed_dim = 896;
    out.num_heads = 14;
    if (parts.size() == 1) out.init_values = 1e-5;
    parts.erase(parts.begin());
  }
  if (pixels <= 0) {
    if (parts.empty() || parts.back() != "dinov2") fail_unknown(name);
    out.img_size = 518;
    out.init_values = 1e-5;
    if (size_name == "giant") {
      out.embed_dim = 1536;
      out.num_heads = 24;
      out.mlp_ratio = 5.33334;
      out.act_layer = "silu";
      out.gated = true;
    }
    parts.pop_back();
    if (!parts.empty()) {
      const auto registers = number_behind(parts[0], "reg");
      if (registers <= 0 || parts.size() > 1) fail_unknown(name);
      out.reg_tokens = registers;
      out.no_embed_class = true;
    }
  } else if (parts == "clip" || parts == "clip_quickgelu") {
    out.pre_norm = true;
    out.eps = 1e-5;
    if (parts.size() == 2) out.act_layer = "quick_gelu";
  } else if (parts == "siglip" || parts == "siglip_gap") {
    const bool gap = parts.size() == 2;
    no_class(gap ? "avg" : "map");
    if (gap) out.fc_norm = false;
    if (second_siglip(size_name, patch, pixels)) out.act_layer = "gelu_tanh";
  } else if (parts.size() == 2 && parts[1] == "gap" && number_behind(parts[0], "reg") > 0 &&
             (size_name == "base" || size_name.starts_with("medium") || size_name == "betwixt" ||
              size_name == "little" || size_name == "wee")) {
    no_class("avg");
    out.reg_tokens = number_behind(parts[0], "reg");
    out.no_embed_class = true;
    if (size_name != "base") out.init_values = 1e-5;
  } else if (!parts.empty()) {
    fail_unknown(name);
  }
  return out;
}

void override_timm(TimmVit& vit, const Json& args) {
  const ConfigReader read(args, "timm");
  for (const auto& key : args.keys()) {
    if (key == "img_size")
      vit.img_size = read.side(key, 224);
    else if (key == "patch_size")
      vit.patch_size = read.side(key, 16);
    else if (key == "in_chans")
      vit.in_chans = read.integer(key, 3);
    else if (key == "embed_dim")
      vit.embed_dim = read.integer(key, 768);
    else if (key == "depth")
      vit.depth = read.integer(key, 12);
    else if (key == "num_heads")
      vit.num_heads = read.integer(key, 12);
    else if (key == "mlp_ratio")
      vit.mlp_ratio = read.number(key, 4);
    else if (key == "qkv_bias")
      vit.qkv_bias = read.boolean(key, true);
    else if (key == "qk_norm")
      vit.qk_norm = read.boolean(key, false);
    else if (key == "init_values")
      vit.init_values = read.number(key, 0);
    else if (key == "class_token")
      vit.class_token = read.boolean(key, true);
    else if (key == "no_embed_class")
      vit.no_embed_class = read.boolean(key, false);
    else if (key == "reg_tokens")
      vit.reg_tokens = read.integer(key, 0);
    else if (key == "pre_norm")
      vit.pre_norm = read.boolean(key, false);
    else if (key == "final_norm")
      vit.final_norm = read.boolean(key, true);
    else if (key == "fc_norm")
      vit.fc_norm = args.at(key);
    else if (key == "global_pool")
      vit.global_pool = read.text(key, "token");
    else if (key == "act_layer")
      vit.act_layer = read.text(key, "gelu");
    else if (key != "num_classes" && key != "dynamic_img_size" && !key.ends_with("_rate"))
      fail("timm's model argument '{}' is not supported", key);
  }
}

vision::VisionTransformerOptions timm_options(const TimmVit& vit) {
  if (!vit.no_embed_class && vit.reg_tokens > 0)
    fail("timm: positions of register tokens (no_embed_class = false) are not supported");
  static const std::map<std::string_view, nn::Pooling> poolings = {
      {"token", nn::Pooling::cls}, {"avg", nn::Pooling::mean}, {"map", nn::Pooling::map}};
  const auto pooling = poolings.find(vit.global_pool);
  if (pooling == poolings.end())
    fail("timm: global_pool '{}' is not supported; token, avg and map are", vit.global_pool);
  const bool fc_norm = vit.fc_norm.is_null() ? vit.global_pool == "avg" : vit.fc_norm.as_bool();
  if (vit.global_pool == "map" && (fc_norm || vit.class_token || vit.reg_tokens > 0))
    fail("timm: global_pool 'map' is supported without fc_norm, class and register tokens only");
  static const std::map<std::string_view, nn::Activation> activations = {
      {"gelu", nn::Activation::gelu},
      {"gelu_tanh", nn::Activation::gelu_tanh},
      {"quick_gelu", nn::Activation::quick_gelu},
      {"relu", nn::Activation::relu},
      {"silu", nn::Activation::silu}};
  const auto activation = activations.find(vit.act_layer);
  if (activation == activations.end()) fail("timm: act_layer '{}' is not supported", vit.act_layer);
  const auto width = static_cast<int64_t>(static_cast<double>(vit.embed_dim) * vit.mlp_ratio);
  return {.family = "timm_vit",
          .image_size = vit.img_size,
          .patch_size = vit.patch_size,
          .num_channels = vit.in_chans,
          .hidden_size = vit.embed_dim,
          .num_layers = vit.depth,
          .num_heads = vit.num_heads,
          .intermediate_size = vit.gated ? width / 2 : width,
          .activation = activation->second,
          .gated = vit.gated,
          .qkv_bias = vit.qkv_bias,
          .qk_norm = vit.qk_norm,
          .patch_bias = !vit.pre_norm,
          .eps = vit.eps,
          .layer_scale = vit.init_values,
          .class_token = vit.class_token,
          .num_registers = vit.reg_tokens,
          .position_class = !vit.no_embed_class,
          .resample = {.antialias = true},
          .pre_norm = vit.pre_norm,
          .final_norm = vit.final_norm,
          .norm_pooled = fc_norm && vit.final_norm,
          .pooling = pooling->second};
}

}  // namespace weft::checkpoint
