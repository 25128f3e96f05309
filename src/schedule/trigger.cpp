#include "saathii/schedule/trigger.hpp"

#include <algorithm>

#include "calendar.hpp"

namespace saathii::schedule {

namespace {

using std::chrono::seconds;
using std::chrono::sys_seconds;

constexpr tz::days horizon{40 * 366};

/// Moments beyond these are not looked at, so that no sum of ours overflows.
constexpr Instant earliest = std::chrono::sys_days{std::chrono::year{1900} / 1 / 1};
constexpr Instant latest = std::chrono::sys_days{std::chrono::year{9000} / 1 / 1};

std::int64_t floor_divide(Duration a, Duration b) { return a / b - (a % b < Duration{0} ? 1 : 0); }

Cron daily_pattern(const Daily& daily) {
  Cron cron;
  cron.hours[static_cast<std::size_t>(daily.time_of_day / std::chrono::hours{1})] = true;
  cron.minutes[static_cast<std::size_t>(daily.time_of_day % std::chrono::hours{1} /
                                        std::chrono::minutes{1})] = true;
  cron.seconds[static_cast<std::size_t>((daily.time_of_day % std::chrono::minutes{1}).count())] =
      true;
  cron.days.set();
  cron.months.set();
  cron.weekdays.set();
  return cron;
}

LocalSeconds local_of(sys_seconds moment, seconds offset) {
  return LocalSeconds{moment.time_since_epoch() + offset};
}

/// The local time up to which a wall clock in `zone` has counted by `moment`:
/// what it shows or, while it shows an hour for the second time, that hour's end.
/// Every later local time comes first after `moment`; every earlier one has been.
LocalSeconds local_reached(sys_seconds moment, TimeZone zone) {
  const LocalSeconds local = local_of(moment, zone->get_info(moment).offset);
  const auto info = zone->get_info(local);
  if (info.result == tz::local_info::ambiguous && moment >= info.second.begin) {
    return local_of(info.second.begin, info.first.offset) - seconds{1};
  }
  return local;
}

std::optional<Instant> next_match(const Cron& cron, TimeZone zone, Instant moment) {
  LocalSeconds from = local_reached(std::chrono::floor<seconds>(moment), zone) + seconds{1};
  const LocalSeconds until = from + horizon;
  while (const auto local = first_match(cron, from, until)) {
    const Instant tick = to_instant(*local, zone);
    if (tick > moment) {
      return tick;
    }
    from = *local + seconds{1};
  }
  return std::nullopt;
}

std::optional<Instant> latest_match(const Cron& cron, TimeZone zone, Instant moment) {
  LocalSeconds until = local_reached(std::chrono::floor<seconds>(moment), zone);
  const LocalSeconds after = until - horizon;
  while (const auto local = last_match(cron, after, until)) {
    const Instant tick = to_instant(*local, zone);
    if (tick <= moment) {
      return tick;
    }
    until = *local - seconds{1};
  }
  return std::nullopt;
}

/// Ticks in [from, until), which lie in one period of a constant offset that
/// began at `info.begin`.
std::int64_t count_in_period(const Cron& cron, TimeZone zone, const tz::sys_info& info,
                             sys_seconds from, sys_seconds until) {
  LocalSeconds local_from = local_of(from, info.offset);
  std::int64_t count = 0;
  if (info.begin > earliest) {
    const seconds offset_before = zone->get_info(info.begin - seconds{1}).offset;
    const LocalSeconds seen_until = local_of(info.begin, offset_before);
    const LocalSeconds begin = local_of(info.begin, info.offset);
    const bool gap_ends_here = from == info.begin && seen_until < begin;
    if (gap_ends_here && count_matches(cron, begin, begin + seconds{1}) == 0 &&
        first_match(cron, seen_until, begin)) {
      ++count;
    }
    local_from = std::max(local_from, seen_until);
  }
  const LocalSeconds local_until = local_of(until, info.offset);
  return count + (local_from < local_until ? count_matches(cron, local_from, local_until) : 0);
}

std::int64_t count_ticks(const Cron& cron, TimeZone zone, Instant after, Instant until) {
  std::int64_t count = 0;
  const sys_seconds end = std::chrono::floor<seconds>(until) + seconds{1};
  for (sys_seconds from = std::chrono::floor<seconds>(after) + seconds{1}; from < end;) {
    const tz::sys_info info = zone->get_info(from);
    const sys_seconds stop = std::min(end, sys_seconds{info.end});
    count += count_in_period(cron, zone, info, from, stop);
    from = stop;
  }
  return count;
}

std::string two_digits(std::int64_t value) {
  return (value < 10 ? "0" : "") + std::to_string(value);
}

std::string clock_text(seconds time_of_day) {
  std::string text = two_digits(time_of_day / std::chrono::hours{1}) + ":" +
                     two_digits(time_of_day % std::chrono::hours{1} / std::chrono::minutes{1});
  if (const auto second = time_of_day % std::chrono::minutes{1}; second != seconds{0}) {
    text += ":" + two_digits(second.count());
  }
  return text;
}

}  // namespace

std::optional<seconds> parse_time_of_day(std::string_view text) {
  if (text.size() != 5 && text.size() != 8) {
    return std::nullopt;
  }
  int parts[3] = {0, 0, 0};
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i % 3 == 2) {
      if (text[i] != ':') {
        return std::nullopt;
      }
    } else if (text[i] < '0' || text[i] > '9') {
      return std::nullopt;
    } else {
      parts[i / 3] = parts[i / 3] * 10 + (text[i] - '0');
    }
  }
  if (parts[0] > 23 || parts[1] > 59 || parts[2] > 59) {
    return std::nullopt;
  }
  return std::chrono::hours{parts[0]} + std::chrono::minutes{parts[1]} + seconds{parts[2]};
}

Instant to_instant(LocalSeconds local, TimeZone zone) {
  return zone->to_sys(local, tz::choose::earliest);
}

Trigger::Trigger(Rule rule, TimeZone zone) : rule_(std::move(rule)), zone_(zone) {
  if (const auto* daily = std::get_if<Daily>(&rule_)) {
    pattern_ = daily_pattern(*daily);
  } else if (const auto* cron = std::get_if<Cron>(&rule_)) {
    pattern_ = *cron;
  }
}

std::optional<Instant> Trigger::next_after(Instant moment) const {
  if (const auto* once = std::get_if<Once>(&rule_)) {
    return once->moment > moment ? std::optional(once->moment) : std::nullopt;
  }
  if (moment >= latest) {
    return std::nullopt;
  }
  moment = std::max(moment, earliest);
  if (const auto* every = std::get_if<Every>(&rule_)) {
    const std::int64_t index = floor_divide(moment.time_since_epoch(), every->interval);
    return Instant{(index + 1) * every->interval};
  }
  return next_match(*pattern_, zone_, moment);
}

std::optional<Instant> Trigger::latest_at(Instant moment) const {
  if (const auto* once = std::get_if<Once>(&rule_)) {
    return once->moment <= moment ? std::optional(once->moment) : std::nullopt;
  }
  if (moment < earliest) {
    return std::nullopt;
  }
  moment = std::min(moment, latest);
  if (const auto* every = std::get_if<Every>(&rule_)) {
    const std::int64_t index = floor_divide(moment.time_since_epoch(), every->interval);
    return Instant{index * every->interval};
  }
  return latest_match(*pattern_, zone_, moment);
}

std::int64_t Trigger::count_between(Instant after, Instant until) const {
  if (after >= until) {
    return 0;
  }
  if (const auto* once = std::get_if<Once>(&rule_)) {
    return after < once->moment && once->moment <= until ? 1 : 0;
  }
  after = std::clamp(after, earliest, latest);
  until = std::clamp(until, earliest, latest);
  if (const auto* every = std::get_if<Every>(&rule_)) {
    return floor_divide(until.time_since_epoch(), every->interval) -
           floor_divide(after.time_since_epoch(), every->interval);
  }
  return count_ticks(*pattern_, zone_, after, until);
}

std::string Trigger::describe() const {
  if (const auto* every = std::get_if<Every>(&rule_)) {
    return "every " + format_duration(every->interval);
  }
  if (const auto* once = std::get_if<Once>(&rule_)) {
    return "once at " + to_iso8601(once->moment);
  }
  const std::string zone_name(zone_->name());
  if (const auto* daily = std::get_if<Daily>(&rule_)) {
    return "daily at " + clock_text(daily->time_of_day) + " " + zone_name;
  }
  return "cron " + std::get<Cron>(rule_).text + " " + zone_name;
}

}  // namespace saathii::schedule
