// open_clip's model configurations by name. The ViTs of the CLIP paper (Radford et al., 2021, table
// 20) are ViT-B-32, ViT-B-16, ViT-L-14 and ViT-L-14-336 with -quickgelu.
#include <string>

#include <weft/checkpoint/dual_families.hpp>

namespace weft::checkpoint {
namespace {

struct ClipRow {
  const char* name;
  int64_t embed_dim, image_size, layers, width, patch_size;
  int64_t text_width, text_heads, text_layers;
  int64_t head_width = 64;  // of the image tower
  double mlp_ratio = 4;     // likewise
};

constexpr ClipRow kClip[] = {
    {"ViT-S-32", 384, 224, 12, 384, 32, 384, 6, 12},
    {"ViT-S-32-alt", 256, 224, 12, 384, 32, 256, 4, 10},
    {"ViT-S-16", 384, 224, 12, 384, 16, 384, 6, 12},
    {"ViT-S-16-alt", 256, 224, 12, 384, 16, 256, 4, 10},
    {"ViT-M-32", 512, 224, 12, 512, 32, 512, 8, 12},
    {"ViT-M-16", 512, 224, 12, 512, 16, 512, 8, 12},
    {"ViT-B-32", 512, 224, 12, 768, 32, 512, 8, 12},
    {"ViT-B-32-256", 512, 256, 12, 768, 32, 512, 8, 12},
    {"ViT-B-32-plus-256", 640, 256, 12, 896, 32, 640, 10, 12},
    {"ViT-B-16", 512, 224, 12, 768, 16, 512, 8, 12},
    {"ViT-B-16-plus", 640, 224, 12, 896, 16, 640, 10, 12},
    {"ViT-B-16-plus-240", 640, 240, 12, 896, 16, 640, 10, 12},
    {"ViT-L-16", 768, 224, 24, 1024, 16, 768, 12, 12},
    {"ViT-L-16-320", 768, 320, 24, 1024, 16, 768, 12, 12},
    {"ViT-L-14", 768, 224, 24, 1024, 14, 768, 12, 12},
    {"ViT-L-14-280", 768, 280, 24, 1024, 14, 768, 12, 12},
    {"ViT-L-14-336", 768, 336, 24, 1024, 14, 768, 12, 12},
    {"ViT-H-16", 1024, 224, 32, 1280, 16, 1024, 16, 24, 80},
    {"ViT-H-14", 1024, 224, 32, 1280, 14, 1024, 16, 24, 80},
    {"ViT-H-14-378", 1024, 378, 32, 1280, 14, 1024, 16, 24, 80},
    {"ViT-g-14", 1024, 224, 40, 1408, 14, 1024, 16, 24, 88, 4.3637},
    {"ViT-bigG-14", 1280, 224, 48, 1664, 14, 1280, 20, 32, 104, 4.9231},
    {"ViT-e-14", 1280, 224, 56, 1792, 14, 1280, 20, 36, 112, 8.5715},
};

constexpr const char* kQuickGelu[] = {"ViT-B-32", "ViT-B-16",     "ViT-L-14",   "ViT-L-14-336",
                                      "ViT-H-14", "ViT-H-14-378", "ViT-bigG-14"};

struct SiglipRow {
  const char *name, *trunk, *tokenizer;
  int64_t embed_dim, image_size, vocab_size, text_width;
  int64_t context_length = 64;
};

constexpr SiglipRow kSiglip[] = {
    {"ViT-B-16-SigLIP", "vit_base_patch16_siglip_224", "ViT-B-16-SigLIP", 768, 224, 32000, 768},
    {"ViT-B-16-SigLIP-256", "vit_base_patch16_siglip_256", "ViT-B-16-SigLIP", 768, 256, 32000, 768},
    {"ViT-B-16-SigLIP-384", "vit_base_patch16_siglip_384", "ViT-B-16-SigLIP", 768, 384, 32000, 768},
    {"ViT-B-16-SigLIP-512", "vit_base_patch16_siglip_512", "ViT-B-16-SigLIP", 768, 512, 32000, 768},
    {"ViT-B-16-SigLIP-i18n-256", "vit_base_patch16_siglip_256", "ViT-B-16-SigLIP-i18n-256", 768,
     256, 250000, 768},
    {"ViT-L-16-SigLIP-256", "vit_large_patch16_siglip_256", "ViT-B-16-SigLIP", 1024, 256, 32000,
     1024},
    {"ViT-L-16-SigLIP-384", "vit_large_patch16_siglip_384", "ViT-B-16-SigLIP", 1024, 384, 32000,
     1024},
    {"ViT-SO400M-14-SigLIP", "vit_so400m_patch14_siglip_224", "ViT-B-16-SigLIP", 1152, 224, 32000,
     1152, 16},
    {"ViT-SO400M-14-SigLIP-378", "vit_so400m_patch14_siglip_378", "ViT-B-16-SigLIP", 1152, 378,
     32000, 1152},
    {"ViT-SO400M-14-SigLIP-384", "vit_so400m_patch14_siglip_384", "ViT-B-16-SigLIP", 1152, 384,
     32000, 1152},
    {"ViT-B-32-SigLIP2-256", "vit_base_patch32_siglip_256", "ViT-B-32-SigLIP2-256", 768, 256,
     256000, 768},
    {"ViT-B-16-SigLIP2", "vit_base_patch16_siglip_224", "ViT-B-16-SigLIP2", 768, 224, 256000, 768},
    {"ViT-B-16-SigLIP2-256", "vit_base_patch16_siglip_256", "ViT-B-16-SigLIP2-256", 768, 256,
     256000, 768},
    {"ViT-B-16-SigLIP2-384", "vit_base_patch16_siglip_384", "ViT-B-16-SigLIP2-384", 768, 384,
     256000, 768},
    {"ViT-B-16-SigLIP2-512", "vit_base_patch16_siglip_512", "ViT-B-16-SigLIP2-512", 768, 512,
     256000, 768},
    {"ViT-L-16-SigLIP2-256", "vit_large_patch16_siglip_256", "ViT-L-16-SigLIP2-256", 1024, 256,
     256000, 1024},
    {"ViT-L-16-SigLIP2-384", "vit_large_patch16_siglip_384", "ViT-L-16-SigLIP2-384", 1024, 384,
     256000, 1024},
    {"ViT-L-16-SigLIP2-512", "vit_large_patch16_siglip_512", "ViT-L-16-SigLIP2-512", 1024, 512,
     256000, 1024},
    {"ViT-SO400M-14-SigLIP2", "vit_so400m_patch14_siglip_224", "ViT-SO400M-14-SigLIP2", 1152, 224,
     256000, 1152},
    {"ViT-SO400M-14-SigLIP2-378", "vit_so400m_patch14_siglip_378", "ViT-SO400M-14-SigLIP2-378",
     1152, 378, 256000, 1152},
    {"ViT-SO400M-16-SigLIP2-256", "vit_so400m_patch16_siglip_256", "ViT-SO400M-16-SigLIP2-256",
     1152, 256, 256000, 1152},
    {"ViT-SO400M-16-SigLIP2-384", "vit_so400m_patch16_siglip_384", "ViT-SO400M-16-SigLIP2-384",
     1152, 384, 256000, 1152},
    {"ViT-SO400M-16-SigLIP2-512", "vit_so400m_patch16_siglip_512", "ViT-SO400M-16-SigLIP2-512",
     1152, 512, 256000, 1152},
    {"ViT-gopt-16-SigLIP2-256", "vit_giantopt_patch16_siglip_256", "ViT-gopt-16-SigLIP2-256", 1536,
     256, 256000, 1152},
    {"ViT-gopt-16-SigLIP2-384", "vit_giantopt_patch16_siglip_384", "ViT-gopt-16-SigLIP2-384", 1536,
     384, 256000, 1152},
};

Json clip_preset(const ClipRow& row) {
  auto vision = Json::object({{"image_size", row.image_size},
                              {"layers", row.layers},
                              {"width", row.width},
                              {"patch_size", row.patch_size}});
  if (row.head_width != 64) vision.set("head_width", row.head_width);
  if (row.mlp_ratio != 4) vision.set("mlp_ratio", row.mlp_ratio);
  return Json::object({{"embed_dim", row.embed_dim},
                       {"vision_cfg", vision},
                       {"text_cfg", Json::object({{"context_length", 77},
                                                  {"vocab_size", 49408},
                                                  {"width", row.text_width},
                                                  {"heads", row.text_heads},
                                                  {"layers", row.text_layers}})}});
}

Json siglip_preset(const SiglipRow& row) {
  const int64_t width = row.text_width;
  auto text = Json::object({{"context_length", row.context_length},
                            {"vocab_size", row.vocab_size},
                            {"hf_tokenizer_name", std::string("timm/") + row.tokenizer},
                            {"tokenizer_kwargs", Json::object({{"clean", "canonicalize"}})},
                            {"width", width},
                            {"heads", width == 768 ? 12 : 16},
                            {"layers", width == 768    ? 12
                                       : width == 1024 ? 24
                                                       : 27},
                            {"no_causal_mask", true},
                            {"proj_bias", true},
                            {"pool_type", "last"},
                            {"norm_kwargs", Json::object({{"eps", 1e-6}})}});
  if (width == 1152) text.set("mlp_ratio", 3.7362);
  if (row.vocab_size == 256000) text.set("act_kwargs", Json::object({{"approximate", "tanh"}}));
  return Json::object({{"embed_dim", row.embed_dim},
                       {"init_logit_bias", -10},
                       {"custom_text", true},
                       {"vision_cfg", Json::object({{"image_size", row.image_size},
                                                    {"timm_model_name", row.trunk},
                                                    {"timm_model_pretrained", false},
                                                    {"timm_pool", "map"},
                                                    {"timm_proj", "none"}})},
                       {"text_cfg", text}});
}

}  // namespace

const Registry<Json>& dual_presets() {
  static const auto registry = [] {
    Registry<Json> out("open_clip model");
    for (const auto& row : kClip) out.add(row.name, clip_preset(row));
    for (const auto* name : kQuickGelu)
      out.add(std::string(name) + "-quickgelu", Json(out.at(name)).set("quick_gelu", true));
    for (const auto& row : kSiglip) out.add(row.name, siglip_preset(row));
    return out;
  }();
  return registry;
}

}  // namespace weft::checkpoint
