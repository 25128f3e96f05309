#pragma once

#include <string>
#include <string_view>

#include "catch.hpp"
#include "saathii/http/sample.hpp"

namespace saathii::http::test {

inline Instant at(std::string_view text) {
  const auto moment = parse_iso8601(text);
  REQUIRE(moment);
  return *moment;
}

/// A daemon with two jobs, of kinds "charging" and "plain", one of which is running.
inline Sample healthy() {
  Sample sample;
  sample.version = "1.2.3";
  sample.started_at = at("2026-11-22T08:00:00Z");
  runner::JobView charging;
  charging.name = "charge";
  charging.kind = "charging";
  charging.schedule = "every 1m";
  charging.next_run = at("2026-11-22T09:01:00Z");
  charging.last_success = at("2026-11-22T09:00:00.5Z");
  charging.success_deadline = at("2026-11-22T09:11:00Z");
  runner::JobView plain;
  plain.name = "sweep";
  plain.kind = "plain";
  plain.schedule = "daily at 00:01 UTC";
  plain.state = runner::JobView::State::running;
  plain.run =
      runner::RunInProgress{"id", at("2026-11-22T09:00:00Z"), at("2026-11-22T09:00:01Z"), 1};
  sample.jobs = {charging, plain};
  sample.health.judged_at = at("2026-11-22T09:00:10Z");
  sample.servers = {{"postgres", {ServerState::State::up, at("2026-11-22T08:00:01Z"), ""}},
                    {"redis", {}}};
  sample.disks = {{"/var/log/saathii", 250, 1000, ""}, {"/gone", 0, 0, "cannot be looked at"}};
  sample.queues = {{outcomes_queue, 3, 10'000}, {"files", 0, 8}};
  sample.sessions = {.idle = 2, .leased = 1, .waiting = 0, .limit = 8};
  sample.alerts_open = 2;
  sample.alert_channels = {{"webhook", 7, 1, 4, 3}, {"mail", 0, 0, 0, 0}};
  sample.loop_lag = std::chrono::milliseconds{2};
  return sample;
}

/// The same while charging fails, PostgreSQL is down and the disk fills up.
inline Sample failing() {
  Sample sample = healthy();
  sample.jobs[0].paused = runner::Pause{"root", at("2026-11-22T08:30:00Z")};
  sample.jobs[0].next_run = std::nullopt;
  sample.servers[0].snapshot = {ServerState::State::down, at("2026-11-22T08:50:00Z"), "refused"};
  sample.health.level = health::Level::failing;
  sample.health.findings = {
      {health::Level::failing, "postgres", "down since 2026-11-22T08:50:00Z: refused"},
      {health::Level::degraded, "job charge", "paused by root since 2026-11-22T08:30:00Z"},
      {health::Level::degraded, "disk /gone", "cannot be looked at"}};
  return sample;
}

}  // namespace saathii::http::test
