#include "saathii/jobs/executor.hpp"

#include <utility>

#include "base/capture_stderr.hpp"
#include "catch.hpp"
#include "saathii/base/errors.hpp"
#include "saathii/log/log.hpp"
#include "support/job_bench.hpp"

namespace saathii::test {

namespace {

using Status = runner::Result::Status;

const Instant tick = at("2030-01-15T10:00:00Z");

/// A job that does what the test says.
class Scripted final : public jobs::Job {
 public:
  using Body = std::function<jobs::Report(const jobs::Context&)>;
  explicit Scripted(Body body) : body_(std::move(body)) {}
  jobs::Report run(const jobs::Context& context) override { return body_(context); }

 private:
  const Body body_;
};

config::Job job_of(std::string_view kind, std::string name) {
  return {.name = std::move(name),
          .kind = std::string{kind},
          .trigger = schedule::Trigger{schedule::Once{tick}, nullptr},
          .policy = {},
          .run = {},
          .settings = config::Settings{kind_named(kind).info.settings}};
}

struct Bench {
  config::Config configuration = [] {
    config::Config made;
    made.platform = default_platform();
    made.redis.url = "unix:///nowhere/redis.sock";
    made.postgres.url = "postgresql:///nothing?host=/nowhere&user=nobody";
    return made;
  }();
  ServerState postgres_state{"postgres"};
  ServerState redis_state{"redis"};
  postgres::Pool pool{configuration.postgres, postgres_state};
  std::stop_source stop;

  runner::Result run(const runner::Work& work, std::optional<Instant> as_if = {}) {
    return work({"0d1c64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d", tick, 1, as_if, stop.get_token()});
  }

  runner::Result run(Scripted::Body body) {
    return run(jobs::make_work(std::make_unique<Scripted>(std::move(body)),
                               job_of("presence_cleanup", "scripted"), configuration, pool,
                               redis_state));
  }
};

}  // namespace

TEST_CASE("a run knows its tick") {
  Bench bench;
  Instant seen;
  CHECK(bench
            .run([&](const jobs::Context& context) {
              seen = context.scheduled_at;
              return jobs::Report{};
            })
            .status == Status::succeeded);
  CHECK(seen == tick);
}

TEST_CASE("a run's report is its result") {
  Bench bench;
  const auto result = bench.run([](const jobs::Context&) {
    return jobs::Report{{{"b", 2}, {"a", 1}}, "did it"};
  });
  CHECK(result.status == Status::succeeded);
  CHECK(result.summary == "did it");
  CHECK(result.counts == runner::Counts{{"b", 2}, {"a", 1}});
}

TEST_CASE("what a run throws is its result, in one line") {
  Bench bench;
  const auto thrown = [&](auto error) {
    return bench.run([error](const jobs::Context&) -> jobs::Report { throw error; });
  };
  const auto check = [](const runner::Result& result, Status status, const std::string& summary) {
    CHECK(result.status == status);
    CHECK(result.summary == summary);
    CHECK(result.counts.empty());
  };
  check(thrown(std::runtime_error("bad\nLINE 1: more")), Status::failed, "bad");
  check(thrown(Unavailable("postgres", "gone")), Status::unavailable, "gone");
  check(thrown(Stopped("asked to")), Status::stopped, "asked to");
  check(thrown(7), Status::failed, "an exception of an unknown type");

  bench.stop.request_stop();
  check(thrown(std::runtime_error("broken pipe")), Status::stopped, "broken pipe");
  check(thrown(Unavailable("postgres", "socket closed")), Status::stopped, "socket closed");
  check(thrown(7), Status::stopped, "an exception of an unknown type");
  // What was done is done, though a stop was asked for meanwhile.
  const auto done = bench.run([](const jobs::Context&) { return jobs::Report{{}, "done"}; });
  CHECK(done.status == Status::succeeded);
}

TEST_CASE("a run's log events carry the job, the run and the tick") {
  Bench bench;
  std::string text;
  {
    const CaptureStderr captured;
    bench.run([](const jobs::Context&) {
      log::warning("something odd in this run");
      return jobs::Report{};
    });
    log::warning("something odd outside of any run");
    text = captured.text();
  }
  const auto end_of_first = text.find('\n');
  const std::string inside = text.substr(0, end_of_first);
  CHECK_THAT(inside, Catch::Matchers::ContainsSubstring("JOB=scripted") &&
                         Catch::Matchers::ContainsSubstring(
                             "RUN_ID=0d1c64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d") &&
                         Catch::Matchers::ContainsSubstring("SCHEDULED_AT=2030-01-15T10:00:00Z"));
  CHECK_THAT(text.substr(end_of_first), !Catch::Matchers::ContainsSubstring("JOB="));
}

TEST_CASE("a run sees its settings, its moment and its stop") {
  Bench bench;
  auto job = job_of("presence_cleanup", "mine");
  job.settings.set("batch_size", std::int64_t{7});
  auto work = jobs::make_work(std::make_unique<Scripted>([](const jobs::Context& context) {
                                context.throw_if_stopped();
                                CHECK(context.settings.integer("batch_size") == 7);
                                CHECK(context.platform.timezone == "Asia/Kolkata");
                                CHECK(context.at == tick);
                                return jobs::Report{};
                              }),
                              job, bench.configuration, bench.pool, bench.redis_state);
  // The work has copies of its own.
  job.settings.set("batch_size", std::int64_t{8});
  bench.configuration.platform.timezone = "UTC";
  CHECK(bench.run(work, tick).status == Status::succeeded);
  bench.stop.request_stop();
  CHECK(bench.run(work, tick).status == Status::stopped);
}

TEST_CASE("a job kind is found by its name") {
  Bench bench;
  const auto work = jobs::make_work(job_of("presence_cleanup", "x"), bench.configuration,
                                    bench.pool, bench.redis_state);
  const auto result = bench.run(work);
  CHECK(result.status == Status::unavailable);
  CHECK_FALSE(result.summary.empty());
  auto unknown = job_of("presence_cleanup", "x");
  unknown.kind = "presence";
  CHECK_THROWS_AS(jobs::make_work(unknown, bench.configuration, bench.pool, bench.redis_state),
                  std::invalid_argument);
}

TEST_CASE("each kind runs on an empty platform, without Redis") {
  for (const auto& kind : jobs::kinds()) {
    CAPTURE(kind.info.name);
    JobBench platform(kind.info.name);
    Bench bench;
    const auto work = jobs::make_work(job_of(kind.info.name, "x"), bench.configuration,
                                      platform.pool, platform.redis_state);
    for (int run = 0; run < 2; ++run) {
      const auto result = bench.run(work, tick);
      CAPTURE(result.summary);
      CHECK(result.status == Status::succeeded);
      CHECK_FALSE(result.summary.empty());
    }
  }
}

}  // namespace saathii::test
