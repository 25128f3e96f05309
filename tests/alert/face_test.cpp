#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "saathii/alert/face.hpp"
#include "saathii/config/loader.hpp"

// The face as the runner drives it, with a real program as the channel: it
// writes what it gets into a file.

using namespace saathii;
using namespace saathii::alert;
using namespace std::chrono_literals;
using schedule::Outcome;
using Strings = std::vector<std::string>;

namespace {

const Instant noon = *parse_iso8601("2026-11-22T12:00:00Z");

class Bench {
 public:
  Bench() {
    std::string name = (std::filesystem::temp_directory_path() / "saathii-alert-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder_ = name;
    config.platform.timezone = "UTC";
    config::Job job{.name = "a",
                    .kind = "a",
                    .trigger = {schedule::Every{1min}, tz::locate_zone("UTC")},
                    .policy = {},
                    .run = {},
                    .settings = config::Settings{{}}};
    job.run.timeout = 10min;
    config.jobs.push_back(job);
    job.name = "b";
    job.run.long_running_after = 1min;
    config.jobs.push_back(job);
    config.alerts.command.run = {"/bin/sh", "-c", "cat >> $1; echo >> $1", "sh",
                                 (folder_ / "alerts").string()};
    views.resize(1);
    views[0].name = "a";
    views[0].next_run = noon + 1h;
  }
  ~Bench() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  [[nodiscard]] Face::Around around() {
    return {.now = [this] { return now; },
            .soon = [this](std::function<void()> call) { turn.push_back(std::move(call)); },
            .jobs = [this] { return views; },
            .keep = [this](std::vector<Told> told) { kept = std::move(told); },
            .kept = kept};
  }
  /// One turn of the loop.
  void run_turn() {
    for (const auto& call : std::exchange(turn, {})) {
      call();
    }
  }
  void pass(Duration time) {
    now.wall += time;
    now.steady += time;
  }
  static runner::Record record(const std::string& job, Outcome outcome) {
    runner::Record made;
    made.job = job;
    made.outcome = outcome;
    made.run_id = outcome == Outcome::missed ? "" : "run of " + job;
    made.scheduled_at = made.last_scheduled_at = noon;
    return made;
  }
  [[nodiscard]] std::vector<nlohmann::json> alerts() const {
    std::vector<nlohmann::json> all;
    std::ifstream file(folder_ / "alerts");
    for (std::string line; std::getline(file, line);) {
      all.push_back(nlohmann::json::parse(line));
    }
    return all;
  }
  [[nodiscard]] Strings events() const {
    Strings all;
    for (const auto& each : alerts()) {
      all.push_back(each["event"].get<std::string>() + " " + each["subject"].get<std::string>());
    }
    return all;
  }

  config::Config config;
  Time now{noon, std::chrono::steady_clock::time_point{} + 1000h};
  std::vector<std::function<void()>> turn;
  std::vector<runner::JobView> views;
  std::vector<Told> kept;

 private:
  std::filesystem::path folder_;
};

}  // namespace

TEST_CASE("what the runner tells in one turn of the loop is one alert") {
  Bench bench;
  Face face(bench.around());
  face.configure(bench.config);
  for (int i = 0; i < 10'000; ++i) {
    face.tick_ended(Bench::record("a", Outcome::missed), 0s);
  }
  CHECK(bench.turn.size() == 1);
  bench.run_turn();
  face.tick_ended(Bench::record("a", Outcome::succeeded), 0s);
  bench.run_turn();
  CHECK(face.open() == 0);
  face.finish(1h);
  CHECK(bench.events() == Strings{"opened a", "recovered a"});
  CHECK(bench.alerts()[0]["times"] == 10'000);
  CHECK(bench.alerts()[0]["next_run"] == "2026-11-22T13:00:00Z");
  CHECK(face.counts()[0].first == "command");
  CHECK(face.counts()[0].second.delivered == 2);
}

TEST_CASE("a job's own limit and the part of its timeout make a run long") {
  Bench bench;
  Face face(bench.around());
  face.configure(bench.config);
  face.run_started("a", {"run of a", noon, noon});
  face.run_started("b", {"run of b", noon, noon});
  face.run_started("unknown", {"run of c", noon, noon});
  bench.pass(1min);
  face.heartbeat();
  bench.pass(7min - 1s);
  face.heartbeat();
  CHECK(face.open() == 1);
  bench.pass(1s);
  face.heartbeat();
  face.finish(1h);
  CHECK(bench.events() == Strings{"opened b", "opened a"});
}

TEST_CASE("health and stuck runs") {
  Bench bench;
  Face face(bench.around());
  face.configure(bench.config);
  face.wedged("a");
  face.health_changed(
      {health::Level::failing, {{health::Level::failing, "postgres", "down since noon"}}, noon});
  bench.run_turn();
  face.released("a");
  face.health_changed({});
  bench.run_turn();
  face.finish(1h);
  CHECK(bench.events() ==
        Strings{"opened a", "opened postgres", "recovered a", "recovered postgres"});
}

TEST_CASE("a run that failed before this start is known to have been told of") {
  Bench bench;
  Face face(bench.around());
  face.configure(bench.config);
  face.job_changed("a");  // nothing is known yet
  bench.views[0].last = Bench::record("a", Outcome::failed);
  face.job_changed("a");
  bench.run_turn();
  face.tick_ended(Bench::record("a", Outcome::succeeded), 0s);
  bench.run_turn();
  face.finish(1h);
  CHECK(bench.events() == Strings{"recovered a"});
}

TEST_CASE("whoever was told before a restart is told of the end after it") {
  Bench bench;
  {
    Face face(bench.around());
    face.configure(bench.config);
    face.tick_ended(Bench::record("a", Outcome::missed), 0s);
    face.tick_ended(Bench::record("gone", Outcome::failed), 0s);
    face.health_changed(
        {health::Level::failing, {{health::Level::failing, "postgres", "down"}}, noon});
    face.wedged("b");
    face.finish(1h);
  }
  CHECK(bench.kept.size() == 4);
  bench.turn.clear();
  Face face(bench.around());
  face.configure(bench.config);
  face.armed(2);
  bench.run_turn();
  CHECK(bench.kept.size() == 2);
  face.tick_ended(Bench::record("a", Outcome::succeeded), 0s);
  bench.run_turn();
  bench.pass(Rules::settling);
  face.heartbeat();
  face.finish(1h);
  CHECK(bench.kept.empty());
  CHECK(bench.events() == Strings{"opened a", "opened b", "opened gone", "opened postgres",
                                  "recovered b", "recovered gone", "recovered a",
                                  "recovered postgres"});
}

TEST_CASE("a reload changes who is told of what") {
  Bench bench;
  config::Config silent = bench.config;
  silent.alerts.command.run.clear();
  Face face(bench.around());
  face.configure(silent);
  face.tick_ended(Bench::record("a", Outcome::failed), 0s);
  bench.run_turn();
  face.configure(bench.config);
  face.configure(bench.config);
  face.tick_ended(Bench::record("b", Outcome::failed), 0s);
  bench.run_turn();
  face.jobs_changed({"a"});
  bench.run_turn();
  bench.config.alerts.on = {"missed"};
  face.configure(bench.config);
  face.tick_ended(Bench::record("b", Outcome::failed), 0s);
  bench.run_turn();
  face.finish(1h);
  CHECK(bench.events() == Strings{"opened a", "opened b", "recovered b"});
}

TEST_CASE("what happens in the last turn is sent at the end") {
  Bench bench;
  Face face(bench.around());
  face.configure(bench.config);
  face.tick_ended(Bench::record("a", Outcome::failed), 0s);
  face.finish(1h);
  CHECK(bench.events() == Strings{"opened a"});
}
