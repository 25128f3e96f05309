#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <sstream>

#include "catch.hpp"
#include "saathii/schedule/trigger.hpp"

// Triggers against an independent opinion: oracle.py (croniter and zoneinfo).
// Another seed: SAATHII_ORACLE_SEED=7 test_schedule "[oracle]".

using namespace saathii;
using namespace saathii::schedule;

namespace {

constexpr int case_count = 8000;

struct Case {
  std::string kind;
  std::string text;
  std::string zone;
  Instant moment;
  std::optional<Instant> tick;
};

std::optional<Case> parse_case(const std::string& line) {
  std::array<std::string, 5> parts;
  std::istringstream in(line);
  for (auto& part : parts) {
    if (!std::getline(in, part, '\t')) {
      return std::nullopt;
    }
  }
  Case result{parts[0], parts[1], parts[2], Instant{Duration{std::stoll(parts[3])}}, std::nullopt};
  if (parts[4] != "none") {
    result.tick = Instant{Duration{std::stoll(parts[4])}};
  }
  return result;
}

std::vector<Case> ask_oracle() {
  const char* seed = std::getenv("SAATHII_ORACLE_SEED");
  const std::string command = "/usr/bin/python3 " SAATHII_SOURCE_DIR "/tests/schedule/oracle.py " +
                              std::to_string(seed != nullptr ? std::atoll(seed) : 20261122) + " " +
                              std::to_string(case_count);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(::popen(command.c_str(), "r"),
                                                             ::pclose);
  REQUIRE(pipe);
  std::string output;
  std::array<char, 65536> buffer{};
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe.get())) {
    output.append(buffer.data(), got);
  }
  std::vector<Case> cases;
  std::istringstream in(output);
  for (std::string line; std::getline(in, line);) {
    auto one = parse_case(line);
    INFO(line);
    REQUIRE(one.has_value());
    cases.push_back(std::move(*one));
  }
  return cases;
}

Trigger trigger_of(const Case& one) {
  const TimeZone zone = tz::locate_zone(one.zone);
  if (one.kind == "every") {
    return {Every{parse_duration(one.text).value()}, zone};
  }
  if (one.kind == "at") {
    return {Daily{parse_time_of_day(one.text).value()}, zone};
  }
  std::string error;
  auto cron = parse_cron(one.text, error);
  INFO(error);
  REQUIRE(cron.has_value());
  return {*cron, zone};
}

}  // namespace

TEST_CASE("an independent oracle names the same next ticks", "[oracle]") {
  const std::vector<Case> cases = ask_oracle();
  REQUIRE(cases.size() == case_count);
  for (const Case& one : cases) {
    INFO(one.kind << " " << one.text << " " << one.zone << " after " << to_iso8601(one.moment));
    const Trigger trigger = trigger_of(one);
    const auto tick = trigger.next_after(one.moment);
    REQUIRE(tick.has_value() == one.tick.has_value());
    if (tick) {
      INFO("here " << to_iso8601(*tick) << ", oracle " << to_iso8601(*one.tick));
      CHECK(*tick == *one.tick);
      CHECK(trigger.latest_at(*tick) == tick);
      CHECK(trigger.latest_at(*tick - Duration{1}).value_or(Instant::min()) <= one.moment);
      CHECK(trigger.count_between(one.moment, *tick) == 1);
    }
  }
}
