#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "catch.hpp"
#include "saathii/base/errors.hpp"
#include "saathii/runner/runner.hpp"
#include "support/watched.hpp"

// Fakes that tests of the runner drive. A test waits for what it expects to
// happen; `patience` only ends a test that would otherwise hang.

namespace saathii::runner::test {

namespace asio = boost::asio;
using namespace std::chrono_literals;

using saathii::test::patience;
using saathii::test::Watched;

/// A clock that stands still until the test moves it.
class FakeClock final : public WallClock {
 public:
  explicit FakeClock(Instant now) {
    state_.change([&](State& state) { state.now = now; });
  }

  [[nodiscard]] Instant now() const override { return state_.get().now; }
  [[nodiscard]] SteadyTime steady_now() const override { return SteadyTime{state_.get().passed}; }

  std::unique_ptr<WallTimer> make_timer(const asio::any_io_executor& loop) override {
    return std::make_unique<Timer>(*this, loop);
  }

  /// Time passes: timers whose moment has come elapse.
  void pass_to(Instant moment) { move(moment, false); }
  /// Somebody sets the clock: every timer learns of it.
  void set(Instant moment) { move(moment, true); }

  /// Until some timer waits for exactly `moment`.
  [[nodiscard]] bool wait_until_armed(Instant moment) {
    return state_.wait([&](const State& state) { return state.waiting.contains(moment); });
  }
  /// Until some timer waits for a moment after `now` and up to `latest`; returns it.
  [[nodiscard]] std::optional<Instant> wait_until_armed_by(Instant latest) {
    std::optional<Instant> found;
    const bool armed = state_.wait([&](const State& state) {
      const auto next = state.waiting.upper_bound(state.now);
      if (next == state.waiting.end() || *next > latest) {
        return false;
      }
      found = *next;
      return true;
    });
    return armed ? found : std::nullopt;
  }

 private:
  class Timer;
  struct State {
    Instant now;
    Duration passed{0};  ///< by a clock that cannot be set
    std::multiset<Instant> waiting;
  };

  class Timer final : public WallTimer {
   public:
    Timer(FakeClock& clock, const asio::any_io_executor& loop)
        : clock_(clock), loop_(loop), bell_(loop) {
      const std::scoped_lock lock(clock_.timers_mutex_);
      clock_.timers_.insert(this);
    }
    ~Timer() override {
      const std::scoped_lock lock(clock_.timers_mutex_);
      clock_.timers_.erase(this);
    }

    asio::awaitable<Wake> wait_until(Instant moment) override {
      if (std::exchange(poked_, false)) {
        co_return Wake::poked;
      }
      stepped_ = false;
      clock_.state_.change([&](State& state) { state.waiting.insert(moment); });
      Wake wake = Wake::elapsed;
      while (clock_.now() < moment) {
        co_await bell_.wait();
        if (std::exchange(poked_, false)) {
          wake = Wake::poked;
          break;
        }
        if (std::exchange(stepped_, false)) {
          wake = Wake::clock_changed;
          break;
        }
      }
      clock_.state_.change([&](State& state) { state.waiting.erase(state.waiting.find(moment)); });
      co_return wake;
    }

    void poke() override {
      poked_ = true;
      bell_.ring();
    }

    void look_again(bool stepped) {
      asio::post(loop_, [this, stepped] {
        stepped_ = stepped;
        bell_.ring();
      });
    }

   private:
    FakeClock& clock_;
    asio::any_io_executor loop_;
    Bell bell_;
    bool poked_ = false;
    bool stepped_ = false;
  };

  void move(Instant moment, bool stepped) {
    state_.change([&](State& state) {
      state.passed += stepped ? Duration{0} : moment - state.now;
      state.now = moment;
    });
    const std::scoped_lock lock(timers_mutex_);
    for (Timer* timer : timers_) {
      timer->look_again(stepped);
    }
  }

  mutable Watched<State> state_;
  std::mutex timers_mutex_;
  std::set<Timer*> timers_;
};

/// A ledger in memory, which a test can take down or stall.
class FakeLedger final : public RunLedger {
 public:
  struct State {
    bool down = false;
    bool refuses = false;  ///< fails, though the database is up
    bool stalled = false;  ///< calls hang until interrupted or resumed
    bool interrupted = false;
    int past_calls = 0;
    int failed_calls = 0;
    int prunes = 0;
    std::map<std::string, Past> past;
    std::vector<Record> records;
  };

  Past past(const std::string& job, Instant /*now*/) override {
    Past answer;
    call([&](State& s) {
      ++s.past_calls;
      answer = s.past[job];
    });
    return answer;
  }
  void record(const std::vector<Record>& records) override {
    call([&](State& s) { s.records.insert(s.records.end(), records.begin(), records.end()); });
  }
  bool prune() override {
    call([](State& s) { ++s.prunes; });
    return false;
  }
  void interrupt() noexcept override {
    state.change([](State& s) { s.interrupted = true; });
  }

  /// Until the ledger has outcomes for which the condition holds.
  template <typename Condition>
  [[nodiscard]] bool wait_for_records(Condition&& holds) {
    return state.wait([&](const State& s) { return holds(s.records); });
  }
  [[nodiscard]] bool wait_for_count(std::size_t count) {
    return wait_for_records([&](const auto& records) { return records.size() >= count; });
  }
  [[nodiscard]] std::vector<Record> records() const { return state.get().records; }

  Watched<State> state;

 private:
  template <typename Body>
  void call(Body&& body) {
    if (!state.wait([](const State& s) { return !s.stalled || s.interrupted; })) {
      throw std::runtime_error("the test never resumed the stalled ledger");
    }
    std::string error;
    bool down = false;
    state.change([&](State& s) {
      down = s.down || s.stalled;
      if (down || s.refuses) {
        ++s.failed_calls;
        error = "the fake ledger is down";
      } else {
        body(s);
      }
    });
    if (down) {
      throw Unavailable("postgres", error);
    }
    if (!error.empty()) {
      throw std::runtime_error(error);
    }
  }
};

/// What a fake job was asked, and what it will answer.
class FakeWork {
 public:
  struct Call {
    Instant tick;
    int attempt;
    std::string run_id;
  };
  struct State {
    std::vector<Call> calls;
    std::deque<Result> results;  ///< when empty: succeeded
    bool blocked = false;        ///< a call waits for release or a stop
    bool deaf = false;           ///< and does not hear a stop
    int admitted = 0;            ///< calls that go on all the same
    int inside = 0;
    int stops = 0;
  };

  [[nodiscard]] Work work() {
    return [this](const Request& request) { return run(request); };
  }

  [[nodiscard]] bool wait_for_calls(std::size_t count) {
    return state.wait([&](const State& s) { return s.calls.size() >= count; });
  }
  [[nodiscard]] std::vector<Call> calls() const { return state.get().calls; }
  void answer(std::vector<Result> results) {
    state.change([&](State& s) { s.results.assign(results.begin(), results.end()); });
  }
  void block(bool deaf = false) {
    state.change([&](State& s) {
      s.blocked = true;
      s.deaf = deaf;
    });
  }
  void release() {
    state.change([](State& s) { s.blocked = false; });
  }

  /// Lets one call that waits, or the next one, go on; others stay blocked.
  void admit_one() {
    state.change([](State& s) { ++s.admitted; });
  }

  Watched<State> state;

 private:
  Result run(const Request& request) {
    Result result{Result::Status::succeeded, "done", {{"things", 1}}};
    state.change([&](State& s) {
      s.calls.push_back({request.scheduled_at, request.attempt, request.run_id});
      ++s.inside;
      if (!s.results.empty()) {
        result = s.results.front();
        s.results.pop_front();
      }
    });
    const std::stop_callback wake(request.stop, [this] { state.change([](State&) {}); });
    const bool ended = state.wait([&](const State& s) {
      return !s.blocked || s.admitted > 0 || (!s.deaf && request.stop.stop_requested());
    });
    state.change([&](State& s) {
      s.admitted -= s.blocked && s.admitted > 0 ? 1 : 0;
      --s.inside;
      s.stops += request.stop.stop_requested() ? 1 : 0;
    });
    if (!ended) {
      return {Result::Status::failed, "the test never released it", {}};
    }
    if (request.stop.stop_requested()) {
      return {Result::Status::stopped, "", {}};
    }
    return result;
  }
};

/// What the runner tells its faces, as lines.
class Diary final : public Observer {
 public:
  void armed(std::size_t jobs) override { add("armed " + std::to_string(jobs)); }
  void run_started(const std::string& job, const RunInProgress&) override { add("started " + job); }
  void tick_ended(const Record& record, Duration) override {
    add(std::string{schedule::to_string(record.outcome)} + " " + record.job);
  }
  void standing_by(const std::string& job) override { add("standing by " + job); }
  void wedged(const std::string& job) override { add("wedged " + job); }
  void released(const std::string& job) override { add("released " + job); }
  void server_changed() override { add("server_changed"); }
  void heartbeat() override { add("heartbeat"); }
  void jobs_changed(const std::vector<std::string>& jobs) override {
    std::string line = "jobs";
    for (const auto& job : jobs) {
      line += " " + job;
    }
    add(line);
  }
  void stopping(const std::vector<std::string>& running) override {
    std::string line = "stopping";
    for (const auto& job : running) {
      line += " " + job;
    }
    add(line);
  }

  /// Until there is this line, after the other one if that is given.
  [[nodiscard]] bool wait_for(const std::string& line, const std::string& after = {}) {
    return lines_.wait([&](const auto& lines) {
      const auto from =
          after.empty() ? lines.begin() : std::find(lines.begin(), lines.end(), after);
      return std::find(from, lines.end(), line) != lines.end();
    });
  }
  [[nodiscard]] std::vector<std::string> lines() const { return lines_.get(); }

 private:
  void add(std::string line) {
    lines_.change([&](auto& lines) { lines.push_back(std::move(line)); });
  }
  Watched<std::vector<std::string>> lines_;
};

inline const Instant noon = *parse_iso8601("2026-11-22T12:00:00Z");

/// A job that has a tick every minute.
inline config::Job minutely(const std::string& name) {
  config::Job job{.name = name,
                  .kind = name,
                  .trigger = {schedule::Every{1min}, tz::locate_zone("UTC")},
                  .policy = {},
                  .run = {},
                  .settings = config::Settings{{}}};
  job.run.retries = 0;
  return job;
}

/// A runner on a thread of its own, with a clock that the test moves.
class Harness {
 public:
  explicit Harness(Instant now = noon + 30s) : clock(now) {
    options.ledger.backoff = 1ms;
    options.ledger.backoff_cap = 1ms;
    options.hard_limit_grace = 1h;
    options.drain_timeout = 1h;
    options.stop_grace = 1h;
    options.flush_timeout = 1h;
  }
  ~Harness() { stop(); }

  /// Ends the runner, if it runs.
  void stop() {
    for (auto& [name, work] : works) {
      work.release();
    }
    if (thread_.joinable()) {
      runner->stop();
      thread_.join();
    }
  }

  FakeWork& add(config::Job job) {
    FakeWork& work = works[job.name];
    specs.push_back({std::move(job), work.work()});
    return work;
  }

  void start() {
    prepare();
    run();
  }

  /// The two halves of start(): in between, observers can be added.
  void prepare() {
    runner =
        std::make_unique<Runner>(options, specs, ledger, clock, std::vector<Observer*>{&diary});
  }
  void run() {
    before_run(*runner);
    thread_ = std::thread([this] { ending_.set_value(runner->run()); });
    REQUIRE(diary.wait_for("armed " + std::to_string(specs.size())));
  }

  /// What `ask` returns or throws, called on the loop.
  template <typename Ask>
  auto on_loop(Ask ask) {
    std::packaged_task<decltype(ask())()> task(std::move(ask));
    auto answer = task.get_future();
    asio::post(runner->loop(), [&task] { task(); });
    REQUIRE(answer.wait_for(patience) == std::future_status::ready);
    return answer.get();
  }

  /// After stop(): how it ended.
  [[nodiscard]] Ending end() {
    auto future = ending_.get_future();
    REQUIRE(future.wait_for(patience) == std::future_status::ready);
    thread_.join();
    return future.get();
  }

  Options options;
  FakeClock clock;
  FakeLedger ledger;
  Diary diary;
  std::map<std::string, FakeWork> works;
  std::vector<JobSpec> specs;
  std::unique_ptr<Runner> runner;
  std::function<void(Runner&)> before_run = [](Runner&) {};

 private:
  std::thread thread_;
  std::promise<Ending> ending_;
};

}  // namespace saathii::runner::test
