#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <memory>

#include "saathii/base/time.hpp"

// The wall clock and timers on it, so that a tick starts by what the clock on
// the wall says, also after it was set. Tests give a clock of their own.

namespace saathii::runner {

/// Why a wait ended.
enum class Wake {
  elapsed,        ///< the moment has come
  clock_changed,  ///< somebody set the clock: look again
  poked,          ///< poke() was called
};

/// Loop thread only; one wait at a time.
class WallTimer {
 public:
  virtual ~WallTimer() = default;
  /// A moment that has passed elapses at once.
  virtual boost::asio::awaitable<Wake> wait_until(Instant moment) = 0;
  /// Ends the wait in progress or, if there is none, the next one.
  virtual void poke() = 0;
};

class WallClock {
 public:
  virtual ~WallClock() = default;
  /// Any thread.
  [[nodiscard]] virtual Instant now() const = 0;
  /// For lengths of time: it cannot be set. Any thread.
  [[nodiscard]] virtual std::chrono::steady_clock::time_point steady_now() const {
    return std::chrono::steady_clock::now();
  }
  [[nodiscard]] virtual std::unique_ptr<WallTimer> make_timer(
      const boost::asio::any_io_executor& loop) = 0;
};

/// CLOCK_REALTIME, with a timerfd for each timer.
class SystemClock final : public WallClock {
 public:
  [[nodiscard]] Instant now() const override;
  [[nodiscard]] std::unique_ptr<WallTimer> make_timer(
      const boost::asio::any_io_executor& loop) override;
};

}  // namespace saathii::runner
