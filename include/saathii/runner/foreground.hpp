#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>

#include "saathii/runner/types.hpp"

namespace saathii::runner {

/// Work on the calling thread, for the command line: SIGINT and SIGTERM, and a
/// run's time limit, request its stop; a second signal ends the program.
class Foreground {
 public:
  Foreground();
  ~Foreground();
  Foreground(const Foreground&) = delete;
  Foreground& operator=(const Foreground&) = delete;

  struct Outcome {
    Result result;
    bool timed_out = false;
    Duration busy{0};
  };

  /// One try of the job's work, stopped at the job's timeout.
  [[nodiscard]] Outcome run(const JobSpec& spec, std::optional<Instant> at);

  /// A token for other work, with no time limit.
  [[nodiscard]] std::stop_token token();

  /// A signal has come: start nothing more.
  [[nodiscard]] bool interrupted() const;

 private:
  struct State {
    std::stop_source stop;
    bool timed_out = false;
    bool interrupted = false;
  };

  void await_signal();
  [[nodiscard]] std::stop_source next_stop();

  mutable std::mutex mutex_;
  State state_;
  boost::asio::io_context watch_;
  boost::asio::signal_set signals_;
  boost::asio::steady_timer limit_;
  std::thread watcher_;
};

}  // namespace saathii::runner
