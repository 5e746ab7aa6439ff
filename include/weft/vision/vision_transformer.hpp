#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <weft/nn/inference.hpp>
#include <weft/nn/positions.hpp>
#include <weft/nn/transformer_encoder.hpp>

namespace weft::vision {

enum class PositionKind {
  learned,  ///< a parameter
  sincos,   ///< nn::sincos_2d, fixed and not saved; the class token's is 0
};

/// Named after the Hugging Face configurations where the concept is the same.
struct VisionTransformerOptions {
  std::string family = "vit";  ///< as registered in checkpoint/families
  int64_t image_size = 224;    ///< pixels a side that the positions are made for
  int64_t patch_size = 16;     ///< pixels a side
  int64_t num_channels = 3;
  int64_t hidden_size = 384;  ///< D
  int64_t num_layers = 12;
  int64_t num_heads = 6;
  int64_t intermediate_size = 0;  ///< width inside the mlp; 0 = 4 * hidden_size
  nn::Activation activation = nn::Activation::gelu;
  bool gated = false;  ///< gated mlp, such as SwiGLU with the activation silu
  bool qkv_bias = true;
  bool qk_norm = false;        ///< a norm on each head's queries and keys
  bool qk_norm_whole = false;  ///< on those of all heads at once (InternViT)
  nn::NormKind qk_norm_kind = nn::NormKind::layer_norm;
  double qk_norm_eps = 0.0;  ///< 0 = eps
  bool patch_bias = true;
  nn::NormKind norm = nn::NormKind::layer_norm;  ///< in the blocks and after them
  double eps = 1e-6;                             ///< of every norm
  double layer_scale = 0.0;                      ///< initial value; 0 = none
  bool class_token = true;
  int64_t num_registers = 0;   ///< register tokens after the class token; they have no position
  bool position_class = true;  ///< the class token has a position
  bool mask_token = false;     ///< carries the token that stands for masked patches (DINOv2)
  PositionKind position_kind = PositionKind::learned;
  nn::ResampleOptions resample = {};  ///< of learned positions, for other image sizes
  bool pre_norm = false;              ///< a norm before the blocks (CLIP)
  bool final_norm = true;             ///< a norm after them
  bool norm_pooled = false;           ///< which is the pooled vector's alone (CLIP, timm's fc_norm)
  /// cls, mean, map, or encoder: the class token where there is one, else the mean patch.
  nn::Pooling pooling = nn::Pooling::encoder;
  bool pooler = false;   ///< tanh(linear(first token)) (HF ViT)
  double dropout = 0.0;  ///< on each branch, in training
  double embed_dropout = 0.0;
  /// Share of an image's patches that it leaves out in training (Li et al., 2023, FLIP).
  double patch_dropout = 0.0;
  double attention_dropout = 0.0;
  double drop_path = 0.0;                                  ///< the same in every block
  std::vector<double> pixel_mean = {0.485, 0.456, 0.406};  ///< of uint8 pixels / 255
  std::vector<double> pixel_std = {0.229, 0.224, 0.225};
  double init_std = 0.02;
  nn::Initialization init = nn::Initialization::trunc_normal;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("family", o.family);
    v("image_size", o.image_size);
    v("patch_size", o.patch_size);
    v("num_channels", o.num_channels);
    v("hidden_size", o.hidden_size);
    v("num_layers", o.num_layers);
    v("num_heads", o.num_heads);
    v("intermediate_size", o.intermediate_size);
    v("activation", o.activation);
    v("gated", o.gated);
    v("qkv_bias", o.qkv_bias);
    v("qk_norm", o.qk_norm);
    v("qk_norm_whole", o.qk_norm_whole);
    v("qk_norm_kind", o.qk_norm_kind);
    v("qk_norm_eps", o.qk_norm_eps);
    v("patch_bias", o.patch_bias);
    v("norm", o.norm);
    v("eps", o.eps);
    v("layer_scale", o.layer_scale);
    v("class_token", o.class_token);
    v("num_registers", o.num_registers);
    v("position_class", o.position_class);
    v("mask_token", o.mask_token);
    v("position_kind", o.position_kind);
    v("resample", o.resample);
    v("pre_norm", o.pre_norm);
    v("final_norm", o.final_norm);
    v("norm_pooled", o.norm_pooled);
    v("pooling", o.pooling);
    v("pooler", o.pooler);
    v("dropout", o.dropout);
    v("embed_dropout", o.embed_dropout);
    v("patch_dropout", o.patch_dropout);
    v("attention_dropout", o.attention_dropout);
    v("drop_path", o.drop_path);
    v("pixel_mean", o.pixel_mean);
    v("pixel_std", o.pixel_std);
    v("init_std", o.init_std);
    v("init", o.init);
  }
};

/// The vision transformer (Dosovitskiy et al., 2021) with what its descendants add: LayerScale and
/// gated mlps (DINOv2, Oquab et al., 2023), register tokens (Darcet et al., 2023), sine-cosine
/// positions (MoCo v3), attention pooling (SigLIP, Zhai et al., 2023). Tokens run
/// [class][registers][patches, rows first].
class WEFT_API VisionTransformerImpl : public nn::TransformerEncoder {
 public:
  explicit VisionTransformerImpl(const VisionTransformerOptions& options);

  /// input.data: pixels [B, C, H, W], float and normalised, or uint8 (then pixel_mean and pixel_std
  /// are folded into the patch embedding). Pixels beyond the last whole patch are not read. Other
  /// sizes than image_size resample the positions. input.mask [B, h*w] bool, for positions by
  /// bucket: the patches of images that fill the first rows and columns only; no patch attends to
  /// the others. tokens [B, N, D]; pooled [B, D] as options.pooling says, through the pooler where
  /// there is one; undefined where the tower was left early.
  EncoderOutput encode(const EncoderInput& input, const EncodeOptions& options = {}) override;
  EncoderInfo info() const override;

  /// Pixels to the tokens that enter the blocks, [B, N, D]. masked [B, h*w] bool: patches that the
  /// mask token replaces; real: input.mask of encode().
  torch::Tensor embed(const torch::Tensor& pixels, const torch::Tensor& masked = {},
                      const torch::Tensor& real = {});

  VisionTransformerOptions options;
  struct PatchEmbed : torch::nn::Module {
    torch::Tensor weight, bias;  // [D, C, p, p], [D]
  };
  std::shared_ptr<PatchEmbed> patch_embed;
  torch::Tensor class_token, register_tokens, mask_token;  // [1, 1, D], [1, R, D], [1, D]
  torch::Tensor positions;                                 // [1, N, D], learned
  nn::Norm pre_norm{nullptr};

 private:
  void init_clip();
  torch::Tensor positions_for(int64_t height, int64_t width) const;
  torch::Tensor positions_within(const torch::Tensor& real, int64_t height, int64_t width) const;
  torch::Tensor embed_plain(const torch::Tensor& pixels, const torch::Tensor& masked,
                            const torch::Tensor& real);
  torch::Tensor embed_packed(const torch::Tensor& pixels);

  // What the fast path keeps between calls; see nn/inference.hpp.
  struct Packed {
    nn::TensorStamp stamp;
    c10::ScalarType type = c10::kFloat;
    bool bytes = false;
    int64_t height = 0, width = 0;
    nn::PackedLinear patches;
    torch::Tensor prefix, positions;  // [1, prefix, D], [1, h*w, D], fp32
  } packed_;
};
WEFT_MODULE(VisionTransformer);

}  // namespace weft::vision

template <>
inline constexpr std::string_view weft::enum_names<weft::vision::PositionKind>[] = {"learned",
                                                                                    "sincos"};
