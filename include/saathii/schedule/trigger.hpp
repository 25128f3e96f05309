#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "saathii/base/time.hpp"
#include "saathii/base/time_zone.hpp"

// When a job's ticks are: pure values, no clock of their own, any thread.
// Every tick is a moment that all instances of the daemon name alike.

namespace saathii::schedule {

/// Whole multiples of an interval since the Unix epoch.
struct Every {
  Duration interval;  ///< at least 1 s
};

/// Once a day at a local time.
struct Daily {
  std::chrono::seconds time_of_day;  ///< since local midnight, [0, 86400)
};

/// Five fields (minute hour day-of-month month day-of-week) or six (second
/// first): lists, ranges, steps and English names of three letters. As in Vixie
/// cron, when both day fields are restricted a day that matches either is taken,
/// and a field that begins with '*' counts as unrestricted there ("*/2" too);
/// day-of-week 0 and 7 are Sunday.
struct Cron {
  std::string text;  ///< as written
  std::bitset<60> seconds;
  std::bitset<60> minutes;
  std::bitset<24> hours;
  std::bitset<32> days;     ///< 1 to 31
  std::bitset<13> months;   ///< 1 to 12
  std::bitset<7> weekdays;  ///< 0 is Sunday
  bool any_day = true;      ///< the day-of-month field begins with '*'
  bool any_weekday = true;  ///< the day-of-week field begins with '*'
};

/// A single moment.
struct Once {
  Instant moment;
};

/// Reads a cron expression. On failure returns nothing and sets `error` to what
/// was found and what is allowed ("minute 61 is outside 0-59").
[[nodiscard]] std::optional<Cron> parse_cron(std::string_view text, std::string& error);

/// Reads "HH:MM" or "HH:MM:SS", 00:00 to 23:59:59.
[[nodiscard]] std::optional<std::chrono::seconds> parse_time_of_day(std::string_view text);

/// A trigger in its zone. A local time that DST skips is the first moment after
/// the gap; one that occurs twice is its first occurrence. Every and Once do not
/// ask the zone.
class Trigger {
 public:
  using Rule = std::variant<Every, Daily, Cron, Once>;

  Trigger(Rule rule, TimeZone zone);

  /// The first tick strictly after `moment`; none if there never is one (a past
  /// Once, a date such as 30 February). Looks at most 40 years ahead.
  [[nodiscard]] std::optional<Instant> next_after(Instant moment) const;

  /// The latest tick at or before `moment`; looks at most 40 years back.
  [[nodiscard]] std::optional<Instant> latest_at(Instant moment) const;

  /// How many ticks there are in (after, until]. The work grows with the days in
  /// between, not with the ticks.
  [[nodiscard]] std::int64_t count_between(Instant after, Instant until) const;

  /// "every 1m", "daily at 00:01 Asia/Kolkata", "cron 0 3 * * 1 UTC".
  [[nodiscard]] std::string describe() const;

  [[nodiscard]] const Rule& rule() const noexcept { return rule_; }
  [[nodiscard]] TimeZone zone() const noexcept { return zone_; }

 private:
  Rule rule_;
  TimeZone zone_;
  std::optional<Cron> pattern_;  ///< of a Daily or Cron
};

/// The moment at which a wall clock in `zone` first shows `local` or, where DST
/// skips it, the first moment after the gap.
[[nodiscard]] Instant to_instant(LocalSeconds local, TimeZone zone);

}  // namespace saathii::schedule
