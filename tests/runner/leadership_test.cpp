#include "support.hpp"

namespace saathii::runner::test {

namespace {

using schedule::Outcome;

/// A runner that does not know yet who leads.
struct Instance : Harness {
  Instance() {
    options.leadership.leads = false;
    options.instance = "node-1";
    options.deposed = [this] { asked.change([](int& times) { ++times; }); };
  }

  void lead(std::int64_t term) { runner->set_leadership({true, term, "node-1", noon}); }
  void follow(std::int64_t term) { runner->set_leadership({false, term, "node-2", noon}); }
  JobView::State state(const std::string& job) {
    return on_loop([&] { return runner->job(job).state; });
  }

  Watched<int> asked;
};

config::Job of_each_host(const std::string& name) {
  config::Job job = minutely(name);
  job.scope = config::Scope::host;
  return job;
}

}  // namespace

TEST_CASE("who does not lead runs the jobs of its host alone, and writes nothing of the others") {
  Instance instance;
  FakeWork& led = instance.add(minutely("charge"));
  FakeWork& own = instance.add(of_each_host("rotate"));
  instance.start();
  CHECK(instance.state("charge") == JobView::State::standby);
  REQUIRE(instance.clock.wait_until_armed(noon + 1min));
  instance.clock.pass_to(noon + 1min);
  REQUIRE(instance.ledger.wait_for_count(1));
  const auto lines = instance.diary.lines();
  CHECK(std::ranges::find(lines, "standing by charge") == lines.end());  // it may yet lead
  CHECK(own.calls().size() == 1);
  CHECK(instance.ledger.records()[0].host == "node-1");
  CHECK(instance.ledger.records()[0].term == 0);
  CHECK(instance.ledger.state.get().past_calls == 1);
  instance.runner->stop();
  CHECK(instance.end().exit_code == 0);
  CHECK(led.calls().empty());
  CHECK(instance.ledger.records().size() == 1);
}

TEST_CASE("who takes over goes on where the ledger says that the former leader left off") {
  Instance instance;
  config::Job job = minutely("charge");
  job.policy.coalesce = false;
  job.policy.catch_up_limit = 10;
  job.policy.misfire_grace = 1h;
  FakeWork& work = instance.add(job);
  instance.start();
  instance.clock.pass_to(noon + 3min + 10s);
  // The other one's last tick.
  instance.ledger.state.change([](auto& s) { s.past["charge"].last_tick = noon + 1min; });
  instance.lead(3);
  REQUIRE(instance.ledger.wait_for_count(2));
  const auto records = instance.ledger.records();
  CHECK(records[0].scheduled_at == noon + 2min);
  CHECK(records[1].scheduled_at == noon + 3min);
  CHECK(records[1].term == 3);
  CHECK(work.calls().size() == 2);
}

TEST_CASE("who leads no more breaks off what runs, writes no outcome of it, and starts nothing") {
  Instance instance;
  FakeWork& work = instance.add(minutely("charge"));
  work.block();
  instance.start();
  instance.lead(1);
  REQUIRE(instance.clock.wait_until_armed(noon + 1min));
  instance.clock.pass_to(noon + 1min);
  REQUIRE(work.wait_for_calls(1));
  instance.follow(2);
  REQUIRE(work.state.wait([](const auto& s) { return s.stops == 1 && s.inside == 0; }));
  work.release();
  REQUIRE(instance.diary.wait_for("standing by charge"));
  instance.clock.pass_to(noon + 2min);
  instance.runner->stop();
  CHECK(instance.end().exit_code == 0);
  CHECK(work.calls().size() == 1);
  CHECK(instance.ledger.records().empty());
}

TEST_CASE("that this instance led before it was killed hands nothing over to another one") {
  Instance instance;
  FakeWork& work = instance.add(minutely("charge"));
  instance.start();
  instance.runner->set_leadership({false, 1, "node-1", noon});
  CHECK(instance.state("charge") == JobView::State::standby);
  instance.lead(2);
  REQUIRE(instance.clock.wait_until_armed(noon + 1min));
  instance.clock.pass_to(noon + 1min);
  REQUIRE(work.wait_for_calls(1));
  const auto lines = instance.diary.lines();
  CHECK(std::ranges::find(lines, "standing by charge") == lines.end());
}

TEST_CASE("a run that finds itself deposed asks who leads, and leaves its tick to them") {
  Instance instance;
  FakeWork& work = instance.add(minutely("charge"));
  work.answer({{Result::Status::deposed, "another instance leads", {}}});
  instance.start();
  instance.lead(1);
  REQUIRE(instance.clock.wait_until_armed(noon + 1min));
  instance.clock.pass_to(noon + 1min);
  REQUIRE(instance.asked.wait([](int times) { return times == 1; }));
  CHECK(instance.state("charge") == JobView::State::standby);
  // It leads again, under a newer term: the tick is still nobody's.
  instance.ledger.state.change([](auto& s) { s.past["charge"].last_tick = noon; });
  instance.lead(3);
  REQUIRE(instance.ledger.wait_for_count(1));
  CHECK(instance.ledger.records()[0].scheduled_at == noon + 1min);
  CHECK(instance.ledger.records()[0].term == 3);
  CHECK(work.calls().size() == 2);
}

TEST_CASE("an answer about the past from an earlier time of leadership is not believed") {
  Instance instance;
  config::Job job = minutely("charge");
  job.policy.misfire_grace = 1h;
  FakeWork& work = instance.add(job);
  instance.start();
  REQUIRE(instance.ledger.state.wait([](const auto& s) { return s.prunes > 0; }));
  instance.ledger.state.change([](auto& s) {
    s.stalled = true;
    s.past["charge"].last_tick = noon - 1h;
  });
  instance.lead(1);
  instance.follow(2);
  instance.lead(3);
  instance.clock.pass_to(noon + 1min + 10s);
  instance.ledger.state.change([](auto& s) {
    s.stalled = false;
    s.past["charge"].last_tick = noon;
  });
  REQUIRE(instance.ledger.wait_for_count(1));
  CHECK(instance.ledger.records()[0].scheduled_at == noon + 1min);
  CHECK(instance.ledger.records()[0].term == 3);
  instance.runner->stop();
  CHECK(instance.end().exit_code == 0);
  CHECK(work.calls().size() == 1);
}

TEST_CASE("who stands by refuses to run the leader's jobs, and names the leader") {
  Instance instance;
  instance.add(minutely("charge"));
  instance.start();
  instance.follow(2);
  const auto refused = instance.on_loop([&]() -> std::string {
    try {
      static_cast<void>(instance.runner->run_now("charge", std::nullopt, "root"));
    } catch (const JobError& error) {
      CHECK(error.why() == JobError::Why::standby);
      return error.what();
    }
    return "";
  });
  CHECK(refused == "charge is run by the instance that leads, node-2: ask there");
}

}  // namespace saathii::runner::test
