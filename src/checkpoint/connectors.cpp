#include <weft/checkpoint/connectors.hpp>
#include <weft/fusion/anyres.hpp>
#include <weft/fusion/projector.hpp>
#include <weft/fusion/resampler.hpp>

#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

/// A kind whose module has its options as a member.
template <class Module, class Options>
ConnectorFamily of_options(const std::string& name) {
  return {.make =
              [name](const Json& options) {
                return std::make_shared<Module>(from_json<Options>(options, name));
              },
          .options =
              [](const Connector& connector) {
                const auto* known = dynamic_cast<const Module*>(&connector);
                return known == nullptr ? Json() : to_json(known->options);
              }};
}

/// Its options, and "projector": the config of the connector in it.
ConnectorFamily anyres_family() {
  return {.make = [](const Json& options) -> std::shared_ptr<Connector> {
            const auto own =
                from_json<fusion::AnyResOptions>(Json(options).erase("projector"), "anyres");
            return std::make_shared<fusion::AnyResImpl>(connector_of(options.at("projector")), own);
          },
          .options =
              [](const Connector& connector) {
                const auto* known = dynamic_cast<const fusion::AnyResImpl*>(&connector);
                return known == nullptr
                           ? Json()
                           : to_json(known->options)
                                 .set("projector", connector_config(*known->projector));
              }};
}

/// 2 of "mlp2x_gelu"; 0 for other names.
int64_t mlp_depth(const std::string& name) {
  const bool known = name.size() == 10 && name.starts_with("mlp") && name.ends_with("x_gelu");
  return known && name[3] >= '1' && name[3] <= '9' ? name[3] - '0' : 0;
}

}  // namespace

Registry<ConnectorFamily>& connectors() {
  static auto registry = [] {
    Registry<ConnectorFamily> out("kind of connector");
    out.add("projector", of_options<fusion::ProjectorImpl, fusion::ProjectorOptions>("projector"));
    out.add("anyres", anyres_family());
    out.add("resampler", of_options<fusion::ResamplerImpl, fusion::ResamplerOptions>("resampler"));
    return out;
  }();
  return registry;
}

std::shared_ptr<Connector> make_connector(const std::string& name, int64_t input_size,
                                          int64_t hidden_size, int64_t shuffle,
                                          int64_t num_queries) {
  if (name == "resampler")
    return std::make_shared<fusion::ResamplerImpl>(fusion::ResamplerOptions{
        .input_size = input_size, .hidden_size = hidden_size, .num_queries = num_queries});
  fusion::ProjectorOptions options{.input_size = input_size, .hidden_size = hidden_size};
  if (name == "linear")
    options.depth = 1;
  else if (const auto depth = mlp_depth(name))
    options.depth = depth;
  else if (name == "pixel_shuffle")
    options.shuffle = shuffle;
  else if (name == "average_pool")
    options.pool = shuffle;
  else
    throw Error(detail::unknown_name(
                    "connector", name,
                    {"linear", "mlp2x_gelu", "pixel_shuffle", "average_pool", "resampler"}),
                ErrorKind::usage);
  return std::make_shared<fusion::ProjectorImpl>(options);
}

Json connector_config(const Connector& connector) {
  for (const auto& type : connectors().names())
    if (const auto options = connectors().at(type).options(connector); !options.is_null())
      return Json::object({{"type", type}, {"options", options}});
  fail("a connector of a kind that is not registered cannot be saved: connectors().add() it");
}

std::shared_ptr<Connector> connector_of(const Json& config) {
  return connectors().at(config.at("type").as_string()).make(config.at("options"));
}

}  // namespace weft::checkpoint
