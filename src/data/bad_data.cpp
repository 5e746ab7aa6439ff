#include <algorithm>
#include <vector>

#include <weft/data/bad_data.hpp>

#include "core/fail.hpp"

namespace weft::data {
namespace {

constexpr size_t kExamples = 10;
constexpr size_t kShardsInSummary = 8;

std::string_view name_of(BadCause cause) { return enum_names<BadCause>[static_cast<int>(cause)]; }

std::string list_of(const std::map<BadCause, int64_t>& causes) {
  std::string out;
  for (const auto& [cause, count] : causes)
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", name_of(cause), count);
  return out;
}

Json json_of(const std::map<BadCause, int64_t>& causes) {
  auto out = Json::object();
  for (const auto& [cause, count] : causes) out.set(name_of(cause), count);
  return out;
}

int64_t sum_of(const std::map<BadCause, int64_t>& causes) {
  int64_t sum = 0;
  for (const auto& [cause, count] : causes) sum += count;
  return sum;
}

}  // namespace

bool BadData::add(BadCause cause, const std::string& shard, uint64_t offset,
                  const std::string& message) {
  return events_.try_emplace({shard, offset}, Event{cause, message}).second;
}

void BadData::add(const BadData& other) {
  events_.insert(other.events_.begin(), other.events_.end());
}

int64_t BadData::count(BadCause cause) const {
  return std::count_if(events_.begin(), events_.end(),
                       [&](const auto& event) { return event.second.cause == cause; });
}

int64_t BadData::count(const std::string& shard) const {
  return std::count_if(events_.begin(), events_.end(),
                       [&](const auto& event) { return event.first.first == shard; });
}

std::map<std::string, std::map<BadCause, int64_t>> BadData::by_shard() const {
  std::map<std::string, std::map<BadCause, int64_t>> out;
  for (const auto& [place, event] : events_) ++out[place.first][event.cause];
  return out;
}

Json BadData::json() const {
  std::map<BadCause, int64_t> causes;
  auto shards = Json::object(), examples = Json::array();
  for (const auto& [place, event] : events_) {
    ++causes[event.cause];
    if (examples.size() < kExamples) examples.push_back(event.message);
  }
  for (const auto& [shard, counts] : by_shard()) shards.set(shard, json_of(counts));
  return Json::object({{"total", total()},
                       {"by_cause", json_of(causes)},
                       {"by_shard", shards},
                       {"examples", examples}});
}

std::string BadData::summary() const {
  if (events_.empty()) return "no damage";
  std::map<BadCause, int64_t> causes;
  for (const auto& [place, event] : events_) ++causes[event.cause];
  const auto shards = by_shard();
  std::vector<std::pair<std::string, std::map<BadCause, int64_t>>> worst(shards.begin(),
                                                                         shards.end());
  std::stable_sort(worst.begin(), worst.end(), [](const auto& a, const auto& b) {
    return sum_of(a.second) > sum_of(b.second);
  });
  auto out = list_of(causes) + "; shards: ";
  for (size_t i = 0; i < std::min(worst.size(), kShardsInSummary); ++i)
    out += fmt::format("{}{} ({})", i ? ", " : "", worst[i].first, list_of(worst[i].second));
  if (worst.size() > kShardsInSummary)
    out += fmt::format(" and {} more", worst.size() - kShardsInSummary);
  return out + "; first: " + events_.begin()->second.message;
}

Json BadData::state() const {
  auto out = Json::array();
  for (const auto& [place, event] : events_)
    out.push_back(Json::object({{"shard", place.first},
                                {"offset", place.second},
                                {"cause", name_of(event.cause)},
                                {"message", event.message}}));
  return out;
}

void BadData::restore(const Json& state) {
  events_.clear();
  for (size_t i = 0; i < state.size(); ++i) {
    const auto event = state.at(i);
    add(from_json<BadCause>(event.at("cause"), "bad data"), event.at("shard").as_string(),
        static_cast<uint64_t>(event.at("offset").as_int()), event.at("message").as_string());
  }
}

}  // namespace weft::data
