#include "words.hpp"

#include <fmt/format.h>

namespace saathii::ctl {

namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

struct Local {
  std::chrono::year_month_day date;
  unsigned weekday = 0;
  std::string time;  ///< "00:01:00"
  std::string zone;  ///< "IST"
};

Local local_of(Instant moment, TimeZone zone) {
  const auto second = std::chrono::floor<seconds>(moment);
  const auto info = zone->get_info(second);
  const auto local = second + info.offset;
  const auto day = std::chrono::floor<days>(local);
  const auto rest = local - day;
  return {
      std::chrono::year_month_day{day}, std::chrono::weekday{day}.c_encoding(),
      fmt::format("{:02}:{:02}:{:02}", rest / hours{1}, rest / minutes{1} % 60, rest.count() % 60),
      info.abbrev};
}

std::chrono::sys_days days_of(const Local& local) { return std::chrono::sys_days{local.date}; }

std::string date_of(const Local& local) {
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(local.date.year()),
                     static_cast<unsigned>(local.date.month()),
                     static_cast<unsigned>(local.date.day()));
}

}  // namespace

std::string roughly(Duration length) {
  if (length < seconds{1}) {
    return fmt::format("{} ms", std::max<std::int64_t>(length / milliseconds{1}, 0));
  }
  if (length < seconds{120}) {
    return fmt::format("{} s", length / seconds{1});
  }
  if (length < minutes{120}) {
    return fmt::format("{} min", length / minutes{1});
  }
  if (length < hours{48}) {
    return fmt::format("{} h", length / hours{1});
  }
  return fmt::format("{} d", length / days{1});
}

std::string relative(Instant moment, Instant now) {
  const Duration ahead = moment - now;
  if (ahead >= seconds{1}) {
    return "in " + roughly(ahead);
  }
  return ahead > -seconds{1} ? "now" : roughly(-ahead) + " ago";
}

std::string local_time(Instant moment, TimeZone zone) {
  static constexpr const char* names[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  const Local local = local_of(moment, zone);
  return fmt::format("{} {} {} {}", names[local.weekday], date_of(local), local.time, local.zone);
}

std::string short_time(Instant moment, TimeZone zone) {
  const Local local = local_of(moment, zone);
  return date_of(local) + " " + local.time;
}

std::string time_since(Instant moment, Instant since, TimeZone zone) {
  const Local local = local_of(moment, zone);
  const auto later = days_of(local) - days_of(local_of(since, zone));
  return later.count() == 0 ? local.time : fmt::format("{:+} {}", later.count(), local.time);
}

}  // namespace saathii::ctl
