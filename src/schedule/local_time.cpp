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

std::string local_text(Instant moment, TimeZone zone) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(moment);
  if (zone == nullptr) {
    return to_iso8601(seconds);
  }
  const auto info = zone->get_info(seconds);
  std::string text = to_iso8601(seconds + info.offset);  // "2026-11-22T17:33:05Z"
  text[text.find('T')] = ' ';
  text.back() = ' ';
  return text + info.abbrev;
}

}  // namespace saathii::schedule
