#include "saathii/runner/job_worker.hpp"

#include <utility>

#include "saathii/runner/worker.hpp"

namespace saathii::runner {

JobWorker::JobWorker(const boost::asio::any_io_executor& loop, Duration grace, Told told)
    : grace_(grace), told_(std::move(told)), deadline_(loop) {}

boost::asio::awaitable<Result> JobWorker::call(const Work& work, const Request& request,
                                               Duration limit) {
  stop_ = std::stop_source{};
  stopped_ = Stop::none;
  Request own = request;
  own.stop = stop_.get_token();
  busy_ = true;
  deadline_.expires_after(limit);
  deadline_.async_wait([this, number = ++deadlines_](const auto& error) {
    if (!error && number == deadlines_) {
      at_limit();
    }
  });
  // Named, because GCC 12 destroys a temporary in a co_await expression twice.
  auto attempt = [&work, &own]() -> Result {
    try {
      return work(own);
    } catch (const std::exception& error) {
      return {Result::Status::failed, error.what(), {}};
    } catch (...) {
      return {Result::Status::failed, "unknown exception", {}};
    }
  };
  Result result = co_await on_worker(thread_, std::move(attempt));
  busy_ = false;
  ++deadlines_;
  deadline_.cancel();
  if (std::exchange(wedged_, false)) {
    told_.released();
  }
  co_return result;
}

void JobWorker::stop(Stop why) {
  if (busy_ && stopped_ == Stop::none) {
    stopped_ = why;
    stop_.request_stop();
  }
}

void JobWorker::at_limit() {
  stop(Stop::timeout);
  deadline_.expires_after(grace_);
  deadline_.async_wait([this, number = deadlines_](const auto& error) {
    if (!error && number == deadlines_) {
      wedged_ = true;
      told_.wedged();
    }
  });
}

}  // namespace saathii::runner
