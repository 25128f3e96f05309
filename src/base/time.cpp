#include "saathii/base/time.hpp"

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace saathii {

namespace {

using namespace std::chrono_literals;

constexpr Duration longest = std::chrono::days{36'525};

/// What four digits of a year hold, and PostgreSQL has: there is no year 0.
constexpr Instant first_written = std::chrono::sys_days{std::chrono::year{1} / 1 / 1};
constexpr Instant end_of_written = std::chrono::sys_days{std::chrono::year{10'000} / 1 / 1};

struct Unit {
  std::string_view name;
  Duration length;
};

constexpr std::array<Unit, 6> units = {
    {{"d", std::chrono::days{1}}, {"h", 1h}, {"m", 1min}, {"s", 1s}, {"ms", 1ms}, {"us", 1us}}};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Takes exactly `digits` digits off the front of `text`.
bool take_number(std::string_view& text, std::size_t digits, int& value) {
  if (text.size() < digits) {
    return false;
  }
  value = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    if (!is_digit(text[i])) {
      return false;
    }
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return true;
}

/// Takes one character of `allowed` off the front of `text`.
bool take_one_of(std::string_view& text, std::string_view allowed, char& taken) {
  if (text.empty() || allowed.find(text.front()) == std::string_view::npos) {
    return false;
  }
  taken = text.front();
  text.remove_prefix(1);
  return true;
}

bool take(std::string_view& text, char wanted) {
  char taken = 0;
  return take_one_of(text, std::string_view(&wanted, 1), taken);
}

/// A fraction of a second, one to nine digits; beyond the sixth they are cut off.
bool take_fraction(std::string_view& text, Duration& fraction) {
  std::int64_t micros = 0;
  std::int64_t scale = 100'000;
  std::size_t digits = 0;
  while (digits < text.size() && is_digit(text[digits])) {
    micros += scale * (text[digits] - '0');
    scale /= 10;
    ++digits;
  }
  if (digits == 0 || digits > 9) {
    return false;
  }
  text.remove_prefix(digits);
  fraction = Duration{micros};
  return true;
}

bool take_offset(std::string_view& text, Duration& offset) {
  char sign = 0;
  if (!take_one_of(text, "Zz+-", sign)) {
    return false;
  }
  if (sign == 'Z' || sign == 'z') {
    return true;
  }
  int hours = 0;
  int minutes = 0;
  if (!take_number(text, 2, hours) || !take(text, ':') || !take_number(text, 2, minutes) ||
      hours > 23 || minutes > 59) {
    return false;
  }
  offset = std::chrono::hours{hours} + std::chrono::minutes{minutes};
  if (sign == '-') {
    offset = -offset;
  }
  return true;
}

std::string count_of(std::int64_t count, std::string_view unit) {
  return std::to_string(count).append(" ").append(unit);
}

std::string two_units(Duration length, Duration large, std::string_view large_name, Duration small,
                      std::string_view small_name) {
  std::string text = count_of(length / large, large_name);
  if (const auto rest = length % large / small; rest != 0) {
    text.append(" ").append(count_of(rest, small_name));
  }
  return text;
}

}  // namespace

Instant wall_now() {
  return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
}

std::string to_iso8601(Instant moment) {
  const auto day = std::chrono::floor<std::chrono::days>(moment);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss<Duration> time{moment - day};
  std::array<char, 64> text{};
  const int length = std::snprintf(
      text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(date.year()),
      static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
      static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
      static_cast<int>(time.seconds().count()));
  std::string result(text.data(), static_cast<std::size_t>(length));
  if (time.subseconds() != Duration{0}) {
    std::snprintf(text.data(), text.size(), ".%06d", static_cast<int>(time.subseconds().count()));
    result += text.data();
  }
  return result + 'Z';
}

std::optional<Instant> parse_iso8601(std::string_view text) {
  int year = 0;
  int month = 0;
  int day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  char separator = 0;
  if (!take_number(text, 4, year) || !take(text, '-') || !take_number(text, 2, month) ||
      !take(text, '-') || !take_number(text, 2, day) || !take_one_of(text, "Tt ", separator) ||
      !take_number(text, 2, hour) || !take(text, ':') || !take_number(text, 2, minute) ||
      !take(text, ':') || !take_number(text, 2, second)) {
    return std::nullopt;
  }
  Duration fraction{0};
  if (take(text, '.') && !take_fraction(text, fraction)) {
    return std::nullopt;
  }
  Duration offset{0};
  if (!take_offset(text, offset) || !text.empty()) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{std::chrono::year{year},
                                         std::chrono::month{static_cast<unsigned>(month)},
                                         std::chrono::day{static_cast<unsigned>(day)}};
  if (!date.ok() || hour > 23 || minute > 59 || second > 59) {
    return std::nullopt;
  }
  const Instant moment = Instant{std::chrono::sys_days{date}} + std::chrono::hours{hour} +
                         std::chrono::minutes{minute} + std::chrono::seconds{second} + fraction -
                         offset;
  if (moment < first_written || moment >= end_of_written) {
    return std::nullopt;
  }
  return moment;
}

std::optional<Duration> parse_duration(std::string_view text) {
  Duration sum{0};
  std::size_t next_unit = 0;
  if (text.empty()) {
    return std::nullopt;
  }
  while (!text.empty()) {
    std::int64_t count = 0;
    const char* end = text.data() + text.size();
    const auto [after, error] = std::from_chars(text.data(), end, count);
    if (!is_digit(text.front()) || error != std::errc{}) {
      return std::nullopt;
    }
    text.remove_prefix(static_cast<std::size_t>(after - text.data()));
    std::size_t letters = 0;
    while (letters < text.size() && !is_digit(text[letters])) {
      ++letters;
    }
    const std::string_view name = text.substr(0, letters);
    while (next_unit < units.size() && units[next_unit].name != name) {
      ++next_unit;
    }
    if (next_unit == units.size()) {
      return std::nullopt;
    }
    const Duration unit = units[next_unit++].length;
    if (count > longest / unit || (sum += count * unit) > longest) {
      return std::nullopt;
    }
    text.remove_prefix(letters);
  }
  return sum;
}

std::string format_duration(Duration length) {
  if (length == Duration{0}) {
    return "0s";
  }
  std::string text = length < Duration{0} ? "-" : "";
  for (const Unit& unit : units) {
    if (const auto count = length / unit.length; count != 0) {
      text.append(std::to_string(std::abs(count))).append(unit.name);
    }
    length %= unit.length;
  }
  return text;
}

std::string humanize(Duration length) {
  if (length < Duration{0}) {
    return length == Duration::min() ? humanize(length + 1us) : "-" + humanize(-length);
  }
  if (length == Duration{0}) {
    return "0 s";
  }
  if (length < 1ms) {
    return count_of(length.count(), "us");
  }
  if (length < 1s) {
    return count_of(length / 1ms, "ms");
  }
  if (length < 1min) {
    return count_of(length / 1s, "s");
  }
  if (length < 1h) {
    return two_units(length, 1min, "min", 1s, "s");
  }
  if (length < 24h) {
    return two_units(length, 1h, "h", 1min, "min");
  }
  return two_units(length, 24h, "d", 1h, "h");
}

}  // namespace saathii
