#pragma once

#include <weft/checkpoint/dual_families.hpp>
#include <weft/checkpoint/lm_families.hpp>
#include <weft/checkpoint/vlm_families.hpp>

namespace weft::checkpoint {

/// Hugging Face's BertModel.
Family bert_family();
/// Hugging Face's CLIPVisionModel and CLIPTextModel, SiglipVisionModel and SiglipTextModel.
Family clip_vision_family();
Family clip_text_family();
Family siglip_vision_family();
Family siglip_text_family();
/// Hugging Face's Dinov2Model, or Dinov2WithRegistersModel.
Family dinov2_family(bool with_registers);
/// Hugging Face's ViTModel.
Family vit_family();

/// Hugging Face's Idefics3VisionTransformer and SmolVLMVisionTransformer.
Family idefics3_vision_family();
Family smolvlm_vision_family();

/// Hugging Face's InternVLVisionModel.
Family internvl_vision_family();

/// timm's VisionTransformer.
Family timm_vit_family();

/// One of lm_families() as a text encoder.
Family decoder_family(const std::string& name);

/// Hugging Face's causal language models.
LmFamily llama_family();
LmFamily mistral_family();
LmFamily qwen2_family();
LmFamily qwen3_family();
LmFamily phi3_family();
LmFamily gemma_family(int version);
LmFamily gpt2_family();
LmFamily opt_family();

/// Hugging Face's LLaVA-1.5, LLaVA-NeXT and LLaVA-OneVision.
VlmFamily llava_family();
VlmFamily llava_next_family();
VlmFamily llava_onevision_family();
/// Hugging Face's Idefics3 and SmolVLM.
VlmFamily idefics3_family();
VlmFamily smolvlm_family();
/// Hugging Face's InternVL.
VlmFamily internvl_family();
/// Hugging Face's PaliGemma 1 and 2.
VlmFamily paligemma_family();

/// open_clip's CLIP and CustomTextCLIP with its own ViT and text transformer.
DualFamily open_clip_family();

}  // namespace weft::checkpoint
