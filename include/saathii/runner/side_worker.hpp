#pragma once

#include <boost/asio/thread_pool.hpp>
#include <cstddef>
#include <functional>
#include <stdexcept>
#include <stop_token>

#include "saathii/runner/worker.hpp"

namespace saathii::runner {

/// Thrown where more is asked than a bounded queue takes: try again later.
class Overloaded : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Blocking work that is not a job's, such as a question from outside: one
/// thread, a bounded queue. Loop thread, but for the work itself.
class SideWorker {
 public:
  /// `on_idle` is called whenever nothing waits any more.
  explicit SideWorker(
      std::size_t queue_limit, std::function<void()> on_idle = [] {})
      : queue_limit_(queue_limit), on_idle_(std::move(on_idle)) {}

  /// Calls `work(stop token)` on the worker; resumes on the loop with what it
  /// returned or threw. Throws Overloaded at once where the queue is full or the
  /// daemon stops. `work` is a named object that is trivially destructible, as
  /// for on_worker(), and soon ends after a stop.
  template <typename Work>
  auto run(Work work)
      -> boost::asio::awaitable<std::invoke_result_t<Work&, const std::stop_token&>> {
    if (stop_.stop_requested()) {
      throw Overloaded("saathiid is shutting down");
    }
    if (waiting_ >= queue_limit_) {
      throw Overloaded("too many requests are waiting already");
    }
    const Count count(*this);
    auto call = [&work, token = &token_]() { return work(*token); };
    co_return co_await on_worker(thread_, call);
  }

  /// Asks the work in progress to end; what waits in the queue finds it asked for.
  void stop() { stop_.request_stop(); }
  [[nodiscard]] bool idle() const noexcept { return waiting_ == 0; }
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }
  [[nodiscard]] std::size_t queue_limit() const noexcept { return queue_limit_; }

 private:
  class Count {
   public:
    explicit Count(SideWorker& worker) : worker_(worker) { ++worker_.waiting_; }
    ~Count() {
      if (--worker_.waiting_ == 0) {
        worker_.on_idle_();
      }
    }
    Count(const Count&) = delete;
    Count& operator=(const Count&) = delete;

   private:
    SideWorker& worker_;
  };

  const std::size_t queue_limit_;
  const std::function<void()> on_idle_;
  std::size_t waiting_ = 0;
  std::stop_source stop_;
  const std::stop_token token_ = stop_.get_token();
  boost::asio::thread_pool thread_{1};
};

}  // namespace saathii::runner
