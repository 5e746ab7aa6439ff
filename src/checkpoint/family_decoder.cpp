// Decoder language models as text encoders, in the layouts that they have by themselves.
#include <weft/text/lm_encoder.hpp>

#include "checkpoint/family_list.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {

Family decoder_family(const std::string& name) {
  const auto decoder = lm_families().at(name);
  const auto make = [decoder](const Json& config,
                              const Family::Has& has) -> std::shared_ptr<Encoder> {
    auto own = config;
    // Saved from AutoModel, without the head, which an encoder does not need.
    if (!has("lm_head.weight")) own.set("tie_word_embeddings", true);
    return std::make_shared<text::LmEncoderImpl>(decoder.make(own));
  };
  const auto key_map = [decoder](const Json& config) {
    KeyMap map;
    map.nest(decoder.key_map(config), "", "language.");
    return map;
  };
  const auto config = [decoder, name](const Encoder& encoder) {
    const auto* made = dynamic_cast<const text::LmEncoderImpl*>(&encoder);
    if (made == nullptr)
      fail("the family {} holds decoder language models, found another encoder", name);
    return decoder.config(*made->language);
  };
  return {Role::text, decoder.architecture, make, key_map, config};
}

}  // namespace weft::checkpoint
