#include "saathii/schedule/local_time.hpp"

#include <string>

#include "saathii/schedule/trigger.hpp"

namespace saathii::schedule {

std::optional<Instant> parse_moment(std::string_view text, TimeZone zone) {
  if (const auto moment = parse_iso8601(text)) {
    return moment;
  }
  for (const char* const rest : {"T00:00:00Z", ":00Z", "Z"}) {
    if (const auto local = parse_iso8601(std::string{text} + rest)) {
      const auto whole = std::chrono::floor<std::chrono::seconds>(*local);
      return to_instant(LocalSeconds{whole.time_since_epoch()}, zone) + (*local - whole);
    }
  }
  return std::nullopt;
}

}  // namespace saathii::schedule
