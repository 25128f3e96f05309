#include "support.hpp"

// What faces ask of the runner while it runs: views, runs, pauses, reloads.

namespace saathii::runner::test {

namespace {

using Catch::Matchers::ContainsSubstring;
using schedule::Outcome;

const Pause by_root{"root", noon};

std::map<Instant, Outcome> by_tick(const std::vector<Record>& records) {
  std::map<Instant, Outcome> outcomes;
  for (const auto& record : records) {
    CHECK(outcomes.emplace(record.scheduled_at, record.outcome).second);
  }
  return outcomes;
}

JobSpec spec_of(config::Job job, FakeWork& work) { return {std::move(job), work.work()}; }

void reload(Harness& harness, std::vector<JobSpec> specs, std::set<std::string> unchanged = {}) {
  harness.on_loop([&] { harness.runner->replace_jobs(std::move(specs), unchanged); });
  harness.on_loop([] {});  // the jobs have taken it up
}

void pass_minutes(Harness& harness, int first, int last) {
  for (int minute = first; minute <= last; ++minute) {
    REQUIRE(harness.clock.wait_until_armed(noon + minute * 1min));
    harness.clock.pass_to(noon + minute * 1min);
  }
}

TEST_CASE("a paused job's ticks end as skipped, and it goes on once it is resumed") {
  Harness harness;
  FakeWork& work = harness.add(minutely("charge"));
  harness.start();
  CHECK(harness.on_loop([&] { return harness.runner->pause("charge", by_root); }));
  CHECK_FALSE(harness.on_loop([&] { return harness.runner->pause("charge", by_root); }));
  const JobView paused = harness.on_loop([&] { return harness.runner->job("charge"); });
  CHECK(paused.paused.value().by == "root");
  CHECK_FALSE(paused.next_run);
  pass_minutes(harness, 1, 3);
  REQUIRE(harness.ledger.wait_for_count(3));
  CHECK(harness.on_loop([&] { return harness.runner->resume("charge", "root"); }));
  CHECK_FALSE(harness.on_loop([&] { return harness.runner->resume("charge", "root"); }));
  pass_minutes(harness, 4, 4);
  REQUIRE(harness.ledger.wait_for_count(4));
  const auto records = harness.ledger.records();
  CHECK(records.at(0).reason == "the job was paused by root");
  const auto outcomes = by_tick(records);
  for (int minute = 1; minute <= 3; ++minute) {
    CHECK(outcomes.at(noon + minute * 1min) == Outcome::skipped);
  }
  CHECK(outcomes.at(noon + 4min) == Outcome::succeeded);
  CHECK(work.calls().size() == 1);
}

TEST_CASE("a job that is paused from the start does not run at the start either") {
  Harness harness;
  config::Job job = minutely("charge");
  job.run.run_at_start = true;
  FakeWork& work = harness.add(job);
  harness.options.paused = {{"charge", by_root}};
  harness.start();
  pass_minutes(harness, 1, 1);
  REQUIRE(harness.ledger.wait_for_count(1));
  CHECK(harness.ledger.records().at(0).outcome == Outcome::skipped);
  CHECK(work.calls().empty());
}

TEST_CASE("a run that is asked for comes at once, also while paused, with the id that was told") {
  Harness harness;
  FakeWork& work = harness.add(minutely("charge"));
  harness.start();
  harness.on_loop([&] { return harness.runner->pause("charge", by_root); });
  const auto id =
      harness.on_loop([&] { return harness.runner->run_now("charge", std::nullopt, "root"); });
  REQUIRE(harness.ledger.wait_for_count(1));
  CHECK(harness.ledger.records().at(0).run_id == id);
  CHECK(harness.ledger.records().at(0).scheduled_at == noon + 30s);
  CHECK(harness.ledger.records().at(0).ticks == 0);
  CHECK(work.calls().at(0).run_id == id);
  const JobView view = harness.on_loop([&] { return harness.runner->job("charge"); });
  CHECK(view.last.value().run_id == id);
  CHECK(view.last_success == noon + 30s);
}

TEST_CASE("a run that is asked for waits for the run in progress, and a second one is refused") {
  Harness harness;
  FakeWork& work = harness.add(minutely("charge"));
  work.block();
  harness.start();
  const auto ask = [&] {
    return harness.on_loop([&] { return harness.runner->run_now("charge", noon - 1h, "root"); });
  };
  const auto first = ask();
  REQUIRE(work.wait_for_calls(1));
  const JobView view = harness.on_loop([&] { return harness.runner->job("charge"); });
  CHECK(view.state == JobView::State::running);
  CHECK(view.run.value().run_id == first);
  const auto second = ask();
  CHECK(second != first);
  CHECK_THROWS_WITH(ask(), ContainsSubstring("still waiting for its turn"));
  work.release();
  REQUIRE(harness.ledger.wait_for_count(2));
  CHECK(harness.ledger.records().at(1).run_id == second);
}

TEST_CASE("a job that does not exist is refused with the nearest name") {
  Harness harness;
  harness.add(minutely("charge"));
  harness.start();
  const auto asks = {
      std::function<void()>([&] { static_cast<void>(harness.runner->job("charg")); }),
      std::function<void()>([&] { harness.runner->pause("charg", by_root); }),
      std::function<void()>([&] { harness.runner->resume("charg", "root"); }),
      std::function<void()>([&] { harness.runner->run_now("charg", std::nullopt, "root"); }),
      std::function<void()>([&] { static_cast<void>(harness.runner->trigger("charg")); })};
  for (const auto& ask : asks) {
    CHECK_THROWS_WITH(harness.on_loop(ask), "there is no job \"charg\"; did you mean \"charge\"?");
  }
}

TEST_CASE("the view after a restart tells of the runs before it") {
  Harness harness;
  harness.add(minutely("charge"));
  harness.ledger.state.change([](auto& s) {
    Record last;
    last.run_id = "before";
    last.outcome = Outcome::failed;
    s.past["charge"] = {noon, {}, last, noon - 5min};
  });
  harness.start();
  // Pruning comes once every past is told.
  REQUIRE(harness.ledger.state.wait([](const auto& s) { return s.prunes > 0; }));
  JobView view = harness.on_loop([&] { return harness.runner->job("charge"); });
  CHECK(view.last.value().run_id == "before");
  CHECK(view.last_success == noon - 5min);
  pass_minutes(harness, 1, 1);
  REQUIRE(harness.ledger.wait_for_count(1));
  view = harness.on_loop([&] { return harness.runner->job("charge"); });
  CHECK(view.last.value().run_id != "before");
  CHECK(view.last_success == noon + 1min);
  CHECK(view.success_deadline == noon + 4min);
}

TEST_CASE("a run as of another moment is no tick, and settles nothing of now") {
  Harness harness;
  FakeWork& work = harness.add(minutely("charge"));
  work.answer({{Result::Status::failed, "bang", {}}});
  harness.start();
  pass_minutes(harness, 1, 1);
  REQUIRE(harness.ledger.wait_for_count(1));
  harness.on_loop([&] { return harness.runner->run_now("charge", noon - 48h, "root"); });
  REQUIRE(harness.ledger.wait_for_count(2));
  const Record record = harness.ledger.records().at(1);
  CHECK(record.outcome == Outcome::succeeded);
  CHECK(record.as_of == noon - 48h);
  CHECK(record.ticks == 0);
  const JobView view = harness.on_loop([&] { return harness.runner->job("charge"); });
  CHECK(view.last.value().outcome == Outcome::failed);
  CHECK_FALSE(view.last_success);
}

TEST_CASE("a success under a clock that was ahead does not put off the deadline") {
  Harness harness(noon + 24h * 365 + 30s);
  harness.add(minutely("charge"));
  harness.start();
  harness.on_loop([&] { return harness.runner->run_now("charge", std::nullopt, "root"); });
  REQUIRE(harness.ledger.wait_for_count(1));
  harness.clock.set(noon + 30s);
  const JobView view = harness.on_loop([&] { return harness.runner->job("charge"); });
  CHECK(view.success_deadline == noon + 3min);
}

TEST_CASE("a pause ends a catch-up after the run in progress") {
  Harness harness;
  config::Job job = minutely("charge");
  job.policy.coalesce = false;
  job.policy.misfire_grace = 1h;
  FakeWork& work = harness.add(job);
  work.block();
  harness.ledger.state.change([](auto& s) { s.past["charge"] = {noon - 5min, {}}; });
  harness.start();
  REQUIRE(work.wait_for_calls(1));
  CHECK(harness.on_loop([&] { return harness.runner->pause("charge", by_root); }));
  work.release();
  REQUIRE(harness.ledger.wait_for_count(5));
  const auto outcomes = by_tick(harness.ledger.records());
  CHECK(outcomes.at(noon - 4min) == Outcome::succeeded);
  for (int minute = -3; minute <= 0; ++minute) {
    CHECK(outcomes.at(noon + minute * 1min) == Outcome::skipped);
  }
  CHECK(work.calls().size() == 1);
}

TEST_CASE("a reload lets the run in progress finish as it began, and the next is the new one") {
  FakeWork new_work;
  Harness harness;
  FakeWork& old_work = harness.add(minutely("charge"));
  old_work.block();
  harness.start();
  pass_minutes(harness, 1, 1);
  REQUIRE(old_work.wait_for_calls(1));
  reload(harness, {spec_of(minutely("charge"), new_work)});
  old_work.release();
  REQUIRE(harness.ledger.wait_for_count(1));
  pass_minutes(harness, 2, 3);
  REQUIRE(harness.ledger.wait_for_count(3));
  const auto outcomes = by_tick(harness.ledger.records());
  for (int minute = 1; minute <= 3; ++minute) {
    CHECK(outcomes.at(noon + minute * 1min) == Outcome::succeeded);
  }
  CHECK(old_work.calls().size() == 1);
  CHECK(new_work.calls().size() == 2);
}

TEST_CASE("a job that a reload does not touch keeps its work") {
  FakeWork never;
  Harness harness;
  FakeWork& work = harness.add(minutely("charge"));
  harness.start();
  reload(harness, {spec_of(minutely("charge"), never)}, {"charge"});
  pass_minutes(harness, 1, 1);
  REQUIRE(work.wait_for_calls(1));
  CHECK(never.calls().empty());
}

TEST_CASE("a new schedule begins after the reload, and loses or doubles no tick of the old one") {
  FakeWork work;
  Harness harness;
  harness.add(minutely("charge"));
  config::Job often = minutely("charge");
  often.trigger = {schedule::Every{20s}, tz::locate_zone("UTC")};
  harness.start();
  pass_minutes(harness, 1, 1);
  REQUIRE(harness.ledger.wait_for_count(1));
  reload(harness, {spec_of(often, work)});
  REQUIRE(harness.clock.wait_until_armed(noon + 80s));
  harness.clock.pass_to(noon + 80s);
  REQUIRE(harness.ledger.wait_for_count(2));
  reload(harness, {spec_of(minutely("charge"), work)});
  pass_minutes(harness, 2, 2);
  REQUIRE(harness.ledger.wait_for_count(3));
  const auto outcomes = by_tick(harness.ledger.records());
  CHECK(outcomes == std::map<Instant, Outcome>{{noon + 1min, Outcome::succeeded},
                                               {noon + 80s, Outcome::succeeded},
                                               {noon + 2min, Outcome::succeeded}});
}

TEST_CASE("a tick that waits for its jitter is the next run, and a reload leaves it an outcome") {
  const bool taken_out = GENERATE(false, true);
  FakeWork work;
  Harness harness(noon + 59s);
  config::Job jittery = minutely("charge");
  jittery.policy.jitter = 30s;
  harness.add(jittery);
  config::Job hourly = minutely("charge");
  hourly.trigger = {schedule::Every{1h}, tz::locate_zone("UTC")};
  harness.start();
  const auto begins = harness.clock.wait_until_armed_by(noon + 90s);
  REQUIRE(begins.value() > noon + 1min);
  harness.clock.pass_to(noon + 1min);
  const JobView view = harness.on_loop([&] { return harness.runner->job("charge"); });
  CHECK(view.next_run == begins);
  reload(harness, taken_out ? std::vector<JobSpec>{} : std::vector{spec_of(hourly, work)});
  REQUIRE(harness.ledger.wait_for_count(1));
  CHECK(harness.ledger.records().at(0).scheduled_at == noon + 1min);
  CHECK(harness.ledger.records().at(0).outcome == Outcome::skipped);
  CHECK(harness.ledger.records().at(0).reason == (taken_out
                                                      ? "the job was taken out of the configuration"
                                                      : "a reload changed the job's schedule"));
}

TEST_CASE("a past that becomes known after the schedule changed is judged by the old schedule") {
  FakeWork work;
  Harness harness;
  harness.add(minutely("charge"));
  config::Job hourly = minutely("charge");
  hourly.trigger = {schedule::Every{1h}, tz::locate_zone("UTC")};
  harness.ledger.state.change([](auto& s) {
    s.down = true;
    s.past["charge"] = {noon - 3min, {}};
  });
  harness.start();
  reload(harness, {spec_of(hourly, work)});
  harness.ledger.state.change([](auto& s) { s.down = false; });
  REQUIRE(harness.ledger.wait_for_count(3));
  CHECK(by_tick(harness.ledger.records()) ==
        std::map<Instant, Outcome>{{noon - 2min, Outcome::coalesced},
                                   {noon - 1min, Outcome::coalesced},
                                   {noon, Outcome::missed}});
  CHECK(work.calls().empty());
}

TEST_CASE("a job that a reload adds runs at its start only if no late tick does") {
  FakeWork fresh;
  Harness harness;
  FakeWork& charge = harness.add(minutely("charge"));
  config::Job job = minutely("fresh");
  job.run.run_at_start = true;
  harness.start();
  REQUIRE(harness.ledger.state.wait([](const auto& s) { return s.prunes > 0; }));
  harness.ledger.state.change([](auto& s) {
    s.stalled = true;
    s.past["fresh"] = {noon - 1min, {}};
  });
  reload(harness, {spec_of(minutely("charge"), charge), spec_of(job, fresh)}, {"charge"});
  harness.on_loop([] {});  // it has looked once
  const auto lines = harness.diary.lines();
  CHECK(std::find(lines.begin(), lines.end(), "started fresh") == lines.end());
  harness.ledger.state.change([](auto& s) { s.stalled = false; });
  REQUIRE(fresh.wait_for_calls(1));
  CHECK(fresh.calls().at(0).tick == noon);
}

TEST_CASE("a reload while the daemon drains is refused") {
  Harness harness;
  FakeWork& work = harness.add(minutely("charge"));
  work.block();
  harness.start();
  pass_minutes(harness, 1, 1);
  REQUIRE(work.wait_for_calls(1));
  harness.runner->stop();
  REQUIRE(harness.diary.wait_for("stopping charge"));
  CHECK_THROWS_AS(reload(harness, {}), JobError);
}

TEST_CASE("a job that is taken out rests, and can be put back") {
  Harness harness;
  FakeWork& charge = harness.add(minutely("charge"));
  harness.add(minutely("clean"));
  harness.start();
  reload(harness, {spec_of(minutely("clean"), harness.works["clean"])}, {"clean"});
  CHECK(harness.diary.wait_for("jobs clean"));
  CHECK_THROWS_AS(harness.on_loop([&] { return harness.runner->job("charge"); }), JobError);
  for (int minute = 1; minute <= 2; ++minute) {
    harness.clock.pass_to(noon + minute * 1min);
    REQUIRE(harness.ledger.wait_for_records([&](const auto& records) {
      return minute == std::count_if(records.begin(), records.end(),
                                     [](const Record& record) { return record.job == "clean"; });
    }));
  }
  reload(harness,
         {spec_of(minutely("charge"), charge), spec_of(minutely("clean"), harness.works["clean"])},
         {"clean"});
  CHECK(harness.diary.wait_for("jobs charge clean"));
  harness.clock.pass_to(noon + 3min);
  REQUIRE(charge.wait_for_calls(1));
  CHECK(charge.calls().at(0).tick == noon + 3min);
}

TEST_CASE("a job that is taken out in mid-run finishes the run, and never runs beside itself") {
  Harness harness;
  FakeWork& charge = harness.add(minutely("charge"));
  charge.block();
  harness.start();
  pass_minutes(harness, 1, 1);
  REQUIRE(charge.wait_for_calls(1));
  reload(harness, {});
  reload(harness, {spec_of(minutely("charge"), charge)});
  harness.clock.pass_to(noon + 2min);
  charge.release();
  REQUIRE(harness.ledger.wait_for_count(2));
  const auto outcomes = by_tick(harness.ledger.records());
  CHECK(outcomes.at(noon + 1min) == Outcome::succeeded);
  CHECK(outcomes.at(noon + 2min) == Outcome::skipped);
}

TEST_CASE("a job that a reload adds runs at its next tick") {
  FakeWork fresh;
  Harness harness;
  FakeWork& charge = harness.add(minutely("charge"));
  harness.start();
  reload(harness, {spec_of(minutely("charge"), charge), spec_of(minutely("fresh"), fresh)},
         {"charge"});
  CHECK(harness.diary.wait_for("jobs charge fresh"));
  harness.clock.pass_to(noon + 1min);
  REQUIRE(fresh.wait_for_calls(1));
  CHECK(fresh.calls().at(0).tick == noon + 1min);
}

TEST_CASE("side work is bounded, and ends with the daemon") {
  Harness harness;
  harness.add(minutely("charge"));
  harness.start();
  SideWorker* worker = nullptr;
  Watched<int> started;
  std::promise<std::string> refused;
  std::promise<bool> stopped;
  harness.on_loop([&] {
    worker = &harness.runner->add_side_worker(1);
    const auto hold = [&]() -> asio::awaitable<void> {
      auto work = [&](const std::stop_token& stop) {
        started.change([](int& n) { ++n; });
        Watched<bool> woken;
        const std::stop_callback wake(stop, [&] { woken.change([](bool& b) { b = true; }); });
        return woken.wait([](bool b) { return b; });
      };
      stopped.set_value(co_await worker->run(work));
    };
    asio::co_spawn(harness.runner->loop(), hold, asio::detached);
  });
  REQUIRE(started.wait([](int n) { return n == 1; }));
  harness.on_loop([&] {
    const auto more = [&]() -> asio::awaitable<void> {
      auto work = [](const std::stop_token&) { return 0; };
      try {
        co_await worker->run(work);
      } catch (const Overloaded& error) {
        refused.set_value(error.what());
      }
    };
    asio::co_spawn(harness.runner->loop(), more, asio::detached);
  });
  CHECK(refused.get_future().get() == "too many requests are waiting already");
  harness.runner->stop();
  CHECK_FALSE(harness.end().stuck);
  CHECK(stopped.get_future().get());
}

}  // namespace

}  // namespace saathii::runner::test
