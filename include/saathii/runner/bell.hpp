#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace saathii::runner {

using SteadyTime = std::chrono::steady_clock::time_point;

/// Wakes coroutines that wait for something to become true. Loop thread only;
/// ring() is not remembered, so look at the condition before each wait. Either
/// any number wait without a deadline, or one waits with one.
class Bell {
 public:
  explicit Bell(const boost::asio::any_io_executor& loop) : timer_(loop, SteadyTime::max()) {}

  boost::asio::awaitable<void> wait_until(SteadyTime deadline) {
    timer_.expires_at(deadline);
    co_await wait();
  }

  boost::asio::awaitable<void> wait() {
    boost::system::error_code ignored;
    co_await timer_.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
  }

  void ring() { timer_.cancel(); }

 private:
  boost::asio::steady_timer timer_;
};

}  // namespace saathii::runner
