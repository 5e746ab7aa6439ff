#include <algorithm>
#include <map>

#include <fmt/format.h>

#include <weft/data/sample.hpp>
#include <weft/data/token_budget.hpp>

namespace weft::data {

std::string TokenBudget::line(int64_t max_length) const {
  if (most == 0) return what + ": no visual tokens";
  const auto range = fewest == most ? std::to_string(most) : fmt::format("{} to {}", fewest, most);
  return fmt::format("{}: {} visual tokens, {}{:.1f} % of --max-length {}", what, range,
                     fewest == most ? "" : "up to ",
                     100.0 * static_cast<double>(most) / static_cast<double>(max_length),
                     max_length);
}

TokenBudget image_budget(const std::string& name, const io::Image& image, int64_t tokens) {
  return {.what = fmt::format("{} ({} x {} pixels)", name, image.width, image.height),
          .fewest = tokens,
          .most = tokens};
}

std::vector<TokenBudget> sample_budgets(const ConversationSource& source,
                                        const std::function<int64_t(int64_t)>& tokens,
                                        int64_t looked_at) {
  struct Kind {
    int64_t samples = 0, fewest = 0, most = 0;
  };
  std::map<size_t, Kind> kinds;  // by number of images
  const auto count = std::min(looked_at, source.size());
  int64_t read = 0;
  for (int64_t i = 0; i < count; ++i) {
    try {
      const auto images = source.read(i * source.size() / count).images;
      int64_t sum = 0;
      for (const auto image : images) sum += tokens(image);
      auto& kind = kinds[images.size()];
      kind.fewest = kind.samples == 0 ? sum : std::min(kind.fewest, sum);
      kind.most = std::max(kind.most, sum);
      ++kind.samples;
      ++read;
    } catch (const BadSample&) {
      continue;  // the loader counts it
    }
  }
  std::vector<TokenBudget> out;
  for (const auto& [images, kind] : kinds) {
    const auto name = images == 0 ? std::string("without images")
                                  : fmt::format("with {} image{}", images, images == 1 ? "" : "s");
    out.push_back({.what = fmt::format("samples {} ({} of {})", name, kind.samples, read),
                   .fewest = kind.fewest,
                   .most = kind.most});
  }
  return out;
}

}  // namespace weft::data
