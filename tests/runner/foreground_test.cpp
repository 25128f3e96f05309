#include "saathii/runner/foreground.hpp"

#include <csignal>

#include "support.hpp"

namespace saathii::runner::test {

namespace {

TEST_CASE("work in the foreground returns its result, with the moment it was given") {
  Foreground foreground;
  std::optional<Instant> seen;
  const JobSpec spec{minutely("charge"), [&](const Request& request) {
                       seen = request.at;
                       return Result{Result::Status::succeeded, "done", {{"n", 3}}};
                     }};
  const auto outcome = foreground.run(spec, noon);
  CHECK(outcome.result.status == Result::Status::succeeded);
  CHECK(outcome.result.counts == Counts{{"n", 3}});
  CHECK_FALSE(outcome.timed_out);
  CHECK(seen == noon);
  CHECK_FALSE(foreground.interrupted());
}

/// Returns once it is told to stop.
Result wait_for_stop(const Request& request) {
  std::promise<void> stopped;
  const std::stop_callback callback(request.stop, [&] { stopped.set_value(); });
  stopped.get_future().wait();
  return {Result::Status::stopped, "", {}};
}

TEST_CASE("work in the foreground is stopped at its time limit, and only then") {
  Foreground foreground;
  config::Job job = minutely("charge");
  job.run.timeout = 1ms;
  CHECK(foreground.run({job, wait_for_stop}, {}).timed_out);
  job.run.timeout = 1h;
  const auto next = foreground.run({job,
                                    [](const Request& request) {
                                      CHECK_FALSE(request.stop.stop_requested());
                                      return Result{};
                                    }},
                                   {});
  CHECK_FALSE(next.timed_out);
}

TEST_CASE("a signal stops work in the foreground and all that follows") {
  Foreground foreground;
  const auto token = foreground.token();
  const auto outcome = foreground.run({minutely("charge"),
                                       [](const Request& request) {
                                         std::raise(SIGINT);
                                         return wait_for_stop(request);
                                       }},
                                      {});
  CHECK(outcome.result.status == Result::Status::stopped);
  CHECK_FALSE(outcome.timed_out);
  CHECK(foreground.interrupted());
  const auto next = foreground.run({minutely("charge"), wait_for_stop}, {});
  CHECK(next.result.status == Result::Status::stopped);
}

TEST_CASE("work in the foreground that throws has failed") {
  Foreground foreground;
  const auto outcome = foreground.run(
      {minutely("charge"), [](const Request&) -> Result { throw std::runtime_error("bang"); }}, {});
  CHECK(outcome.result.status == Result::Status::failed);
  CHECK(outcome.result.summary == "bang");
}

Wake wait_for(asio::io_context& loop, WallTimer& timer, Instant moment) {
  Wake wake{};
  asio::co_spawn(loop, timer.wait_until(moment), [&](const std::exception_ptr& error, Wake ended) {
    REQUIRE_FALSE(error);
    wake = ended;
  });
  loop.restart();
  loop.run();
  return wake;
}

TEST_CASE("a timer on the system's clock elapses at its moment, not before") {
  asio::io_context loop{1};
  SystemClock clock;
  const auto timer = clock.make_timer(loop.get_executor());
  const Instant moment = clock.now() + 2ms;
  CHECK(wait_for(loop, *timer, moment) == Wake::elapsed);
  CHECK(clock.now() >= moment);
  CHECK(wait_for(loop, *timer, clock.now() - 1h) == Wake::elapsed);
  CHECK(wait_for(loop, *timer, Instant{}) == Wake::elapsed);
}

TEST_CASE("a poke ends the wait in progress, or else the next one, once") {
  asio::io_context loop{1};
  SystemClock clock;
  const auto timer = clock.make_timer(loop.get_executor());
  asio::post(loop, [&] { timer->poke(); });
  CHECK(wait_for(loop, *timer, clock.now() + 1h) == Wake::poked);
  timer->poke();
  timer->poke();
  CHECK(wait_for(loop, *timer, Instant::max()) == Wake::poked);
  CHECK(wait_for(loop, *timer, clock.now()) == Wake::elapsed);
}

}  // namespace

}  // namespace saathii::runner::test
