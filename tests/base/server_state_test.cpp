#include "saathii/base/server_state.hpp"

#include <atomic>
#include <thread>
#include <vector>

#include "capture_stderr.hpp"
#include "catch.hpp"
#include "saathii/log/log.hpp"

using saathii::ServerState;

namespace {

std::size_t times_in(const std::string& text, const std::string& part) {
  std::size_t times = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++times;
  }
  return times;
}

}  // namespace

TEST_CASE("a server's state changes with what is reported") {
  const CaptureStderr capture;
  saathii::log::set_level(saathii::log::Level::info);
  ServerState state("postgres");
  CHECK(state.snapshot().state == ServerState::State::unknown);
  const auto before = saathii::wall_now();
  state.report_down("connection refused");
  const auto down = state.snapshot();
  CHECK(down.state == ServerState::State::down);
  CHECK(down.last_error == "connection refused");
  CHECK(down.since >= before);
  state.report_down("timeout");
  CHECK(state.snapshot().last_error == "timeout");
  CHECK(state.snapshot().since == down.since);
  state.report_up();
  CHECK(state.snapshot().state == ServerState::State::up);
}

TEST_CASE("a change is said once, each time that it happens") {
  const CaptureStderr capture;
  saathii::log::set_level(saathii::log::Level::info);
  ServerState state("postgres");
  state.report_up();
  CHECK(capture.text().empty());
  for (int outage = 0; outage < 3; ++outage) {
    for (int i = 0; i < 1000; ++i) {
      state.report_down("connection refused");
    }
    state.report_up();
    state.report_up();
  }
  const std::string text = capture.text();
  INFO(text);
  CHECK(times_in(text,
                 "warning postgres is down: connection refused; work that needs it waits and is "
                 "retried SERVER=postgres\n") == 3);
  CHECK(times_in(text, "info postgres is back after ") == 3);
  CHECK(times_in(text, "\n") == 6);
}

TEST_CASE("the callback comes once for each change and may look") {
  const CaptureStderr capture;
  ServerState state("redis");
  std::vector<ServerState::State> seen;
  state.on_change([&] { seen.push_back(state.snapshot().state); });
  state.report_down("x");
  state.report_down("y");
  state.report_up();
  state.report_up();
  CHECK(seen == std::vector<ServerState::State>{ServerState::State::down, ServerState::State::up});
  CHECK(state.outages() == 1);
  state.report_down("z");
  CHECK(state.outages() == 2);
}

TEST_CASE("many threads may report and look") {
  const CaptureStderr capture;
  ServerState state("redis");
  std::atomic<int> changes{0};
  state.on_change([&] { ++changes; });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        if ((i + t) % 2 == 0) {
          state.report_up();
        } else {
          state.report_down("down");
        }
        static_cast<void>(state.snapshot());
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  CHECK(changes > 0);
  CHECK(changes <= 2000);
}
