#include "moments.hpp"

#include <string>

#include "saathii/schedule/local_time.hpp"
#include "words.hpp"

namespace saathii::ctl {

std::optional<Instant> parse_since(std::string_view text, Instant now, TimeZone zone) {
  if (text == "now") {
    return now;
  }
  const auto midnight = [&](Instant moment) {
    return schedule::parse_moment(short_time(moment, zone).substr(0, 10), zone);
  };
  const auto today = midnight(now);
  if (text == "today") {
    return today;
  }
  if (text == "yesterday" && today) {
    // The day before today's first moment, however long that day was.
    return midnight(*today - Duration{1});
  }
  std::string_view length = text;
  if (length.ends_with(" ago")) {
    length.remove_suffix(4);
  }
  if (const auto ago = parse_duration(length)) {
    return now - *ago;
  }
  return schedule::parse_moment(text, zone);
}

}  // namespace saathii::ctl
