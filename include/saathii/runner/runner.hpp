#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/thread_pool.hpp>
#include <csignal>
#include <memory>
#include <vector>

#include "saathii/runner/clock.hpp"
#include "saathii/runner/job_loop.hpp"
#include "saathii/runner/ledger_keeper.hpp"
#include "saathii/runner/observer.hpp"
#include "saathii/runner/types.hpp"

namespace saathii::runner {

struct Options {
  /// A run that is not back so long after it was told to stop is wedged.
  Duration hard_limit_grace = std::chrono::seconds{30};
  Duration drain_timeout = std::chrono::seconds{20};  ///< for running jobs at shutdown
  Duration stop_grace = std::chrono::seconds{10};     ///< after that, told to stop
  Duration flush_timeout = std::chrono::seconds{5};   ///< for the last outcomes
  Duration heartbeat{0};                              ///< between Observer::heartbeat(); 0: never
  LedgerOptions ledger;
};

/// How the daemon ended.
struct Ending {
  int exit_code = 0;
  /// A worker never came back: destroying the runner would wait for it for
  /// ever, so leave the program by _exit().
  bool stuck = false;
};

/// Keeps every signal away from threads that are started until lift(): all go
/// to the thread that runs the loop.
class SignalBlock {
 public:
  SignalBlock() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  void lift() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

/// The one loop, and the workers it hands ticks to.
class Runner {
 public:
  /// References and observers outlive the runner.
  Runner(Options options, std::vector<JobSpec> jobs, RunLedger& ledger, WallClock& clock,
         std::vector<Observer*> observers);
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  /// Runs the loop on this thread until SIGTERM, SIGINT or stop(), drains, and
  /// returns. Call once.
  Ending run();

  /// As SIGTERM does: the first time drains, the second breaks off what still
  /// runs, the third gives up waiting. Any thread, also before run().
  void stop();

  /// A server's state changed; `up`: it answers now. Any thread.
  void server_changed(bool up);

 private:
  void on_stop();
  void refuse(const std::string& reason);
  void await_signal();
  boost::asio::awaitable<void> beat();
  boost::asio::awaitable<void> drain();
  boost::asio::awaitable<bool> wait_for_jobs(Duration limit, int patience);
  boost::asio::awaitable<void> flush_ledger();
  [[nodiscard]] std::vector<std::string> running_jobs() const;
  [[nodiscard]] bool all_finished() const;
  void spawn(boost::asio::awaitable<void> task);

  const Options options_;
  boost::asio::io_context loop_;
  SignalBlock signal_block_;
  boost::asio::thread_pool workers_;
  LedgerKeeper ledger_;
  Shared shared_;
  std::vector<std::unique_ptr<JobLoop>> jobs_;
  boost::asio::signal_set signals_;
  boost::asio::steady_timer heart_;
  int stops_ = 0;
  Ending ending_;
};

}  // namespace saathii::runner
