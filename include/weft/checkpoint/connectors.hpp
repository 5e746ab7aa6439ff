#pragma once

#include <functional>
#include <memory>
#include <string>

#include <weft/core/json.hpp>
#include <weft/core/registry.hpp>
#include <weft/nn/sockets.hpp>

namespace weft::checkpoint {

/// A kind of connector, to and from the options that weft's own folder keeps.
struct ConnectorFamily {
  /// Freshly initialised. Error for options that are not the kind's.
  std::function<std::shared_ptr<Connector>(const Json& options)> make;
  /// The options of one of this kind; null for another.
  std::function<Json(const Connector& connector)> options;
};

/// By kind: projector (fusion::ProjectorOptions), resampler (fusion::ResamplerOptions), anyres
/// (fusion::AnyResOptions and the projector within).
WEFT_API Registry<ConnectorFamily>& connectors();

/// A freshly initialised connector by LLaVA's names: linear, mlp2x_gelu (or another depth,
/// mlp3x_gelu); pixel_shuffle, an MLP behind a shuffle of `shuffle` x `shuffle` tokens, and
/// average_pool, one behind their mean; resampler, of `num_queries` tokens. Error for another name,
/// which lists these.
WEFT_API std::shared_ptr<Connector> make_connector(const std::string& name, int64_t input_size,
                                                   int64_t hidden_size, int64_t shuffle = 2,
                                                   int64_t num_queries = 64);

/// {"type", "options"} of a connector; Error where no registered kind knows it.
WEFT_API Json connector_config(const Connector& connector);
WEFT_API std::shared_ptr<Connector> connector_of(const Json& config);

}  // namespace weft::checkpoint
