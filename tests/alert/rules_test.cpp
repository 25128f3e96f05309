#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "saathii/alert/rules.hpp"

using namespace saathii;
using namespace saathii::alert;
using namespace std::chrono_literals;
using schedule::Outcome;
using Strings = std::vector<std::string>;
using Event = Message::Event;

namespace {

const Instant noon = *parse_iso8601("2026-11-22T12:00:00Z");

/// Rules, and a clock that the test moves.
class Bench {
 public:
  explicit Bench(config::Alerts settings = {}) : rules(std::move(settings)) {}

  [[nodiscard]] Time now() const {
    return {noon + passed_, std::chrono::steady_clock::time_point{} + 1000h + passed_};
  }
  void pass(Duration time) { passed_ += time; }

  void ended(const std::string& job, Outcome outcome, const std::string& reason = "why",
             std::int64_t ticks = 1) {
    runner::Record record;
    record.job = job;
    record.outcome = outcome;
    record.reason = reason;
    record.ticks = ticks;
    record.scheduled_at = now().wall;
    record.last_scheduled_at = now().wall;
    if (outcome != Outcome::missed && outcome != Outcome::skipped &&
        outcome != Outcome::coalesced) {
      record.run_id = "run-of-" + job;
      record.finished_at = now().wall;
    }
    rules.tick_ended(record, now());
  }

  void started(const std::string& job, Duration limit) {
    rules.run_started(job, {"run-of-" + job, now().wall, now().wall}, limit, now());
  }

  void health(const std::vector<std::pair<std::string, health::Level>>& checks) {
    health::Report report;
    for (const auto& [check, level] : checks) {
      report.findings.push_back({level, check, check + " is not well"});
    }
    rules.health_changed(report, now());
  }

  std::vector<Message> messages() { return rules.look(now()); }

  /// "opened failed coin_deduction", in the order in which they are sent.
  Strings look() {
    Strings lines;
    for (const Message& message : messages()) {
      std::string line(to_string(message.event));
      for (const Kind kind : message.kinds) {
        line += " " + std::string(to_string(kind));
      }
      lines.push_back(line + (message.subject.empty() ? "" : " " + message.subject));
    }
    return lines;
  }

  Rules rules;

 private:
  Duration passed_{0};
};

const Strings nothing{};

}  // namespace

TEST_CASE("a job that fails is told of once, and once more when it is well again") {
  Bench bench;
  bench.ended("a", Outcome::failed, "deadlock");
  auto told = bench.messages();
  REQUIRE(told.size() == 1);
  CHECK(told[0].event == Event::opened);
  CHECK(told[0].reason == "deadlock");
  CHECK(told[0].run_id == "run-of-a");
  CHECK(told[0].since == noon);
  bench.pass(1min);
  bench.ended("a", Outcome::timed_out);
  CHECK(bench.look() == nothing);
  bench.pass(1min);
  bench.ended("a", Outcome::succeeded, "12 calls charged");
  const auto over = bench.messages();
  REQUIRE(over.size() == 1);
  CHECK(over[0].event == Event::recovered);
  CHECK(over[0].alerts == told[0].alerts);
  CHECK(over[0].number == 2);
  CHECK(over[0].reason == "12 calls charged");
  CHECK(over[0].since == noon);
  CHECK(over[0].times == 2);
  bench.ended("a", Outcome::succeeded);
  CHECK(bench.look() == nothing);
}

TEST_CASE("an alert that stays open is repeated, with how often it happened since") {
  Bench bench;
  bench.ended("a", Outcome::failed);
  CHECK(bench.look() == Strings{"opened failed a"});
  for (int i = 0; i < 239; ++i) {
    bench.pass(1min);
    bench.ended("a", Outcome::failed);
    CHECK(bench.look() == nothing);
  }
  bench.pass(1min);
  bench.ended("a", Outcome::failed);
  const auto again = bench.messages();
  REQUIRE(again.size() == 1);
  CHECK(again[0].event == Event::repeated);
  CHECK(again[0].times == 241);
  CHECK(again[0].times_new == 240);
  CHECK(again[0].number == 2);
  // And a daily job that is not tried in between is not forgotten.
  bench.pass(4h);
  const auto still = bench.messages();
  REQUIRE(still.size() == 1);
  CHECK(still[0].times_new == 0);
}

TEST_CASE("repeat_after = 0 repeats nothing") {
  config::Alerts settings;
  settings.repeat_after = 0s;
  Bench bench(settings);
  bench.ended("a", Outcome::failed);
  CHECK(bench.look().size() == 1);
  bench.pass(240h);
  CHECK(bench.look() == nothing);
}

TEST_CASE("missed ticks are counted, and over with the next success") {
  Bench bench;
  bench.ended("a", Outcome::missed, "too late", 3);
  bench.ended("a", Outcome::missed, "too late", 2);
  const auto told = bench.messages();
  REQUIRE(told.size() == 1);
  CHECK(told[0].kinds == std::vector<Kind>{Kind::missed});
  CHECK(told[0].times == 5);
  bench.ended("a", Outcome::failed);
  CHECK(bench.look() == Strings{"opened failed a"});
  bench.ended("a", Outcome::succeeded);
  // One message for both.
  CHECK(bench.look() == Strings{"recovered failed missed a"});
}

TEST_CASE("ticks that give way to a run are no alert") {
  Bench bench;
  bench.ended("a", Outcome::skipped);
  bench.ended("a", Outcome::coalesced);
  bench.ended("a", Outcome::succeeded);
  CHECK(bench.look() == nothing);
  CHECK(bench.rules.size() == 0);
}

TEST_CASE("a run that takes long is told of while it goes on") {
  Bench bench;
  bench.started("a", 4min);
  bench.pass(4min - 1s);
  CHECK(bench.look() == nothing);
  bench.pass(1s);
  const auto told = bench.messages();
  REQUIRE(told.size() == 1);
  CHECK(told[0].kinds == std::vector<Kind>{Kind::long_running});
  CHECK(told[0].run_id == "run-of-a");
  CHECK(told[0].reason == "a run goes on for 4 min already");
  bench.pass(1min);
  CHECK(bench.look() == nothing);
  bench.ended("a", Outcome::missed);  // not this run's end
  CHECK(bench.look() == Strings{"opened missed a"});
  bench.ended("a", Outcome::succeeded);
  CHECK(bench.look() == Strings{"recovered missed long_running a"});
}

TEST_CASE("a long run that fails is told of as failed, and repeated as failed alone") {
  Bench bench;
  bench.started("a", 4min);
  bench.pass(4min);
  CHECK(bench.look() == Strings{"opened long_running a"});
  bench.ended("a", Outcome::timed_out);
  CHECK(bench.look() == Strings{"opened failed a"});
  bench.pass(4h);
  CHECK(bench.look() == Strings{"repeated failed a"});
  bench.ended("a", Outcome::succeeded);
  CHECK(bench.look() == Strings{"recovered failed long_running a"});
}

TEST_CASE("where failures are not told, a long run that fails is over") {
  config::Alerts settings;
  settings.on = {"long_running", "recovered"};
  Bench bench(settings);
  bench.started("a", 4min);
  bench.pass(4min);
  CHECK(bench.look() == Strings{"opened long_running a"});
  bench.ended("a", Outcome::timed_out);
  CHECK(bench.look() == Strings{"recovered long_running a"});
}

TEST_CASE("a run that ends in time, and one without a limit, are not long") {
  Bench bench;
  bench.started("a", 4min);
  bench.started("b", 0s);
  bench.ended("a", Outcome::succeeded);
  bench.pass(100h);
  CHECK(bench.look() == nothing);
}

TEST_CASE("stuck and released") {
  Bench bench;
  bench.rules.wedged("a", bench.now());
  CHECK(bench.look() == Strings{"opened stuck a"});
  bench.ended("b", Outcome::succeeded);
  CHECK(bench.look() == nothing);
  bench.rules.released("a", bench.now());
  CHECK(bench.look() == Strings{"recovered stuck a"});
}

TEST_CASE("each check of health that fails is an alert, and not each look at it") {
  using health::Level;
  Bench bench;
  bench.health({{"redis", Level::degraded}});
  CHECK(bench.look() == nothing);
  bench.health({{"postgres", Level::failing}, {"redis", Level::degraded}});
  CHECK(bench.look() == Strings{"opened unhealthy postgres"});
  bench.health({{"disk /var", Level::failing}, {"postgres", Level::failing}});
  CHECK(bench.look() == Strings{"opened unhealthy disk /var"});
  bench.health({{"disk /var", Level::failing}, {"postgres", Level::degraded}});
  const auto over = bench.messages();
  REQUIRE(over.size() == 1);
  CHECK(over[0].event == Event::recovered);
  CHECK(over[0].subject == "postgres");
  CHECK(over[0].times == 1);
  bench.health({});
  CHECK(bench.look() == Strings{"recovered unhealthy disk /var"});
}

TEST_CASE("that a job is unhealthy is told only where nothing else tells it") {
  using health::Level;
  Bench bench;
  bench.ended("a", Outcome::failed);
  bench.health({{"job a", Level::failing}, {"job b", Level::failing}});
  CHECK(bench.look() == Strings{"opened failed a", "opened unhealthy job b"});
}

TEST_CASE("only what is wanted, of whom it is wanted") {
  config::Alerts settings;
  settings.on = {"failed", "unhealthy"};
  settings.jobs = {"a"};
  Bench bench(settings);
  bench.ended("a", Outcome::failed);
  bench.ended("b", Outcome::failed);
  bench.ended("a", Outcome::missed);
  bench.health({{"postgres", health::Level::failing}, {"job b", health::Level::failing}});
  CHECK(bench.look() == Strings{"opened failed a", "opened unhealthy postgres"});
  // "recovered" is not wanted.
  bench.ended("a", Outcome::succeeded);
  CHECK(bench.look() == nothing);
  bench.pass(15min);
  bench.ended("a", Outcome::failed);
  CHECK(bench.look() == Strings{"opened failed a"});
}

TEST_CASE("a job that comes and goes opens its alert once in min_gap") {
  Bench bench;
  bench.ended("a", Outcome::failed);
  CHECK(bench.look() == Strings{"opened failed a"});
  bench.ended("a", Outcome::succeeded);
  CHECK(bench.look() == Strings{"recovered failed a"});
  for (int i = 0; i < 6; ++i) {
    bench.pass(1min);
    bench.ended("a", Outcome::failed);
    CHECK(bench.look() == nothing);
    bench.pass(1min);
    bench.ended("a", Outcome::succeeded);
    CHECK(bench.look() == nothing);
  }
  bench.pass(2min);
  bench.ended("a", Outcome::failed);
  CHECK(bench.look() == nothing);
  // Still failing when the gap is over: it is told then, with what was not.
  bench.pass(1min);
  const auto told = bench.messages();
  REQUIRE(told.size() == 1);
  CHECK(told[0].event == Event::opened);
  CHECK(told[0].flaps == 6);
  CHECK(told[0].since == noon + 14min);
}

TEST_CASE("more than max_per_hour are held back: told once, and sent when there is room") {
  config::Alerts settings;
  settings.max_per_hour = 3;
  settings.repeat_after = 0s;
  Bench bench(settings);
  for (const auto* job : {"a", "b", "c", "d", "e"}) {
    bench.ended(job, Outcome::failed);
  }
  auto told = bench.messages();
  REQUIRE(told.size() == 4);
  CHECK(told[3].event == Event::held_back);
  CHECK(told[3].times == 2);
  CHECK(told[3].held == Strings{"d failed", "e failed"});
  bench.pass(30min);
  bench.ended("d", Outcome::succeeded);  // over before anybody was told
  bench.ended("a", Outcome::succeeded);
  CHECK(bench.look() == nothing);
  bench.pass(30min);
  told = bench.messages();
  // e and the recovery of a fit; that d was never told of is told.
  REQUIRE(told.size() == 3);
  CHECK(told[0].subject == "e");
  CHECK(told[0].event == Event::opened);
  CHECK(told[1].subject == "a");
  CHECK(told[1].event == Event::recovered);
  CHECK(told[2].event == Event::held_back);
  CHECK(told[2].held == Strings{"d failed"});
  bench.pass(1h);
  CHECK(bench.look() == nothing);
}

TEST_CASE("a failure from before this start is not told again, but its end is") {
  Bench bench;
  runner::Record last;
  last.job = "a";
  last.outcome = Outcome::failed;
  last.finished_at = noon - 2h;
  bench.rules.remember(last, bench.now());
  last.job = "b";
  bench.rules.remember(last, bench.now());
  last.job = "c";
  last.outcome = Outcome::succeeded;
  bench.rules.remember(last, bench.now());
  bench.pass(24h);
  CHECK(bench.look() == nothing);
  bench.ended("a", Outcome::succeeded);
  CHECK(bench.look() == Strings{"recovered failed a"});
  // One that goes on failing is news to whoever restarted saathiid.
  bench.ended("b", Outcome::failed);
  const auto told = bench.messages();
  REQUIRE(told.size() == 1);
  CHECK(told[0].event == Event::opened);
  CHECK(told[0].since == noon - 2h);
}

TEST_CASE("a check that fails is looked at again when what passed it over has changed") {
  using health::Level;
  config::Alerts settings;
  settings.on = {"failed", "recovered"};
  Bench bench(settings);
  bench.health({{"postgres", Level::failing}});
  CHECK(bench.look() == nothing);
  // By a reload, while health has no news.
  settings.on.emplace_back("unhealthy");
  bench.rules.configure(settings);
  CHECK(bench.look() == Strings{"opened unhealthy postgres"});
  bench.pass(1h);
  CHECK(bench.look() == nothing);
  bench.health({});
  CHECK(bench.look() == Strings{"recovered unhealthy postgres"});
}

TEST_CASE("that a job is unhealthy is told once what hid it is over") {
  using health::Level;
  Bench bench;
  bench.rules.wedged("a", bench.now());
  CHECK(bench.look() == Strings{"opened stuck a"});
  bench.health({{"job a", Level::failing}});
  CHECK(bench.look() == nothing);
  bench.rules.released("a", bench.now());
  // Not in the same breath: health may not have seen it yet.
  CHECK(bench.look() == Strings{"recovered stuck a"});
  bench.pass(10s);
  CHECK(bench.look() == Strings{"opened unhealthy job a"});
  bench.health({});
  CHECK(bench.look() == Strings{"recovered unhealthy job a"});
}

TEST_CASE("health that is looked at again counts nothing twice, and stays within its bound") {
  using health::Level;
  Bench bench;
  std::vector<std::pair<std::string, Level>> checks;
  for (std::size_t i = 0; i <= Rules::max_alerts; ++i) {
    checks.emplace_back("disk /" + std::to_string(i), Level::failing);
  }
  bench.health(checks);
  for (int i = 0; i < 10; ++i) {
    static_cast<void>(bench.look());
  }
  bench.pass(1h);
  for (const Message& message : bench.messages()) {
    CHECK(message.times <= Rules::max_alerts);
  }
  CHECK(bench.rules.size() == Rules::max_alerts);
}

TEST_CASE("what was told before a restart is over after it, whatever it was") {
  using health::Level;
  Bench before;
  before.ended("a", Outcome::failed);
  before.ended("a", Outcome::missed);
  before.started("b", 1min);
  before.rules.wedged("c", before.now());
  before.health({{"postgres", Level::failing}, {"disk /var", Level::failing}});
  before.pass(1min);
  CHECK(before.look().size() == 6);
  const auto told = before.rules.told();
  REQUIRE(told.size() == 6);

  Bench after;
  after.pass(10min);
  after.rules.restore(told, after.now());
  CHECK(after.rules.told() == told);
  // No run outlives its process.
  CHECK(after.look() == Strings{"recovered stuck c"});
  after.rules.armed(after.now());
  // Health tells only what is wrong; what it does not tell is well once it knows all.
  after.health({{"disk /var", Level::failing}});
  CHECK(after.look() == nothing);
  after.ended("a", Outcome::succeeded);
  const auto over = after.messages();
  REQUIRE(over.size() == 1);
  CHECK(over[0].kinds == std::vector<Kind>{Kind::failed, Kind::missed});
  CHECK(over[0].alerts[0] == told[0].id);
  CHECK(over[0].since == noon);
  after.ended("b", Outcome::succeeded);
  CHECK(after.look() == Strings{"recovered long_running b"});
  after.pass(Rules::settling);
  CHECK(after.look() == Strings{"recovered unhealthy postgres"});
  // And what goes on is repeated, as it would have been.
  after.pass(4h);
  CHECK(after.look() == Strings{"repeated unhealthy disk /var"});
  after.health({});
  CHECK(after.look() == Strings{"recovered unhealthy disk /var"});
  CHECK(after.rules.told().empty());
}

TEST_CASE("a success that was not told before a restart is told after it") {
  Bench before;
  before.ended("a", Outcome::missed);
  CHECK(before.look().size() == 1);
  Bench after;
  after.rules.restore(before.rules.told(), after.now());
  runner::Record last;
  last.job = "a";
  last.outcome = Outcome::succeeded;
  last.finished_at = noon - 1h;  // before it was missed
  after.rules.remember(last, after.now());
  CHECK(after.look() == nothing);
  last.finished_at = noon + 1s;
  after.rules.remember(last, after.now());
  CHECK(after.look() == Strings{"recovered missed a"});
}

TEST_CASE("only what is wanted still is restored, and no more than there may be") {
  config::Alerts settings;
  settings.on = {"failed", "recovered"};
  Bench bench(settings);
  std::vector<Told> told = {{"x", Kind::missed, "x.1", noon}};
  for (std::size_t i = 0; i < 2 * Rules::max_alerts; ++i) {
    told.push_back({"job_" + std::to_string(i), Kind::failed, std::to_string(i), noon});
  }
  bench.rules.restore(told, bench.now());
  CHECK(bench.rules.told().size() == Rules::max_alerts);
  CHECK(bench.rules.told().front().kind == Kind::failed);
}

TEST_CASE("what is open of a job that is no longer there is over") {
  Bench bench;
  bench.ended("a", Outcome::failed);
  bench.ended("b", Outcome::failed);
  bench.started("b", 1min);
  CHECK(bench.look().size() == 2);
  bench.rules.keep_jobs({"a"}, bench.now());
  CHECK(bench.look() == Strings{"recovered failed b"});
  bench.pass(1h);
  CHECK(bench.look() == nothing);
  config::Alerts settings;
  settings.on = {"missed"};
  bench.rules.configure(settings);
  CHECK(bench.rules.size() == 0);
}

TEST_CASE("what is open of a job that another instance runs now is over, but for its own run") {
  Bench bench;
  bench.ended("a", Outcome::failed);
  bench.ended("b", Outcome::missed);
  bench.rules.wedged("a", bench.now());
  CHECK(bench.look().size() == 3);
  bench.started("a", 1min);
  bench.rules.standing_by("a", bench.now());
  CHECK(bench.look() == Strings{"recovered failed a"});
  bench.pass(1h);
  CHECK(bench.look().empty());  // nor does its run go on for long
}

TEST_CASE("memory is bounded") {
  config::Alerts settings;
  settings.max_per_hour = 1000;
  Bench bench(settings);
  for (std::size_t i = 0; i < 2 * Rules::max_alerts; ++i) {
    bench.ended("job_" + std::to_string(i), Outcome::failed);
    bench.started("job_" + std::to_string(i), 1s);
  }
  CHECK(bench.rules.size() == Rules::max_alerts);
  const auto told = bench.messages();
  REQUIRE(told.size() == Rules::max_alerts + 1);
  CHECK(told.back().event == Event::held_back);
  CHECK(told.back().times >= Rules::max_alerts);
  for (std::size_t i = 0; i < 2 * Rules::max_alerts; ++i) {
    bench.ended("job_" + std::to_string(i), Outcome::succeeded);
  }
  CHECK(bench.look().size() == Rules::max_alerts);
  bench.pass(1h);
  CHECK(bench.look().size() <= 1);
  CHECK(bench.rules.size() == 0);
}
