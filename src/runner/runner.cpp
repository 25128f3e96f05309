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
/// Readiness waits so long for it to be known who leads.
constexpr Duration election_grace = std::chrono::seconds{1};

}  // namespace

Duration longest_stop(const Options& options) {
  // The ledger's writer is interrupted, side work is waited for, faces end.
  return options.drain_timeout + options.stop_grace + options.flush_timeout + 3 * interrupt_grace;
}

Runner::Runner(Options options, std::vector<JobSpec> jobs, RunLedger& ledger, WallClock& clock,
               std::vector<Observer*> observers)
    : options_(std::move(options)),
      loop_(1),
      ledger_(loop_, ledger, options_.ledger),
      shared_{loop_.get_executor(),
              clock,
              ledger_,
              std::move(observers),
              options_.hard_limit_grace,
              [this] { on_deposed(); },
              options_.instance,
              options_.leadership,
              Bell{loop_.get_executor()}},
      signals_(loop_),
      heart_(loop_),
      ready_limit_(loop_) {
  for (JobSpec& spec : jobs) {
    jobs_.push_back(make_job(std::move(spec)));
  }
  signal_block_.lift();
}

std::unique_ptr<JobLoop> Runner::make_job(JobSpec spec) {
  const auto paused = options_.paused.find(spec.job.name);
  return std::make_unique<JobLoop>(
      shared_, std::move(spec),
      paused == options_.paused.end() ? std::nullopt : std::optional{paused->second});
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
    if (!ledger_.prepared()) {
      tell_armed();  // nobody can be elected until the database is there
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
    const auto names = job_names();
    log::info(log::Message::started, fmt::format("started; jobs: {}", fmt::join(names, ", ")));
    if (shared_.leadership.leads) {
      tell_armed();
      return;
    }
    ready_limit_.expires_after(election_grace);
    ready_limit_.async_wait([this](const auto& error) {
      if (!error) {
        tell_armed();
      }
    });
  });
  loop_.run();
  let_go();
  if (!ending_.stuck) {
    for (const auto& job : jobs_) {
      job->join();
    }
    ledger_.join();
  }
  log::info(log::Message::stopped, "stopped");
  return ending_;
}

/// Whoever asks for a run right after the start is not told that nobody leads.
void Runner::tell_armed() {
  if (shared_.stopping || std::exchange(armed_, true)) {
    return;
  }
  ready_limit_.cancel();
  for (Observer* observer : shared_.observers) {
    observer->armed(job_names().size());
  }
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

void Runner::set_leadership(Leadership now) {
  asio::post(loop_, [this, now = std::move(now)] { lead(now); });
}

void Runner::help_wanted() {
  asio::post(loop_, [this] {
    for (const auto& job : jobs_) {
      job->help_wanted();
    }
  });
}

void Runner::lead(const Leadership& now) {
  if (now == shared_.leadership) {
    return;
  }
  const log::Field term{"TERM", std::to_string(now.term)};
  const log::Field leader{"LEADER", now.leader};
  if (now.leads) {
    log::info(log::Message::leading,
              fmt::format("this instance, {}, leads: it runs the platform's jobs", now.leader),
              {term, leader});
  } else if (shared_.leadership.leads) {
    log::warning(log::Message::standing_by,
                 fmt::format("this instance no longer leads{}; it stands by",
                             now.leader.empty() ? "" : ", " + now.leader + " does"),
                 {term, leader});
  } else if (!now.leader.empty()) {
    log::info(log::Message::standing_by,
              fmt::format("{} leads; this instance stands by", now.leader), {term, leader});
  }
  shared_.leadership = now;
  for (const auto& job : jobs_) {
    job->leadership_changed();
  }
  for (Observer* observer : shared_.observers) {
    observer->leadership_changed(now);
  }
  if (!now.leader.empty()) {
    tell_armed();
  }
}

/// A run knows it before the election does.
void Runner::on_deposed() {
  Leadership now = shared_.leadership;
  now.leads = false;
  now.leader.clear();
  now.since.reset();
  lead(now);
  options_.deposed();
}

SideWorker& Runner::add_side_worker(std::size_t queue_limit) {
  const SignalBlock block;
  side_workers_.push_back(
      std::make_unique<SideWorker>(queue_limit, [this] { shared_.idle.ring(); }));
  return *side_workers_.back();
}

void Runner::begin_reload() {
  for (Observer* observer : shared_.observers) {
    observer->reloading();
  }
}

void Runner::end_reload() {
  for (Observer* observer : shared_.observers) {
    observer->reloaded();
  }
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
    if (error || ended_) {
      return;
    }
    if (signal == SIGHUP) {
      if (hangup_) {
        hangup_();
      }
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
    if (error || ended_) {
      co_return;
    }
    loop_lag_ =
        std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - heart_.expiry());
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
  co_await end_side_work();
  ended_ = true;  // for what is on its way already
  signals_.cancel();
  heart_.cancel();
  ready_limit_.cancel();
  for (Observer* observer : shared_.observers) {
    observer->ending();
  }
  loop_.stop();
}

/// What the observers still do on the loop, bounded.
void Runner::let_go() {
  if (ending_.stuck) {
    return;
  }
  loop_.restart();
  loop_.run_for(interrupt_grace);
  if (!loop_.stopped()) {
    log::error(log::Message::left_behind,
               "left behind, because it does not end: a face of the daemon");
    ending_.stuck = true;
  }
}

asio::awaitable<void> Runner::end_side_work() {
  const auto idle = [this] {
    return std::all_of(side_workers_.begin(), side_workers_.end(),
                       [](const auto& worker) { return worker->idle(); });
  };
  for (const auto& worker : side_workers_) {
    worker->stop();
  }
  const SteadyTime until = std::chrono::steady_clock::now() + interrupt_grace;
  while (!idle() && stops_ <= 2 && std::chrono::steady_clock::now() < until) {
    co_await shared_.idle.wait_until(until);
  }
  if (!idle()) {
    log::error(log::Message::left_behind,
               "left behind, because it does not come back: a question to the database or disk");
    ending_.stuck = true;
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
    ending_.stuck = true;
  }
}

}  // namespace saathii::runner
