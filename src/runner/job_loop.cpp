#include "saathii/runner/job_loop.hpp"

#include <fmt/format.h>

#include <boost/asio/redirect_error.hpp>

#include "saathii/runner/backoff.hpp"
#include "saathii/runner/run_id.hpp"
#include "saathii/runner/run_log.hpp"
#include "saathii/runner/worker.hpp"

namespace saathii::runner {

namespace {

namespace asio = boost::asio;

/// A run at start waits so long to learn whether a late tick makes it needless.
constexpr Duration verdict_timeout = std::chrono::seconds{10};

schedule::Outcome outcome_of(Result::Status status, bool timed_out) {
  if (status == Result::Status::succeeded) {
    return schedule::Outcome::succeeded;
  }
  return timed_out ? schedule::Outcome::timed_out : schedule::Outcome::failed;
}

}  // namespace

JobLoop::JobLoop(Shared& shared, JobSpec spec)
    : shared_(shared),
      spec_(std::move(spec)),
      planner_(spec_.job.trigger, spec_.job.policy, jitter_seed(spec_.job.name)),
      timer_(shared.clock.make_timer(shared.loop)),
      deadline_(shared.loop) {}

void JobLoop::arm() {
  armed_at_ = shared_.clock.now();
  history_.cursor = armed_at_;
  start_pending_ = spec_.job.run.run_at_start;
  ask_past(armed_at_);
}

void JobLoop::ask_past(Instant now) {
  asked_at_ = now;
  shared_.ledger.ask_past(name(), now, [this](Past past) {
    past_ = std::move(past);
    if (finished_) {
      settle_at_exit();
    } else {
      timer_->poke();
    }
  });
}

asio::awaitable<void> JobLoop::run() {
  std::optional<SteadyTime> began;  // of the run that has just ended
  while (!shared_.stopping) {
    std::optional<Instant> busy_since;
    const bool was_late = past_.has_value();
    join_past();
    const Instant now = shared_.clock.now();
    if (began) {
      // By the steady clock, so that a clock set meanwhile is no long run.
      busy_since = now - elapsed_since(*began);
    }
    schedule::Plan plan = planner_.look(history_, now, busy_since);
    history_ = plan.history;
    const auto newer = take_newer_than_due(plan);
    write_off(plan.written_off, was_late);
    if (plan.past_unknown && !asked_at_) {
      ask_past(now);
    }
    add_run_at_start(now, plan);
    began.reset();
    if (plan.due.empty()) {
      co_await timer_->wait_until(plan.wake);
      continue;
    }
    TickEnd end = TickEnd::finished;
    const SteadyTime run_began = shared_.clock.steady_now();
    for (std::size_t i = 0; i < plan.due.size() && !shared_.stopping; ++i) {
      end = co_await run_tick(plan.due[i]);
    }
    if (!shared_.stopping) {
      write_off(newer, false);
    }
    if (end != TickEnd::gave_way) {
      began = run_began;
    }
  }
  settle_at_exit();
  finished_ = true;
  shared_.idle.ring();
}

/// Outcomes of ticks after the first that is due: they are written when those have
/// run. A restart goes on from the newest outcome that was written, so a crash in
/// the run of an older tick would leave that one without any.
std::vector<schedule::WrittenOff> JobLoop::take_newer_than_due(schedule::Plan& plan) {
  const auto newer = std::stable_partition(
      plan.written_off.begin(), plan.written_off.end(), [&](const schedule::WrittenOff& ticks) {
        return plan.due.empty() || ticks.first < plan.due.front();
      });
  std::vector<schedule::WrittenOff> taken(std::make_move_iterator(newer),
                                          std::make_move_iterator(plan.written_off.end()));
  plan.written_off.erase(newer, plan.written_off.end());
  return taken;
}

/// A job that runs at start does so once it is known that no late tick runs
/// then anyway, or after a while.
void JobLoop::add_run_at_start(Instant now, schedule::Plan& plan) {
  if (!start_pending_) {
    return;
  }
  const Instant latest = armed_at_ + verdict_timeout;
  if (!plan.due.empty()) {
    start_pending_ = false;
  } else if (shared_.ledger.has_verdict() || now >= latest) {
    start_pending_ = false;
    plan.due.push_back(now);
  } else {
    plan.wake = std::min(plan.wake, latest);
  }
}

void JobLoop::ledger_spoke() {
  if (start_pending_) {
    timer_->poke();
  }
}

void JobLoop::join_past() {
  if (!past_) {
    return;
  }
  history_ = std::exchange(resumed_, true)
                 ? join_earlier(*past_, *asked_at_, history_, planner_.trigger())
                 : join_histories(*past_, armed_at_, history_, planner_.trigger());
  past_.reset();
  asked_at_.reset();
}

/// Ticks from before this start whose account came too late to act on it: what
/// ran since is written after them, so they must not stay without an outcome.
void JobLoop::settle_at_exit() {
  if (!past_ || resumed_) {
    return;
  }
  join_past();
  const schedule::Plan plan = planner_.look(history_, armed_at_);
  auto ticks = plan.written_off;
  for (const Instant tick : plan.due) {
    if (tick <= armed_at_) {
      ticks.push_back(
          {tick, tick, 1, schedule::Outcome::missed, "the daemon was stopped before it could run"});
    }
  }
  write_off(ticks, true);
}

void JobLoop::write_off(const std::vector<schedule::WrittenOff>& ticks, bool oldest) {
  std::vector<Record> records;
  records.reserve(ticks.size());
  for (const auto& tick : ticks) {
    Record record;
    record.job = name();
    record.scheduled_at = tick.first;
    record.last_scheduled_at = tick.last;
    record.ticks = tick.ticks;
    record.outcome = tick.outcome;
    record.reason = tick.reason;
    records.push_back(std::move(record));
  }
  log_written_off(name(), ticks);
  for (const Record& record : records) {
    tell([&](Observer& observer) { observer.tick_ended(record, Duration{0}); });
  }
  if (oldest) {
    shared_.ledger.add_oldest(std::move(records));
    return;
  }
  for (Record& record : records) {
    shared_.ledger.add(std::move(record));
  }
}

Request JobLoop::make_request(Instant tick, std::string run_id) {
  Request request;
  request.run_id = std::move(run_id);
  request.scheduled_at = tick;
  return request;
}

asio::awaitable<JobLoop::TickEnd> JobLoop::run_tick(Instant tick) {
  const SteadyTime began = shared_.clock.steady_now();
  const config::RunPolicy& policy = spec_.job.run;
  Request request = make_request(tick, new_run_id());
  Record record;
  record.job = name();
  record.run_id = request.run_id;
  record.scheduled_at = tick;
  record.last_scheduled_at = tick;
  record.started_at = shared_.clock.now();
  tell([&](Observer& observer) { observer.run_started(name(), tick); });
  Backoff backoff(policy.retry_backoff, policy.retry_backoff_cap);
  std::int64_t retries_left = policy.retries;
  for (;; ++request.attempt) {
    const Result result = co_await run_attempt(request);
    const bool timed_out = stop_reason_ == StopReason::timeout;
    const bool server_lost = result.status == Result::Status::unavailable && !timed_out;
    record.attempts = request.attempt;
    record.outcome = outcome_of(result.status, timed_out);
    record.reason = result.summary;
    if (record.outcome == schedule::Outcome::succeeded) {
      record.counts = result.counts;
      finish(std::move(record), result, began);
      co_return TickEnd::finished;
    }
    if (stop_reason_ == StopReason::shutdown) {
      log_interrupted(record);
      co_return TickEnd::interrupted;
    }
    if (timed_out) {
      record.reason = timeout_reason(policy.timeout, result);
    }
    if (!server_lost && retries_left-- <= 0) {
      finish(std::move(record), result, began);
      co_return TickEnd::finished;
    }
    if (server_lost) {
      log_server_lost(record);
    } else {
      log_retry(record);
    }
    switch (co_await wait_to_retry(backoff.next(), server_lost, next_due_after(tick))) {
      case After::retry:
        break;
      case After::next_tick:
        record.reason += "; gave way to the next tick";
        finish(std::move(record), result, began);
        co_return TickEnd::gave_way;
      case After::stopping:
        log_interrupted(record);
        co_return TickEnd::interrupted;
    }
  }
}

asio::awaitable<Result> JobLoop::run_attempt(const Request& request) {
  stop_ = std::stop_source{};
  stop_reason_ = StopReason::none;
  Request own = request;
  own.stop = stop_.get_token();
  current_ = own;
  running_ = true;
  start_deadline();
  // Named, because GCC 12 destroys a temporary in a co_await expression twice.
  auto attempt = [work = &spec_.work, &own]() -> Result {
    try {
      return (*work)(own);
    } catch (const std::exception& error) {
      return {Result::Status::failed, error.what(), {}};
    } catch (...) {
      return {Result::Status::failed, "unknown exception", {}};
    }
  };
  Result result = co_await on_worker(shared_.workers, std::move(attempt));
  running_ = false;
  ++deadline_generation_;
  deadline_.cancel();
  if (std::exchange(wedged_, false)) {
    log_released(name(), request);
    tell([&](Observer& observer) { observer.released(name()); });
  }
  shared_.idle.ring();
  co_return result;
}

void JobLoop::start_deadline() {
  deadline_.expires_after(spec_.job.run.timeout);
  deadline_.async_wait([this, generation = ++deadline_generation_](const auto& error) {
    if (!error && generation == deadline_generation_) {
      at_deadline();
    }
  });
}

void JobLoop::at_deadline() {
  if (stop_reason_ == StopReason::none) {
    stop_reason_ = StopReason::timeout;
    stop_.request_stop();
  }
  deadline_.expires_after(shared_.hard_limit_grace);
  deadline_.async_wait([this, generation = deadline_generation_](const auto& error) {
    if (!error && generation == deadline_generation_) {
      at_hard_limit();
    }
  });
}

void JobLoop::at_hard_limit() {
  wedged_ = true;
  log_wedged(name(), current_, spec_.job.run.timeout + shared_.hard_limit_grace);
  tell([&](Observer& observer) { observer.wedged(name()); });
}

asio::awaitable<JobLoop::After> JobLoop::wait_to_retry(Duration pause, bool server_lost,
                                                       Instant next_due) {
  const Instant began = shared_.clock.now();
  Instant until = began + pause;
  waiting_to_retry_ = server_lost;
  server_up_ = false;
  After after = After::retry;
  for (;;) {
    const Instant now = shared_.clock.now();
    if (shared_.stopping) {
      after = After::stopping;
      break;
    }
    if (now >= next_due) {
      after = After::next_tick;
      break;
    }
    if (std::exchange(server_up_, false)) {
      // Not at once: a server that comes and goes must not be hammered.
      until = std::min(until, began + spec_.job.run.retry_backoff);
    }
    if (now >= until || now < began) {
      break;
    }
    co_await timer_->wait_until(std::min(until, next_due));
  }
  waiting_to_retry_ = false;
  co_return after;
}

Instant JobLoop::next_due_after(Instant tick) const {
  const auto next = planner_.trigger().next_after(std::max(tick, history_.cursor));
  return next ? planner_.start_of(*next) : shared_.clock.now() + schedule::max_sleep;
}

void JobLoop::finish(Record record, const Result& result, SteadyTime began) {
  const auto busy = std::chrono::duration_cast<Duration>(shared_.clock.steady_now() - began);
  record.finished_at = shared_.clock.now();
  log_finished(record, result, busy);
  tell([&](Observer& observer) { observer.tick_ended(record, busy); });
  shared_.ledger.add(std::move(record));
}

void JobLoop::break_off() {
  if (running_ && stop_reason_ == StopReason::none) {
    stop_reason_ = StopReason::shutdown;
    stop_.request_stop();
  }
}

void JobLoop::leave_behind() const {
  if (running_) {
    log_left_behind(name(), current_);
  }
}

void JobLoop::server_up() {
  if (waiting_to_retry_) {
    server_up_ = true;
    timer_->poke();
  }
}

Duration JobLoop::elapsed_since(SteadyTime began) const {
  return std::chrono::duration_cast<Duration>(shared_.clock.steady_now() - began);
}

std::uint64_t jitter_seed(std::string_view job) {
  std::uint64_t hash = 14695981039346656037U;  // FNV-1a
  for (const char letter : job) {
    hash = (hash ^ static_cast<unsigned char>(letter)) * 1099511628211U;
  }
  return hash;
}

schedule::History join_histories(const Past& past, Instant armed_at,
                                 const schedule::History& present,
                                 const schedule::Trigger& trigger) {
  schedule::History joined =
      schedule::resume(past.last_tick, past.offered_ahead, trigger, armed_at);
  for (const auto& span : present.offered.spans) {
    joined.offered.add(span, trigger);
  }
  const auto first = trigger.next_after(armed_at);
  const auto last = trigger.latest_at(present.cursor);
  if (first && last && *first <= *last) {
    joined.offered.add({*first, *last}, trigger);
  }
  return joined;
}

schedule::History join_earlier(const Past& past, Instant asked_at, schedule::History present,
                               const schedule::Trigger& trigger) {
  const auto earlier = schedule::resume(past.last_tick, past.offered_ahead, trigger, asked_at);
  for (const auto& span : earlier.offered.spans) {
    present.offered.add(span, trigger);
  }
  present.known_from = earlier.known_from;
  return present;
}

}  // namespace saathii::runner
