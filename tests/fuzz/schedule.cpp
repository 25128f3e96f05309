// Triggers as people write them, in several zones: what each moment's next and latest
// ticks and the count between two moments say of each other.

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "fuzz.hpp"
#include "saathii/schedule/local_time.hpp"
#include "saathii/schedule/planner.hpp"
#include "saathii/schedule/trigger.hpp"

namespace {

using saathii::Duration;
using saathii::Instant;
using saathii::TimeZone;
using saathii::fuzz::Input;
using saathii::fuzz::require;
using saathii::schedule::Trigger;

constexpr Duration moment_before{1};
constexpr Duration years_40 = std::chrono::hours{24 * 366 * 40};
constexpr Duration day = std::chrono::hours{24};

/// With summer time of an hour, of half an hour, twice a year, at midnight, a day
/// left out, and none.
TimeZone zone_of(std::uint8_t choice) {
  static const std::array<TimeZone, 10> zones = {saathii::tz::locate_zone("UTC"),
                                                 saathii::tz::locate_zone("Asia/Kolkata"),
                                                 saathii::tz::locate_zone("Europe/Berlin"),
                                                 saathii::tz::locate_zone("America/New_York"),
                                                 saathii::tz::locate_zone("Australia/Lord_Howe"),
                                                 saathii::tz::locate_zone("Africa/Casablanca"),
                                                 saathii::tz::locate_zone("America/Sao_Paulo"),
                                                 saathii::tz::locate_zone("Pacific/Apia"),
                                                 saathii::tz::locate_zone("America/Caracas"),
                                                 saathii::tz::locate_zone("Antarctica/Troll")};
  return zones[choice % zones.size()];
}

/// From 1950 to 2120, where zones change most.
Instant moment_of(std::uint64_t any) {
  constexpr std::uint64_t span = 170ULL * 365 * 86'400 * 1'000'000;
  return Instant{std::chrono::sys_days{std::chrono::year{1950} / 1 / 1}} +
         Duration{static_cast<std::int64_t>(any % span)};
}

std::optional<Trigger::Rule> rule_of(std::uint8_t form, std::string_view text) {
  using namespace saathii::schedule;
  switch (form % 4) {
    case 0: {
      std::string error;
      auto cron = parse_cron(text, error);
      require(cron.has_value() == error.empty(), "an error for what is refused alone", text);
      return cron ? std::optional<Trigger::Rule>(*cron) : std::nullopt;
    }
    case 1: {
      const auto interval = saathii::parse_duration(text);
      // As the configuration allows.
      const bool allowed =
          interval && *interval >= std::chrono::seconds{1} && *interval <= 366 * day;
      return allowed ? std::optional<Trigger::Rule>(Every{*interval}) : std::nullopt;
    }
    case 2: {
      const auto time = parse_time_of_day(text);
      return time ? std::optional<Trigger::Rule>(Daily{*time}) : std::nullopt;
    }
    default: {
      const auto moment = saathii::parse_iso8601(text);
      return moment ? std::optional<Trigger::Rule>(Once{*moment}) : std::nullopt;
    }
  }
}

/// What `next`, the first tick after `moment`, is to the others.
void check_next(const Trigger& trigger, Instant moment, Instant next) {
  require(next > moment, "the next tick is after the moment");
  require(trigger.latest_at(next) == next, "a tick is its own latest");
  require(trigger.latest_at(next - moment_before).value_or(moment) <= moment,
          "no tick between the moment and the next");
  if (next - moment < 400 * day) {
    require(trigger.count_between(moment, next) == 1, "one tick up to the next");
    require(trigger.count_between(moment, next - moment_before) == 0, "none before the next");
  }
}

void check_latest(const Trigger& trigger, Instant moment, Instant latest) {
  require(latest <= moment, "the latest tick is not after the moment");
  require(trigger.next_after(latest - moment_before) == latest, "a tick is next to just before");
  const auto next = trigger.next_after(moment);
  if (next && *next - latest < years_40 - day) {
    require(trigger.next_after(latest) == next, "the same tick is next to latest and moment");
  }
}

void check_walk(const Trigger& trigger, Instant moment) {
  Instant last = moment;
  for (std::int64_t ticks = 1; ticks <= 8; ++ticks) {
    const auto next = trigger.next_after(last);
    if (!next || *next - moment > 400 * day) {
      return;
    }
    last = *next;
    require(trigger.count_between(moment, last) == ticks, "as many are counted as are walked");
  }
}

void check_plan(const Trigger& trigger, Instant moment, Input input) {
  using namespace saathii::schedule;
  const Policy policy{.misfire_grace = std::chrono::seconds{input.byte()},
                      .coalesce = input.byte() % 2 == 0,
                      .catch_up_limit = input.byte() % 8,
                      .overlap = input.byte() % 2 == 0 ? Overlap::skip : Overlap::queue,
                      .jitter = std::chrono::seconds{input.byte()}};
  const Planner planner(trigger, policy, input.byte());
  const Instant now = moment + std::chrono::seconds{input.word() % 100'000};
  const auto plan = planner.look(resume(moment, {}, trigger, moment), now);
  require(plan.wake > now, "one looks again later");
  require(plan.due.size() <= planner.due_limit(), "no more are due than are allowed");
  require(std::is_sorted(plan.due.begin(), plan.due.end()), "the oldest runs first");
  auto ticks = static_cast<std::int64_t>(plan.due.size());
  for (const auto& gone : plan.written_off) {
    ticks += gone.ticks;
  }
  require(ticks <= trigger.count_between(moment, now), "nothing ends that was no tick");
  if (policy.jitter == Duration{0}) {
    require(ticks == trigger.count_between(moment, now), "each tick is due or written off");
  }
}

void check_moment(std::string_view text, TimeZone zone) {
  if (const auto moment = saathii::schedule::parse_moment(text, zone)) {
    const auto local = saathii::schedule::local_text(*moment, zone);
    require(local.size() >= 20, "a moment has a local text", text);
    if (saathii::parse_iso8601(saathii::to_iso8601(*moment)) == moment) {
      require(saathii::schedule::parse_moment(saathii::to_iso8601(*moment), zone) == moment,
              "a moment reads back", text);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  const auto form = input.byte();
  const TimeZone zone = zone_of(input.byte());
  const Instant moment = moment_of(input.word());
  Input for_plan(data, size);
  check_moment(input.rest(), zone);
  const auto rule = rule_of(form, input.rest());
  if (!rule) {
    return 0;
  }
  const Trigger trigger(*rule, zone);
  require(!trigger.describe().empty(), "a trigger can be told");
  if (const auto next = trigger.next_after(moment)) {
    check_next(trigger, moment, *next);
  }
  if (const auto latest = trigger.latest_at(moment)) {
    check_latest(trigger, moment, *latest);
  }
  check_walk(trigger, moment);
  check_plan(trigger, moment, for_plan);
  return 0;
}
