#include "saathii/runner/foreground.hpp"

#include <unistd.h>

#include <boost/asio/post.hpp>
#include <csignal>

#include "saathii/runner/run_id.hpp"

namespace saathii::runner {

Foreground::Foreground() : watch_(1), signals_(watch_, SIGINT, SIGTERM), limit_(watch_) {
  await_signal();
  watcher_ = std::thread([this] { watch_.run(); });
}

Foreground::~Foreground() {
  watch_.stop();
  watcher_.join();
}

void Foreground::await_signal() {
  signals_.async_wait([this](const boost::system::error_code& error, int signal) {
    if (error) {
      return;
    }
    {
      const std::scoped_lock lock(mutex_);
      if (state_.interrupted) {
        ::_exit(128 + signal);
      }
      state_.interrupted = true;
      state_.stop.request_stop();
    }
    await_signal();
  });
}

std::stop_token Foreground::token() {
  const std::scoped_lock lock(mutex_);
  return state_.stop.get_token();
}

bool Foreground::interrupted() const {
  const std::scoped_lock lock(mutex_);
  return state_.interrupted;
}

/// One that an earlier run's limit cannot reach; after a signal, the stopped one.
std::stop_source Foreground::next_stop() {
  const std::scoped_lock lock(mutex_);
  state_.timed_out = false;
  if (!state_.interrupted) {
    state_.stop = std::stop_source{};
  }
  return state_.stop;
}

Foreground::Outcome Foreground::run(const JobSpec& spec, std::optional<Instant> at) {
  const std::stop_source stop = next_stop();
  boost::asio::post(watch_, [this, stop, limit = spec.job.run.timeout] {
    limit_.expires_after(limit);
    limit_.async_wait([this, stop](const boost::system::error_code& error) mutable {
      const std::scoped_lock lock(mutex_);
      if (!error && stop == state_.stop && stop.request_stop()) {
        state_.timed_out = true;
      }
    });
  });
  Request request;
  request.run_id = new_run_id();
  request.scheduled_at = wall_now();
  request.at = at;
  request.stop = stop.get_token();
  const auto began = std::chrono::steady_clock::now();
  Outcome outcome;
  try {
    outcome.result = spec.work(request);
  } catch (const std::exception& error) {
    outcome.result = {Result::Status::failed, error.what(), {}};
  }
  outcome.busy = std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - began);
  const std::scoped_lock lock(mutex_);
  outcome.timed_out = state_.timed_out && outcome.result.status != Result::Status::succeeded;
  return outcome;
}

}  // namespace saathii::runner
