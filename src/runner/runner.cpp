#include "saathii/runner/runner.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>

#include "saathii/base/counted.hpp"
#include "saathii/log/log.hpp"

namespace saathii::runner {

namespace {

namespace asio = boost::asio;

/// For a call into the database that was broken off to come back.
constexpr Duration interrupt_grace = std::chrono::seconds{2};

}  // namespace

Runner::Runner(Options options, std::vector<JobSpec> jobs, RunLedger& ledger, WallClock& clock,
               std::vector<Observer*> observers)
    : options_(std::move(options)),
      loop_(1),
      workers_(std::max<std::size_t>(jobs.size(), 1)),
      ledger_(loop_, ledger, options_.ledger),
      shared_{loop_.get_executor(),
              workers_,
              clock,
              ledger_,
              std::move(observers),
              options_.hard_limit_grace,
              Bell{loop_.get_executor()}},
      signals_(loop_),
      heart_(loop_) {
  for (JobSpec& spec : jobs) {
    jobs_.push_back(std::make_unique<JobLoop>(shared_, std::move(spec)));
  }
  signal_block_.lift();
}

void Runner::spawn(asio::awaitable<void> task) {
  asio::co_spawn(loop_, std::move(task), [](const std::exception_ptr& error) {
    if (error) {
      std::rethrow_exception(error);
    }
  });
}

Ending Runner::run() {
  signals_.add(SIGTERM);
  signals_.add(SIGINT);
  signals_.add(SIGHUP);
  ledger_.on_refused([this](const std::string& reason) { refuse(reason); });
  ledger_.on_verdict([this] {
    for (const auto& job : jobs_) {
      job->ledger_spoke();
    }
  });
  for (const auto& job : jobs_) {
    job->arm();
    spawn(job->run());
  }
  spawn(ledger_.run());
  await_signal();
  if (options_.heartbeat > Duration{0}) {
    spawn(beat());
  }
  asio::post(loop_, [this] {
    std::vector<std::string> names;
    for (const auto& job : jobs_) {
      names.push_back(job->name());
    }
    log::info(log::Message::started, fmt::format("started; jobs: {}", fmt::join(names, ", ")));
    for (Observer* observer : shared_.observers) {
      observer->armed(jobs_.size());
    }
  });
  loop_.run();
  if (!ending_.stuck) {
    workers_.join();
    ledger_.join();
  }
  log::info(log::Message::stopped, "stopped");
  return ending_;
}

void Runner::stop() {
  asio::post(loop_, [this] { on_stop(); });
}

void Runner::server_changed(bool up) {
  asio::post(loop_, [this, up] {
    if (up) {
      ledger_.poke();
      for (const auto& job : jobs_) {
        job->server_up();
      }
    }
    for (Observer* observer : shared_.observers) {
      observer->server_changed();
    }
  });
}

void Runner::refuse(const std::string& reason) {
  log::error(log::Message::schema_newer, reason + "; saathiid stops");
  ending_.exit_code = 1;
  on_stop();
}

void Runner::on_stop() {
  if (stops_++ == 0) {
    spawn(drain());
  } else {
    shared_.idle.ring();
    ledger_.bell().ring();
  }
}

void Runner::await_signal() {
  signals_.async_wait([this](const boost::system::error_code& error, int signal) {
    if (error) {
      return;
    }
    if (signal == SIGHUP) {
      log::warning("SIGHUP is ignored: to use a changed configuration, restart saathiid");
    } else {
      on_stop();
    }
    await_signal();
  });
}

asio::awaitable<void> Runner::beat() {
  for (;;) {
    heart_.expires_after(options_.heartbeat);
    boost::system::error_code error;
    co_await heart_.async_wait(asio::redirect_error(asio::use_awaitable, error));
    if (error) {
      co_return;
    }
    for (Observer* observer : shared_.observers) {
      observer->heartbeat();
    }
  }
}

std::vector<std::string> Runner::running_jobs() const {
  std::vector<std::string> names;
  for (const auto& job : jobs_) {
    if (job->running()) {
      names.push_back(job->name());
    }
  }
  return names;
}

bool Runner::all_finished() const {
  return std::all_of(jobs_.begin(), jobs_.end(), [](const auto& job) { return job->finished(); });
}

/// Until all jobs are at rest, the limit, or one stop() more than `patience`.
asio::awaitable<bool> Runner::wait_for_jobs(Duration limit, int patience) {
  const SteadyTime until = std::chrono::steady_clock::now() + limit;
  while (!all_finished() && stops_ <= patience && std::chrono::steady_clock::now() < until) {
    co_await shared_.idle.wait_until(until);
  }
  co_return all_finished();
}

asio::awaitable<void> Runner::drain() {
  shared_.stopping = true;
  for (const auto& job : jobs_) {
    job->stop();
  }
  const auto running = running_jobs();
  for (Observer* observer : shared_.observers) {
    observer->stopping(running);
  }
  log::info(log::Message::stopping,
            running.empty()
                ? "stopping"
                : fmt::format("stopping; waiting up to {} for {}", humanize(options_.drain_timeout),
                              fmt::join(running, ", ")));
  bool done = co_await wait_for_jobs(options_.drain_timeout, 1);
  if (!done) {
    log::warning(
        fmt::format("still running and now told to stop: {}", fmt::join(running_jobs(), ", ")));
    for (const auto& job : jobs_) {
      job->break_off();
    }
    done = co_await wait_for_jobs(options_.stop_grace, 2);
  }
  if (!done) {
    for (const auto& job : jobs_) {
      job->leave_behind();
    }
    ending_ = {1, true};
  }
  co_await flush_ledger();
  signals_.cancel();
  heart_.cancel();
  if (ending_.stuck) {
    loop_.stop();
  }
}

asio::awaitable<void> Runner::flush_ledger() {
  ledger_.close();
  for (const Duration limit : {options_.flush_timeout, interrupt_grace}) {
    const SteadyTime until = std::chrono::steady_clock::now() + limit;
    while (!ledger_.finished() && stops_ <= 2 && std::chrono::steady_clock::now() < until) {
      co_await ledger_.bell().wait_until(until);
    }
    if (ledger_.finished()) {
      break;
    }
    ledger_.interrupt();
  }
  if (ledger_.waiting() > 0) {
    log::warning(log::Message::outcomes_lost,
                 fmt::format("{} could not be written to the run ledger; the next start "
                             "judges the ticks anew",
                             counted(ledger_.waiting(), "outcome")));
  }
  if (!ledger_.finished()) {
    log::error(log::Message::left_behind,
               "left behind, because the database does not come back: the run ledger's writer");
    ending_ = {1, true};
  }
}

}  // namespace saathii::runner
