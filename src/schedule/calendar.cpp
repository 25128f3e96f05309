#include "calendar.hpp"

namespace saathii::schedule {

namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using tz::days;
using tz::local_days;

/// The first set bit at or after `from`; N if there is none.
template <std::size_t N>
std::size_t bit_from(const std::bitset<N>& bits, std::size_t from) {
  while (from < N && !bits[from]) {
    ++from;
  }
  return from;
}

/// The last set bit at or before `from`; N if there is none.
template <std::size_t N>
std::size_t bit_back_from(const std::bitset<N>& bits, std::size_t from) {
  for (std::size_t i = from + 1; i-- > 0;) {
    if (bits[i]) {
      return i;
    }
  }
  return N;
}

template <std::size_t N>
std::int64_t bits_below(const std::bitset<N>& bits, std::size_t end) {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < end; ++i) {
    count += bits[i] ? 1 : 0;
  }
  return count;
}

struct TimeOfDay {
  explicit TimeOfDay(seconds since_midnight)
      : hour(static_cast<std::size_t>(since_midnight / hours{1})),
        minute(static_cast<std::size_t>(since_midnight % hours{1} / minutes{1})),
        second(static_cast<std::size_t>(since_midnight % minutes{1} / seconds{1})) {}

  std::size_t hour;
  std::size_t minute;
  std::size_t second;
};

seconds of_day(std::size_t hour, std::size_t minute, std::size_t second) {
  return seconds{static_cast<std::int64_t>(hour * 3600 + minute * 60 + second)};
}

std::optional<seconds> first_time(const Cron& cron, seconds from) {
  const TimeOfDay time(from);
  const std::size_t first_minute = bit_from(cron.minutes, 0);
  const std::size_t first_second = bit_from(cron.seconds, 0);
  if (cron.hours[time.hour]) {
    if (cron.minutes[time.minute]) {
      const std::size_t second = bit_from(cron.seconds, time.second);
      if (second < 60) {
        return of_day(time.hour, time.minute, second);
      }
    }
    const std::size_t minute = bit_from(cron.minutes, time.minute + 1);
    if (minute < 60) {
      return of_day(time.hour, minute, first_second);
    }
  }
  const std::size_t hour = bit_from(cron.hours, time.hour + 1);
  if (hour >= 24) {
    return std::nullopt;
  }
  return of_day(hour, first_minute, first_second);
}

std::optional<seconds> last_time(const Cron& cron, seconds from) {
  const TimeOfDay time(from);
  const std::size_t last_minute = bit_back_from(cron.minutes, 59);
  const std::size_t last_second = bit_back_from(cron.seconds, 59);
  if (cron.hours[time.hour]) {
    if (cron.minutes[time.minute]) {
      const std::size_t second = bit_back_from(cron.seconds, time.second);
      if (second < 60) {
        return of_day(time.hour, time.minute, second);
      }
    }
    const std::size_t minute = time.minute == 0 ? 60 : bit_back_from(cron.minutes, time.minute - 1);
    if (minute < 60) {
      return of_day(time.hour, minute, last_second);
    }
  }
  const std::size_t hour = time.hour == 0 ? 24 : bit_back_from(cron.hours, time.hour - 1);
  if (hour >= 24) {
    return std::nullopt;
  }
  return of_day(hour, last_minute, last_second);
}

std::int64_t times_in_day(const Cron& cron) {
  return static_cast<std::int64_t>(cron.hours.count() * cron.minutes.count() *
                                   cron.seconds.count());
}

std::int64_t times_before(const Cron& cron, seconds end) {
  const TimeOfDay time(end);
  const auto in_minute = static_cast<std::int64_t>(cron.seconds.count());
  const auto in_hour = in_minute * static_cast<std::int64_t>(cron.minutes.count());
  std::int64_t count = in_hour * bits_below(cron.hours, time.hour);
  if (cron.hours[time.hour]) {
    count += in_minute * bits_below(cron.minutes, time.minute);
    if (cron.minutes[time.minute]) {
      count += bits_below(cron.seconds, time.second);
    }
  }
  return count;
}

bool month_matches(const Cron& cron, const tz::year_month_day& date) {
  return cron.months[static_cast<unsigned>(date.month())];
}

bool day_matches(const Cron& cron, local_days day, const tz::year_month_day& date) {
  const bool by_day = cron.days[static_cast<unsigned>(date.day())];
  const bool by_weekday = cron.weekdays[tz::weekday{day}.c_encoding()];
  return cron.any_day || cron.any_weekday ? by_day && by_weekday : by_day || by_weekday;
}

}  // namespace

std::optional<LocalSeconds> first_match(const Cron& cron, LocalSeconds from, LocalSeconds until) {
  const auto first_day = std::chrono::floor<days>(from);
  for (local_days day = first_day; day < until; day += days{1}) {
    const tz::year_month_day date{day};
    if (!month_matches(cron, date)) {
      day = local_days{date.year() / date.month() / tz::last};
      continue;
    }
    if (!day_matches(cron, day, date)) {
      continue;
    }
    const auto time = first_time(cron, day == first_day ? from - day : seconds{0});
    if (time) {
      const LocalSeconds match = day + *time;
      return match < until ? std::optional(match) : std::nullopt;
    }
  }
  return std::nullopt;
}

std::optional<LocalSeconds> last_match(const Cron& cron, LocalSeconds after, LocalSeconds until) {
  const auto last_day = std::chrono::floor<days>(until);
  for (local_days day = last_day; day + days{1} > after; day -= days{1}) {
    const tz::year_month_day date{day};
    if (!month_matches(cron, date)) {
      day = local_days{date.year() / date.month() / 1};
      continue;
    }
    if (!day_matches(cron, day, date)) {
      continue;
    }
    const auto time = last_time(cron, day == last_day ? until - day : days{1} - seconds{1});
    if (time) {
      const LocalSeconds match = day + *time;
      return match > after ? std::optional(match) : std::nullopt;
    }
  }
  return std::nullopt;
}

std::int64_t count_matches(const Cron& cron, LocalSeconds from, LocalSeconds until) {
  std::int64_t count = 0;
  const std::int64_t in_day = times_in_day(cron);
  for (local_days day = std::chrono::floor<days>(from); day < until; day += days{1}) {
    const tz::year_month_day date{day};
    if (!month_matches(cron, date) || !day_matches(cron, day, date)) {
      continue;
    }
    const std::int64_t skipped = from > day ? times_before(cron, from - day) : 0;
    const std::int64_t taken = until < day + days{1} ? times_before(cron, until - day) : in_day;
    count += taken - skipped;
  }
  return count;
}

}  // namespace saathii::schedule
