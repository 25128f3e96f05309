#include "saathii/health/monitor.hpp"

#include <boost/asio/steady_timer.hpp>

#include "runner/support.hpp"

namespace saathii::health {

namespace {

using namespace runner::test;

/// A runner with a monitor whose reports the test waits for.
struct Setup {
  Setup() { work = &harness.add(minutely("charge")); }

  void start(std::vector<std::string> folders = {}) {
    harness.prepare();
    worker = &harness.runner->add_side_worker(2);
    monitor = std::make_unique<Monitor>(*harness.runner, std::vector<const ServerState*>{&redis},
                                        *worker, patience);
    monitor->configure({}, std::move(folders), nullptr);
    monitor->on_change([this](const Report& report) {
      reports.change([&](auto& all) { all.push_back(report); });
    });
    harness.runner->add_observer(*monitor);
    harness.run();
  }

  [[nodiscard]] bool wait_for(Level level, std::size_t findings) {
    return reports.wait([&](const auto& all) {
      return !all.empty() && all.back().level == level && all.back().findings.size() == findings;
    });
  }

  Duration patience = std::chrono::minutes{1};
  runner::SideWorker* worker = nullptr;
  ServerState redis{"redis"};
  Watched<std::vector<Report>> reports;
  std::unique_ptr<Monitor> monitor;
  Harness harness;
  FakeWork* work;
};

TEST_CASE("a change of health is told once, and so is that it is well again") {
  Setup setup;
  setup.start();
  setup.redis.report_down("connection refused");
  setup.harness.runner->server_changed(false);
  REQUIRE(setup.wait_for(Level::degraded, 1));
  setup.harness.runner->server_changed(false);
  setup.redis.report_up();
  setup.harness.runner->server_changed(true);
  REQUIRE(setup.wait_for(Level::ok, 0));
  CHECK(setup.reports.get().size() == 2);
}

TEST_CASE("a failed run degrades health, and the next success mends it") {
  Setup setup;
  setup.work->answer({{runner::Result::Status::failed, "no such table", {}}});
  setup.start();
  setup.harness.clock.pass_to(noon + 1min);
  REQUIRE(setup.wait_for(Level::degraded, 1));
  REQUIRE(setup.harness.clock.wait_until_armed(noon + 2min));
  setup.harness.clock.pass_to(noon + 2min);
  REQUIRE(setup.wait_for(Level::ok, 0));
}

TEST_CASE("an instance that stands by is well as long as somebody leads") {
  Setup setup;
  setup.start();
  setup.harness.runner->set_leadership({false, 2, "", {}});
  CHECK_FALSE(setup.harness.on_loop([&] { return setup.harness.runner->leadership().leads; }));
  setup.harness.clock.pass_to(noon + 3min);
  setup.harness.runner->server_changed(true);
  REQUIRE(setup.wait_for(Level::failing, 1));
  setup.harness.runner->set_leadership({false, 2, "node-2", noon});
  REQUIRE(setup.wait_for(Level::ok, 0));
}

TEST_CASE("the folders' disks are looked at, beside the loop") {
  Setup setup;
  setup.start({SAATHII_SOURCE_DIR, "/nonexistent"});
  REQUIRE(setup.wait_for(Level::degraded, 1));
  const auto disks = setup.harness.on_loop([&] { return setup.monitor->disks(); });
  REQUIRE(disks.size() == 2);
  CHECK(disks[0].size_bytes > 0);
  CHECK(disks[1].error == "cannot be looked at: No such file or directory");
}

TEST_CASE("a reload mends no disk, and one that hangs is told of") {
  Setup setup;
  setup.patience = 1us;
  setup.start({"/nonexistent"});
  REQUIRE(setup.wait_for(Level::degraded, 1));
  std::promise<void> hang;
  std::promise<void> hangs;
  setup.harness.on_loop([&] {
    boost::asio::co_spawn(
        setup.harness.runner->loop(),
        [&]() -> boost::asio::awaitable<void> {
          auto work = [&](const std::stop_token&) {
            hangs.set_value();
            hang.get_future().wait();
            return 0;
          };
          co_await setup.worker->run(work);
        },
        boost::asio::detached);
  });
  hangs.get_future().wait();
  setup.harness.on_loop([&] { setup.monitor->configure({}, {"/nonexistent"}, nullptr); });
  // Later by more than the patience of this test, as the clock tells.
  const auto asked = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() <= asked + setup.patience) {
  }
  const auto disks = setup.harness.on_loop([&] { return setup.monitor->disks(); });
  REQUIRE(disks.size() == 1);
  CHECK(disks[0].error.find("has not answered for") != std::string::npos);
  CHECK(setup.harness.on_loop([&] { return setup.monitor->report().level; }) == Level::degraded);
  hang.set_value();
}

}  // namespace

}  // namespace saathii::health
