#pragma once

#include <weft/checkpoint/families.hpp>

namespace weft::checkpoint {

/// Hugging Face's BertModel.
Family bert_family();
/// Hugging Face's Dinov2Model, or Dinov2WithRegistersModel.
Family dinov2_family(bool with_registers);
/// Hugging Face's ViTModel.
Family vit_family();

}  // namespace weft::checkpoint
