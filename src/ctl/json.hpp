#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "model.hpp"

// What programs read of each answer: names stay, moments are RFC 3339 in UTC,
// lengths are numbers of microseconds ("_us"), what there is not is null. Pure.

namespace saathii::ctl {

using Json = nlohmann::ordered_json;

[[nodiscard]] Json to_json(const Overview& overview);
[[nodiscard]] Json to_json(const std::vector<Job>& jobs);
[[nodiscard]] Json to_json(const Job& job);
[[nodiscard]] Json to_json(const Health& health);
[[nodiscard]] Json to_json(const std::vector<Run>& runs);
[[nodiscard]] Json to_json(const std::vector<Tick>& ticks);
[[nodiscard]] Json to_json(const Receipt& receipt);
[[nodiscard]] Json to_json(const Wallet& wallet);
[[nodiscard]] Json to_json(const Reloaded& reloaded);
[[nodiscard]] Json to_json(const Ending& ending);

}  // namespace saathii::ctl
