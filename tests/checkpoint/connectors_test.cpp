#include <torch/types.h>
#include <torch/utils.h>

#include <weft/checkpoint/connectors.hpp>

#include "support/gmock.hpp"

namespace connectors_test {

using namespace weft::test;
using weft::Error;
using weft::checkpoint::connector_config;
using weft::checkpoint::connector_of;
using weft::checkpoint::make_connector;

struct Named {
  const char* name;
  int64_t tokens;  // of a grid of 4 x 4
};
constexpr Named kNames[] = {{"linear", 16},       {"mlp2x_gelu", 16},  {"mlp3x_gelu", 16},
                            {"pixel_shuffle", 4}, {"average_pool", 4}, {"resampler", 5}};

TEST(MakeConnector, GivesAsManyTokensAsItsNameSays) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  for (const auto& [name, tokens] : kNames) {
    const auto connector = make_connector(name, 6, 16, 2, 5);
    const auto out = connector->connect({.visual = {.tokens = torch::randn({2, 16, 6})}}).tokens;
    EXPECT_EQ(out.sizes(), (std::vector<int64_t>{2, tokens, 16})) << name;
  }
}

TEST(MakeConnector, IsMadeAgainFromItsConfig) {
  for (const auto& [name, tokens] : kNames) {
    const auto connector = make_connector(name, 6, 16, 2, 5);
    const auto again = connector_of(connector_config(*connector))->named_parameters();
    ASSERT_EQ(again.size(), connector->named_parameters().size()) << name;
    for (const auto& item : connector->named_parameters())
      EXPECT_EQ(again[item.key()].sizes(), item.value().sizes()) << name << ' ' << item.key();
  }
}

TEST(MakeConnector, ListsTheNamesForAnother) {
  EXPECT_THAT([] { make_connector("resampeler", 6, 16); },
              ThrowsMessage<Error>(HasSubstr("resampler")));
}

}  // namespace connectors_test
