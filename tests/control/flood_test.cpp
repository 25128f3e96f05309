#include <systemd/sd-bus.h>

#include <atomic>
#include <cstdio>

#include "support.hpp"

// A flood of calls is served, but everything else of the loop has its turn too.

namespace saathii::control::test {

namespace {

/// Calls a method of the manager as fast as it can, many calls at a time. For any
/// thread, so it asserts nothing: ask whether it failed().
class Flooder {
 public:
  explicit Flooder(const std::string& address) {
    failed_ = sd_bus_new(&bus_) < 0 || sd_bus_set_address(bus_, address.c_str()) < 0 ||
              sd_bus_set_bus_client(bus_, 1) < 0 || sd_bus_start(bus_) < 0 ||
              sd_bus_flush(bus_) < 0;
  }
  ~Flooder() { sd_bus_flush_close_unref(bus_); }
  Flooder(const Flooder&) = delete;
  Flooder& operator=(const Flooder&) = delete;

  void call(const char* method) {
    const int sent = sd_bus_call_method_async(bus_, nullptr, daemon_name, "/com/saathiiapp/Tasks1",
                                              "com.saathiiapp.Tasks1.Manager", method,
                                              &Flooder::on_reply, this, nullptr);
    failed_ = failed_ || sent < 0;
    ++waiting_;
  }
  void run(const char* job) {
    const int sent = sd_bus_call_method_async(
        bus_, nullptr, daemon_name, "/com/saathiiapp/Tasks1", "com.saathiiapp.Tasks1.Manager",
        "Run", &Flooder::on_reply, this, "st", job, std::uint64_t{0});
    failed_ = failed_ || sent < 0;
    ++waiting_;
  }
  void hear_run_started() {
    failed_ = failed_ || sd_bus_add_match(bus_, nullptr, "type='signal',member='RunStarted'",
                                          &Flooder::on_run_started, this) < 0;
  }

  void flush() { failed_ = failed_ || sd_bus_flush(bus_) < 0; }
  /// Handles what has come, or waits for something to come.
  void step() {
    const int handled = sd_bus_process(bus_, nullptr);
    if (handled < 0 || (handled == 0 && sd_bus_wait(bus_, 60'000'000) < 0)) {
      failed_ = true;
    }
  }

  [[nodiscard]] int waiting() const noexcept { return waiting_; }
  [[nodiscard]] std::int64_t served() const noexcept { return served_; }
  [[nodiscard]] bool failed() const noexcept { return failed_; }
  /// How many answers had come when RunStarted did.
  std::optional<std::int64_t> served_before_run;

 private:
  static int on_reply(sd_bus_message* reply, void* self, sd_bus_error* /*error*/) {
    auto& flooder = *static_cast<Flooder*>(self);
    --flooder.waiting_;
    ++flooder.served_;
    flooder.failed_ = flooder.failed_ || sd_bus_message_is_method_error(reply, nullptr) != 0;
    return 0;
  }
  static int on_run_started(sd_bus_message* /*signal*/, void* self, sd_bus_error* /*error*/) {
    auto& flooder = *static_cast<Flooder*>(self);
    flooder.served_before_run = flooder.served_;
    return 0;
  }

  sd_bus* bus_ = nullptr;
  int waiting_ = 0;
  std::int64_t served_ = 0;
  bool failed_ = false;
};

struct Setup {
  explicit Setup(std::vector<runner::Record> past = {}) {
    daemon.inquiries.history = [past](const auto&, const auto&) { return past; };
    for (int i = 0; i < 20; ++i) {
      config::Job job = minutely("quiet_" + std::to_string(i));
      job.trigger = {schedule::Once{noon + 24h * 1000}, tz::locate_zone("UTC")};
      daemon.add(job);
    }
    charge = &daemon.add(minutely("charge"));
    daemon.start_on(ear);
  }

  /// Until the minute's tick has begun.
  void start_tick(int minute) {
    REQUIRE(daemon.ledger.wait_for_count(static_cast<std::size_t>(minute) - 1));
    REQUIRE(daemon.clock.wait_until_armed(noon + minute * 1min));
    daemon.clock.pass_to(noon + minute * 1min);
    REQUIRE(charge->wait_for_calls(static_cast<std::size_t>(minute)));
  }

  PrivateBus bus;
  Ear ear{bus.start().address()};
  Daemon daemon{bus.address()};
  FakeWork* charge = nullptr;
};

/// Floods from a thread until it is told to stop; counts what was served.
class Flood {
 public:
  Flood(const std::string& address, int at_once, const char* method)
      : thread_([this, address, at_once, method] {
          Flooder flooder(address);
          while (!stop_ && !flooder.failed()) {
            while (flooder.waiting() < at_once) {
              flooder.call(method);
            }
            flooder.step();
            const std::int64_t served = flooder.served();
            if (served >= next_told_) {
              next_told_ = served + 100;
              served_.change([&](std::int64_t& number) { number = served; });
            }
          }
          failed_ = flooder.failed();
        }) {}
  ~Flood() { stop(); }
  /// Returns false if a call failed.
  bool stop() {
    stop_ = true;
    if (thread_.joinable()) {
      thread_.join();
    }
    return !failed_;
  }
  [[nodiscard]] bool wait_for(std::int64_t number) {
    return served_.wait([&](std::int64_t served) { return served >= number; });
  }
  [[nodiscard]] std::int64_t served() const { return served_.get(); }

 private:
  std::atomic<bool> stop_ = false;
  std::atomic<bool> failed_ = false;
  std::int64_t next_told_ = 0;
  Watched<std::int64_t> served_;
  std::thread thread_;
};

}  // namespace

TEST_CASE("ticks start while a flood of calls goes on that ends only after them") {
  Setup setup;
  Flood one(setup.bus.address(), 500, "ListJobs");
  Flood other(setup.bus.address(), 500, "Health");
  REQUIRE(one.wait_for(1000));
  REQUIRE(other.wait_for(1000));
  for (int minute = 1; minute <= 10; ++minute) {
    setup.start_tick(minute);
    // The flood goes on.
    REQUIRE(one.wait_for(one.served() + 200));
  }
  CHECK(one.stop());
  CHECK(other.stop());
}

TEST_CASE("a run that is due starts before the calls that wait behind it") {
  constexpr int calls = 5000;
  Setup setup;
  Flooder flooder(setup.bus.address());
  flooder.hear_run_started();
  // The bus has said who this is: later no answer of it must wait behind the calls.
  flooder.run("charge");
  while (flooder.waiting() > 0 || !flooder.served_before_run) {
    flooder.step();
    REQUIRE_FALSE(flooder.failed());
  }
  REQUIRE(setup.daemon.ledger.wait_for_count(1));
  flooder.served_before_run.reset();
  const std::int64_t served = flooder.served();
  // The loop stands still until all of them have been sent.
  std::promise<void> all_sent;
  asio::post(setup.daemon.runner->loop(), [sent = all_sent.get_future().share()] { sent.wait(); });
  flooder.run("charge");
  for (int i = 0; i < calls; ++i) {
    flooder.call("ListJobs");
  }
  flooder.flush();
  all_sent.set_value();
  while (flooder.waiting() > 0) {
    flooder.step();
    REQUIRE_FALSE(flooder.failed());
  }
  REQUIRE(flooder.served_before_run);
  // A few turns of the loop, of at most 16 messages each.
  CHECK(*flooder.served_before_run - served < 500);
}

// What the speed is: test_control '[.bench]'.
TEST_CASE("calls a second, and how late ticks are meanwhile", "[.bench]") {
  using Clock = std::chrono::steady_clock;
  Setup setup;
  const auto late = [&](int first, int last) {
    std::chrono::duration<double, std::milli> worst{0};
    for (int minute = first; minute <= last; ++minute) {
      REQUIRE(setup.daemon.ledger.wait_for_count(static_cast<std::size_t>(minute) - 1));
      REQUIRE(setup.daemon.clock.wait_until_armed(noon + minute * 1min));
      const auto began = Clock::now();
      setup.start_tick(minute);
      worst = std::max<std::chrono::duration<double, std::milli>>(worst, Clock::now() - began);
    }
    return worst.count();
  };
  const double quiet_ms = late(1, 100);
  Flood one(setup.bus.address(), 200, "ListJobs");
  Flood other(setup.bus.address(), 200, "ListJobs");
  REQUIRE(one.wait_for(1000));
  const auto began = Clock::now();
  const std::int64_t before = one.served() + other.served();
  double flooded_ms = 0;
  int minute = 101;
  while (Clock::now() - began < 5s) {
    flooded_ms = std::max(flooded_ms, late(minute, minute + 9));
    minute += 10;
  }
  const std::chrono::duration<double> took = Clock::now() - began;
  const auto served = static_cast<double>(one.served() + other.served() - before);
  CHECK(one.stop());
  CHECK(other.stop());
  std::printf(
      "D-Bus: %.0f calls a second (ListJobs of 21 jobs); worst of %d ticks %.1f ms late, of 100 "
      "without calls %.1f ms\n",
      served / took.count(), minute - 101, flooded_ms, quiet_ms);
}

TEST_CASE("how long the largest answer keeps the loop", "[.bench]") {
  using Clock = std::chrono::steady_clock;
  runner::Record record;
  record.job = "coin_deduction";
  record.run_id = std::string(36, 'x');
  record.reason = "312 calls charged, 3120 coins; 1 ended, balance used up";
  record.counts = {{"calls", 312}, {"coins", 3120}, {"ended", 1}, {"errors", 0}};
  Setup setup{std::vector<runner::Record>(1000, record)};
  std::atomic<bool> done = false;
  std::thread caller([&] {
    Client client(setup.bus.address());
    for (int i = 0; i < 10; ++i) {
      (void)client.manager.History("", 0, 0, "", 1000);
    }
    done = true;
  });
  std::chrono::duration<double, std::milli> worst{0};
  while (!done) {
    const auto began = Clock::now();
    setup.daemon.on_loop([] {});
    worst = std::max<std::chrono::duration<double, std::milli>>(worst, Clock::now() - began);
  }
  caller.join();
  std::printf("D-Bus: an answer of 1000 outcomes keeps the loop for %.1f ms at most\n",
              worst.count());
}

}  // namespace saathii::control::test
