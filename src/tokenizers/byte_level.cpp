#include "tokenizers/components.hpp"

namespace weft::tokenizers {

void PostProcessor::adjust(Encoding&) const {}

}  // namespace weft::tokenizers
