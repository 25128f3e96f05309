#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/model.hpp"
#include "ctl/screen.hpp"
#include "ctl/text.hpp"

// A platform's daemon as it might stand at NOW, for the tests of views.

namespace saathii::test {

inline Instant at(std::string_view text) { return parse_iso8601(text).value(); }

/// Sun 2026-11-22 09:12:00 in India.
inline const Instant now = at("2026-11-22T03:42:00Z");

inline ctl::Screen screen(std::size_t width = 80) {
  ctl::Screen made;
  made.width = width;
  made.now = now;
  made.zone = tz::locate_zone("Asia/Kolkata");
  return made;
}

inline ctl::Job job(const std::string& name, const std::string& schedule, const char* next) {
  ctl::Job made;
  made.name = made.kind = name;
  made.schedule = schedule;
  made.time_zone = "Asia/Kolkata";
  made.state = "waiting";
  made.next_run = at(next);
  made.timeout = std::chrono::minutes{10};
  return made;
}

inline void ran(ctl::Job& job, const char* when, Duration took, const std::string& outcome,
                const std::string& reason, ctl::Counts counts = {}) {
  job.last_run_id = "0d1c64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d";
  job.last_outcome = outcome;
  job.last_reason = reason;
  job.last_counts = std::move(counts);
  job.last_scheduled_at = job.last_started_at = at(when);
  job.last_finished_at = at(when) + took;
  job.last_attempts = 1;
  if (outcome == "succeeded") {
    job.last_success = job.last_finished_at;
  }
}

/// All is well.
inline ctl::Overview well() {
  using std::chrono::milliseconds;
  ctl::Overview made;
  made.manager = {"0.1.0",
                  at("2026-11-22T03:40:11Z"),
                  "/etc/saathii/saathiid.toml",
                  "Asia/Kolkata",
                  "info",
                  {{"postgres", "up", at("2026-11-22T03:40:11Z"), ""},
                   {"redis", "up", at("2026-11-22T03:40:11Z"), ""}},
                  {true, "node-1", 3, "node-1", at("2026-11-22T03:40:11Z")},
                  0};
  made.health = {"ok", {}};
  auto presence = job("presence_cleanup", "every 5m", "2026-11-22T03:45:00Z");
  ran(presence, "2026-11-22T03:40:11Z", milliseconds{28}, "succeeded",
      "313 users online, 0 gone offline, 0 no longer busy", {{"online", 313}});
  auto coins = job("coin_deduction", "every 1m", "2026-11-22T03:42:41Z");
  ran(coins, "2026-11-22T03:41:41Z", milliseconds{35}, "succeeded",
      "7 calls charged, 170 coins; 1 ended, balance used up",
      {{"charged", 7}, {"coins", 1170}, {"ended", 1}});
  auto cleanup = job("call_cleanup", "every 10m", "2026-11-22T03:50:00Z");
  ran(cleanup, "2026-11-22T03:40:11Z", milliseconds{47}, "succeeded",
      "1 call ended, 0 coins charged, 100 given back");
  auto badges = job("badge_assignment", "daily at 00:01 Asia/Kolkata", "2026-11-22T18:31:00Z");
  ran(badges, "2026-11-21T18:31:00Z", milliseconds{54}, "succeeded",
      "badges of 2026-11-22: 114 basic, 24 bronze, 19 silver, 14 gold");
  const auto logs = job("log_rotation", "daily at 01:00 Asia/Kolkata", "2026-11-22T19:30:00Z");
  made.jobs = {presence, coins, cleanup, badges, logs};
  return made;
}

/// Much is not.
inline ctl::Overview ill() {
  ctl::Overview made = well();
  made.health = {"failing",
                 {{"failing", "postgres", "down for 3 min: connection refused"},
                  {"degraded", "job call_cleanup", "is paused since 09:00"}}};
  made.manager.servers[0] = {
      "postgres", "down", at("2026-11-22T03:39:00Z"),
      "connection to server at \"db.internal\" (10.0.0.4), port 5432 failed: "
      "Connection refused"};
  made.manager.leadership.leads = false;
  made.manager.leadership.leader = "node-2";
  made.manager.outcomes_waiting = 3;
  auto& coins = made.jobs[1];
  coins.state = "retrying";
  coins.run_id = "7b0f64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d";
  coins.run_scheduled_at = at("2026-11-22T03:41:00Z");
  coins.run_started_at = at("2026-11-22T03:41:00Z");
  coins.run_attempt = 4;
  coins.next_run.reset();
  auto& cleanup = made.jobs[2];
  cleanup.paused = true;
  cleanup.paused_by = "root";
  cleanup.paused_since = at("2026-11-22T03:30:00Z");
  cleanup.next_run.reset();
  auto& badges = made.jobs[3];
  ran(badges, "2026-11-21T18:31:00Z", std::chrono::minutes{31}, "timed_out",
      "took longer than 30 min and was stopped; the statement that was cancelled waited for "
      "another transaction's lock");
  badges.last_attempts = 3;
  badges.success_deadline = at("2026-11-22T03:31:00Z");
  return made;
}

inline std::vector<ctl::Run> outcomes() {
  std::vector<ctl::Run> runs;
  runs.push_back({"coin_deduction",
                  "0d1c64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d",
                  at("2026-11-22T03:41:00Z"),
                  at("2026-11-22T03:41:00Z"),
                  1,
                  "succeeded",
                  "7 calls charged, 170 coins; 1 ended, balance used up",
                  at("2026-11-22T03:41:00Z"),
                  at("2026-11-22T03:41:00.035Z"),
                  1,
                  {{"charged", 7}}});
  runs.push_back({"call_cleanup",
                  "",
                  at("2026-11-22T01:10:00Z"),
                  at("2026-11-22T03:30:00Z"),
                  15,
                  "missed",
                  "the daemon was not running",
                  {},
                  {},
                  0,
                  {}});
  runs.push_back({"badge_assignment",
                  "1d1c64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d",
                  at("2026-11-21T18:31:00Z"),
                  at("2026-11-21T18:31:00Z"),
                  1,
                  "timed_out",
                  "took longer than 30 min",
                  at("2026-11-21T18:31:00Z"),
                  at("2026-11-21T19:01:00Z"),
                  3,
                  {}});
  return runs;
}

inline ctl::Receipt receipt() {
  using std::chrono::minutes;
  ctl::Receipt made;
  made.call_id = 4711;
  made.user_id = 17;
  made.listener_id = 88;
  made.call_type = "video";
  made.status = "dropped";
  made.start_time = at("2026-11-22T03:34:57Z");
  made.end_time = at("2026-11-22T03:39:05Z");
  made.coins_spent = 240;
  const auto minute = [&](int number, const char* source, std::int64_t coins,
                          std::optional<std::int64_t> before) {
    ctl::Minute each;
    each.number = number;
    each.starts_at = *made.start_time + minutes{number - 1};
    each.coins = coins;
    each.source = source;
    each.charged_at = at("2026-11-22T03:36:00Z") + minutes{number - 2};
    each.balance_before = before;
    if (before) {
      each.balance_after = *before - coins;
    }
    return each;
  };
  made.minutes = {minute(1, "api", 60, {}),        minute(2, "saathiid", 60, 1240),
                  minute(3, "saathiid", 60, 1180), minute(4, "waived", 0, 1120),
                  minute(5, "saathiid", 60, 1120), minute(6, "saathiid", 60, 1060)};
  made.minutes[5].refunded_at = at("2026-11-22T03:41:12Z");
  made.settlement =
      ctl::Settlement{"not_seen", made.end_time, 4, 240, "28.00", at("2026-11-22T03:41:12Z")};
  return made;
}

inline ctl::Wallet wallet() {
  return {17,
          1060,
          "28.00",
          {4711, 4712},
          {{at("2026-11-22T03:41:12Z"), "spend", 60, "0.00"},
           {at("2026-11-22T03:41:00Z"), "spend", -60, "0.00"},
           {at("2026-11-21T10:00:00Z"), "earn", 0, "28.00"},
           {{}, "", 0, "0.00"}}};
}

/// Of the widest line.
inline std::size_t width_of(std::string_view text) {
  std::size_t widest = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    widest = std::max(widest, ctl::columns_of(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return widest;
}

}  // namespace saathii::test
