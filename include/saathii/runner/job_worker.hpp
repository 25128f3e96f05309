#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <functional>
#include <stop_token>

#include "saathii/runner/types.hpp"

namespace saathii::runner {

/// A job's one thread: calls the job's work there, one call at a time, for as long as
/// it may take. Loop thread, but for the work itself.
class JobWorker {
 public:
  /// Why a call was told to stop.
  enum class Stop { none, timeout, shutdown, deposed };

  struct Told {
    std::function<void()> wedged;    ///< it did not stop, `grace` after it was told to
    std::function<void()> released;  ///< it came back after all
  };

  JobWorker(const boost::asio::any_io_executor& loop, Duration grace, Told told);

  /// Calls `work`, which is told to stop after `limit`. What it throws is a failure.
  boost::asio::awaitable<Result> call(const Work& work, const Request& request, Duration limit);
  /// Tells the call in progress, if any, to stop; the first reason counts.
  void stop(Stop why);

  [[nodiscard]] bool busy() const noexcept { return busy_; }
  [[nodiscard]] bool wedged() const noexcept { return wedged_; }
  /// Of the call in progress, or else the latest.
  [[nodiscard]] Stop told_to_stop() const noexcept { return stopped_; }

  /// Waits for the thread; only when no call is in progress.
  void join() { thread_.join(); }

 private:
  void at_limit();

  const Duration grace_;
  const Told told_;
  boost::asio::thread_pool thread_{1};
  boost::asio::steady_timer deadline_;
  std::uint64_t deadlines_ = 0;
  std::stop_source stop_;
  Stop stopped_ = Stop::none;
  bool busy_ = false;
  bool wedged_ = false;
};

}  // namespace saathii::runner
