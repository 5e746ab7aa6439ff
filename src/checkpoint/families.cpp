#include <weft/checkpoint/families.hpp>

#include "checkpoint/family_list.hpp"

namespace weft::checkpoint {

Registry<Family>& families() {
  static auto registry = [] {
    Registry<Family> out("model family");
    out.add("bert", bert_family());
    out.add("clip_text_model", clip_text_family());
    out.add("clip_vision_model", clip_vision_family());
    out.add("dinov2", dinov2_family(false));
    out.add("dinov2_with_registers", dinov2_family(true));
    out.add("idefics3_vision", idefics3_vision_family());
    out.add("internvl_vision", internvl_vision_family());
    out.add("siglip_text_model", siglip_text_family());
    out.add("siglip_vision_model", siglip_vision_family());
    out.add("smolvlm_vision", smolvlm_vision_family());
    out.add("timm_vit", timm_vit_family());
    out.add("vit", vit_family());
    return out;
  }();
  return registry;
}

Family encoder_family(const std::string& name) {
  const bool decoder = !families().contains(name) && lm_families().contains(name);
  return decoder ? decoder_family(name) : families().at(name);
}

Registry<LmFamily>& lm_families() {
  static auto registry = [] {
    Registry<LmFamily> out("model family");
    out.add("gemma", gemma_family(1));
    out.add("gemma2", gemma_family(2));
    out.add("gemma3_text", gemma_family(3));
    out.add("gpt2", gpt2_family());
    out.add("llama", llama_family());
    out.add("mistral", mistral_family());
    out.add("opt", opt_family());
    out.add("phi3", phi3_family());
    out.add("qwen2", qwen2_family());
    out.add("qwen3", qwen3_family());
    return out;
  }();
  return registry;
}

Registry<VlmFamily>& vlm_families() {
  static auto registry = [] {
    Registry<VlmFamily> out("vision-language family");
    out.add("idefics3", idefics3_family());
    out.add("internvl", internvl_family());
    out.add("llava", llava_family());
    out.add("llava_next", llava_next_family());
    out.add("llava_onevision", llava_onevision_family());
    out.add("paligemma", paligemma_family());
    out.add("smolvlm", smolvlm_family());
    return out;
  }();
  return registry;
}

}  // namespace weft::checkpoint
