#include "saathii/systemd/face.hpp"

#include "base/capture_stderr.hpp"
#include "catch.hpp"
#include "support/service_manager.hpp"

namespace saathii::systemd {

namespace {

using namespace std::chrono_literals;
using runner::Record;
using schedule::Outcome;

const Instant now = *parse_iso8601("2026-11-22T08:33:42Z");  // 14:03:42 in Kolkata

/// 0: nothing is asked of the manager that differs from moment to moment.
constexpr Duration stop_limit{0};

struct Setup {
  explicit Setup(const char* watchdog_us = "60000000") : manager(test::path_name, watchdog_us) {}
  test::ServiceManager manager;
  Notifier notifier;
  ServerState postgres{"postgres"};
  ServerState redis{"redis"};
  Instant shown_now = now;
  Face face{notifier, {&postgres, &redis}, tz::locate_zone("Asia/Kolkata"), stop_limit, [this] {
              return shown_now;
            }};
};

Record run_of(const std::string& job, Outcome outcome, const std::string& reason,
              std::int64_t charged) {
  Record record;
  record.job = job;
  record.run_id = "r";
  record.scheduled_at = now - 42s;
  record.started_at = now - 42s;
  record.outcome = outcome;
  record.reason = reason;
  record.counts = {{"charged", charged}};
  return record;
}

using Messages = std::vector<std::string>;

TEST_CASE("READY tells of the jobs and the servers") {
  Setup setup;
  setup.face.armed(5);
  CHECK(setup.manager.messages() ==
        Messages{"READY=1\nSTATUS=5 jobs; postgres not asked yet; redis not asked yet"});
}

TEST_CASE("the status tells of the latest run that did something, and of servers that are down") {
  Setup setup;
  setup.face.armed(5);
  setup.postgres.report_up();
  setup.redis.report_down("connection refused");
  setup.shown_now = setup.redis.snapshot().since + 42s;
  setup.face.tick_ended(run_of("coin_deduction", Outcome::succeeded, "312 calls charged", 312),
                        41ms);
  setup.face.tick_ended(run_of("coin_deduction", Outcome::succeeded, "0 calls charged", 0), 2ms);
  CHECK(setup.face.status() ==
        "5 jobs; 312 calls charged at 14:03:00 in 41 ms; postgres up; redis down for 42 s");
}

TEST_CASE("after a change of the zone, times are shown in the new one") {
  Setup setup;
  setup.face.armed(1);
  setup.face.set_zone(tz::locate_zone("Asia/Tokyo"));
  setup.face.tick_ended(run_of("charge", Outcome::succeeded, "1 call charged", 1), 41ms);
  CHECK_THAT(setup.face.status(),
             Catch::Matchers::StartsWith("1 job; 1 call charged at 17:33:00 in 41 ms; "));
}

TEST_CASE("a failure stays in the status until the job succeeds again") {
  Setup setup;
  setup.face.armed(1);
  setup.face.tick_ended(run_of("badges", Outcome::timed_out, std::string(200, 'x'), 0), 1s);
  CHECK(setup.face.status() == "1 job; badges failed at 14:03:00: " + std::string(80, 'x') +
                                   "…; postgres not asked yet; redis not asked yet");
  setup.face.tick_ended(run_of("badges", Outcome::succeeded, "ok", 0), 1s);
  CHECK(setup.face.status() == "1 job; postgres not asked yet; redis not asked yet");
}

TEST_CASE("ticks that never ran do not touch the status") {
  Setup setup;
  setup.face.armed(1);
  (void)setup.manager.messages();
  Record record = run_of("badges", Outcome::missed, "late", 0);
  record.run_id.clear();
  setup.face.tick_ended(record, 0s);
  CHECK(setup.manager.messages().empty());
}

TEST_CASE("the watchdog is fed with the heartbeat, but not while a run is stuck") {
  Setup setup;
  setup.face.armed(1);
  (void)setup.manager.messages();
  setup.face.heartbeat();
  CHECK(setup.manager.messages() == Messages{"WATCHDOG=1"});
  setup.face.wedged("charge");
  setup.face.heartbeat();
  CHECK(setup.manager.messages() ==
        Messages{"STATUS=1 job; charge is stuck; postgres not asked yet; redis not asked yet"});
  setup.face.released("charge");
  setup.face.heartbeat();
  CHECK(setup.manager.messages() ==
        Messages{"STATUS=1 job; postgres not asked yet; redis not asked yet", "WATCHDOG=1"});
}

TEST_CASE("that the watchdog is not fed is told of, where there is one") {
  const CaptureStderr capture;
  {
    Setup setup;
    setup.face.wedged("unfed_first");
    setup.face.wedged("unfed_second");
  }
  Setup no_watchdog(nullptr);
  no_watchdog.face.wedged("unfed_no");
  const std::string text = capture.text();
  INFO(text);
  CHECK(text.find("the watchdog is not fed: unless unfed_first comes back, the service manager "
                  "restarts saathiid within 1 min JOB=unfed_first\n") != std::string::npos);
  CHECK(text.find("unfed_second") == std::string::npos);
  CHECK(text.find("unfed_no") == std::string::npos);
}

TEST_CASE("a stuck run does not keep from the manager what it has not read yet") {
  Setup setup;
  setup.face.armed(1);
  setup.face.wedged("charge");
  while (setup.manager.takes_more()) {
    setup.notifier.status("filler");
  }
  setup.face.stopping({});
  (void)setup.manager.messages();
  setup.face.heartbeat();
  CHECK(setup.manager.messages() ==
        Messages{"STOPPING=1\nSTATUS=stopping; charge is stuck; postgres not asked yet; redis "
                 "not asked yet"});
}

TEST_CASE("a database that is down never withholds the watchdog") {
  Setup setup;
  setup.face.armed(1);
  setup.postgres.report_down("connection refused");
  (void)setup.manager.messages();
  setup.face.heartbeat();
  CHECK(setup.manager.messages().at(0) == "WATCHDOG=1");
}

TEST_CASE("STOPPING names what is waited for") {
  Setup setup;
  setup.face.stopping({"charge", "badges"});
  CHECK(setup.manager.messages() ==
        Messages{"STOPPING=1\nSTATUS=stopping, waiting for charge, badges; postgres not asked "
                 "yet; redis not asked yet"});
}

TEST_CASE("no line of a status can be taken for another assignment") {
  Setup setup;
  setup.notifier.status("a\nREADY=1");
  CHECK(setup.manager.messages() == Messages{"STATUS=a READY=1"});
}

TEST_CASE("the heart beats at half the watchdog's time, without one, for the status only") {
  CHECK(Face::heartbeat_interval(Setup("10000000").notifier, 30s) == 5s);
  CHECK(Face::heartbeat_interval(Setup("600000000").notifier, 30s) == 30s);
  CHECK(Face::heartbeat_interval(Notifier{}, 30s) == 30s);
}

}  // namespace

}  // namespace saathii::systemd
