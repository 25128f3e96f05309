#include "saathii/runner/clock.hpp"

#include <sys/timerfd.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <system_error>
#include <utility>

namespace saathii::runner {

namespace {

namespace asio = boost::asio;

int make_timerfd() {
  const int fd = ::timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
  if (fd < 0) {
    throw std::system_error(errno, std::generic_category(), "timerfd_create");
  }
  return fd;
}

class TimerfdTimer final : public WallTimer {
 public:
  explicit TimerfdTimer(const asio::any_io_executor& loop) : descriptor_(loop, make_timerfd()) {}

  asio::awaitable<Wake> wait_until(Instant moment) override {
    if (std::exchange(poked_, false)) {
      co_return Wake::poked;
    }
    if (!arm(moment)) {
      co_return Wake::clock_changed;
    }
    for (;;) {
      boost::system::error_code error;
      co_await descriptor_.async_wait(asio::posix::descriptor_base::wait_read,
                                      asio::redirect_error(asio::use_awaitable, error));
      if (std::exchange(poked_, false)) {
        co_return Wake::poked;
      }
      std::uint64_t expirations = 0;
      if (::read(descriptor_.native_handle(), &expirations, sizeof expirations) > 0) {
        co_return Wake::elapsed;
      }
      if (errno == ECANCELED) {
        co_return Wake::clock_changed;
      }
      if (errno != EAGAIN) {
        throw std::system_error(errno, std::generic_category(), "read from a timerfd");
      }
    }
  }

  void poke() override {
    poked_ = true;
    boost::system::error_code ignored;
    descriptor_.cancel(ignored);
  }

 private:
  /// Returns false if the clock was set since the timer was armed last.
  bool arm(Instant moment) {
    const std::int64_t since_epoch_us =
        std::max<std::int64_t>(moment.time_since_epoch().count(), 1);
    itimerspec setting{};
    setting.it_value.tv_sec = static_cast<time_t>(since_epoch_us / 1'000'000);
    setting.it_value.tv_nsec = static_cast<long>(since_epoch_us % 1'000'000 * 1000);
    if (::timerfd_settime(descriptor_.native_handle(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET,
                          &setting, nullptr) == 0) {
      return true;
    }
    if (errno == ECANCELED) {
      return false;
    }
    throw std::system_error(errno, std::generic_category(), "timerfd_settime");
  }

  asio::posix::stream_descriptor descriptor_;
  bool poked_ = false;
};

}  // namespace

Instant SystemClock::now() const { return wall_now(); }

std::unique_ptr<WallTimer> SystemClock::make_timer(const asio::any_io_executor& loop) {
  return std::make_unique<TimerfdTimer>(loop);
}

}  // namespace saathii::runner
