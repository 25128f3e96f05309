#include "saathii/runner/job_loop.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "saathii/runner/backoff.hpp"
#include "saathii/runner/job_history.hpp"
#include "saathii/runner/run_id.hpp"
#include "saathii/runner/run_log.hpp"

namespace saathii::runner {

namespace {

namespace asio = boost::asio;

/// A run at start waits so long to learn whether a late tick makes it needless.
constexpr Duration verdict_timeout = std::chrono::seconds{10};

constexpr const char* taken_out = "the job was taken out of the configuration";
constexpr const char* rescheduled = "a reload changed the job's schedule";
constexpr const char* shut_down = "saathiid was stopped";
constexpr const char* taken_over = "another instance took over";

schedule::Outcome outcome_of(Result::Status status, bool timed_out) {
  if (status == Result::Status::succeeded) {
    return schedule::Outcome::succeeded;
  }
  return timed_out ? schedule::Outcome::timed_out : schedule::Outcome::failed;
}

schedule::WrittenOff skipped(Instant tick, const std::string& reason) {
  return {tick, tick, 1, schedule::Outcome::skipped, reason};
}

}  // namespace

schedule::Planner JobLoop::planner_of(const config::Job& job) {
  return {job.trigger, job.policy, jitter_seed(job.name)};
}

JobLoop::JobLoop(Shared& shared, JobSpec spec, std::optional<Pause> paused)
    : shared_(shared),
      spec_(std::move(spec)),
      planner_(planner_of(spec_.job)),
      worker_(shared.loop, shared.hard_limit_grace, told_of_worker()),
      timer_(shared.clock.make_timer(shared.loop)),
      paused_(std::move(paused)) {}

void JobLoop::arm() {
  armed_at_ = shared_.clock.now();
  if (!is_ours()) {
    return;
  }
  term_ = present_term();
  history_.cursor = armed_at_;
  start_pending_ = spec_.job.run.run_at_start;
  armed_after_verdict_ = shared_.ledger.has_verdict();
  ask_past(armed_at_);
}

void JobLoop::ask_past(Instant now) {
  asked_at_ = now;
  const auto question = ++question_;
  shared_.ledger.ask_past(name_in_ledger(), now, [this, question](Past past) {
    if (question != question_) {
      return;  // of an earlier time of leadership
    }
    past_ = std::move(past);
    remember(*past_);
    if (finished_) {
      settle_at_exit();
    } else {
      timer_->poke();
    }
  });
}

asio::awaitable<void> JobLoop::run() {
  finished_ = false;
  while (!leaving()) {
    if (deposed()) {
      co_await stand_by();
    } else {
      co_await live();
    }
  }
  if (!handing_over()) {
    skip_rest();
  }
  drop_asked(shared_.stopping ? shut_down : taken_out);
  if (!deposed()) {
    settle_at_exit();
  }
  finished_ = true;
  shared_.idle.ring();
}

/// Whatever is planned is another instance's; then the schedule is taken up anew.
asio::awaitable<void> JobLoop::stand_by() {
  drop_asked(taken_over);
  ++question_;
  asked_at_.reset();
  past_.reset();
  planner_at_start_.reset();
  history_ = {};
  resumed_ = false;
  start_pending_ = false;
  tell_changed();
  bool is_told = false;
  while (!leaving() && !is_ours()) {
    // Until another one is known to lead it may be this instance again.
    const std::string& leader = shared_.leadership.leader;
    if (!is_told && !leader.empty() && leader != shared_.host) {
      is_told = true;
      tell([&](Observer& observer) { observer.standing_by(name()); });
    }
    if (replacement_) {
      spec_ = *std::exchange(replacement_, std::nullopt);
      planner_ = planner_of(spec_.job);
      tell_changed();
    }
    if (std::exchange(help_wanted_, false) && spec_.help && !paused_) {
      co_await help();
    } else {
      co_await timer_->wait_until(shared_.clock.now() + schedule::max_sleep);
    }
  }
  if (!leaving()) {
    arm();
    wanted_since_ = armed_at_;
    tell_changed();
  }
}

/// What comes of it is told by the leader, whose tick it is.
asio::awaitable<void> JobLoop::help() {
  Request request;
  request.run_id = new_run_id();
  request.scheduled_at = shared_.clock.now();
  request.term = shared_.leadership.term;
  run_ = {request.run_id, request.scheduled_at, request.scheduled_at, request.attempt};
  const Result result = co_await run_attempt(spec_.help, request);
  run_.reset();
  log_helped(name(), request, result);
}

asio::awaitable<void> JobLoop::live() {
  std::optional<SteadyTime> began;  // of the run that has just ended
  while (!leaving() && !deposed()) {
    std::optional<Instant> busy_since;
    const bool was_late = past_.has_value();
    join_past();
    const Instant now = shared_.clock.now();
    if (began) {
      // By the steady clock, so that a clock set meanwhile is no long run.
      busy_since = now - elapsed_since(*began);
      began.reset();
    }
    schedule::Plan plan = planner_.look(history_, now, busy_since);
    history_ = plan.history;
    auto newer = take_newer_than_due(plan);
    write_off(plan.written_off, was_late);
    if (plan.past_unknown && !asked_at_) {
      ask_past(now);
    }
    add_run_at_start(now, plan);
    if (paused_) {
      skip_due(plan, newer, paused_reason());
    }
    if (replacement_) {
      take_replacement(now);
      plan.wake = now;
    }
    if (plan.due.empty() && !asked_) {
      co_await timer_->wait_until(plan.wake);
      continue;
    }
    const SteadyTime run_began = shared_.clock.steady_now();
    if (co_await run_due(plan.due, newer) != TickEnd::gave_way) {
      began = run_began;
    }
  }
}

/// What is due, or else the run that was asked for.
asio::awaitable<JobLoop::TickEnd> JobLoop::run_due(std::vector<Instant> due,
                                                   std::vector<schedule::WrittenOff> newer) {
  TickEnd end = TickEnd::finished;
  if (due.empty()) {
    Request request = *std::exchange(asked_, std::nullopt);
    request.scheduled_at = shared_.clock.now();
    co_return co_await run_tick(std::move(request), false);
  }
  std::vector<schedule::WrittenOff> not_run;
  for (const Instant tick : due) {
    if (retired_) {
      not_run.push_back(skipped(tick, taken_out));
    } else if (paused_) {
      not_run.push_back(skipped(tick, paused_reason()));
    } else if (!handing_over()) {
      Request request;
      request.run_id = new_run_id();
      request.scheduled_at = tick;
      end = co_await run_tick(std::move(request), true);
    }
  }
  if (!handing_over()) {
    write_off(not_run, false);
    write_off(newer, false);
  }
  co_return end;
}

/// Ticks that come due while nobody wants them end as skipped.
void JobLoop::skip_due(schedule::Plan& plan, std::vector<schedule::WrittenOff>& newer,
                       const std::string& reason) {
  std::vector<schedule::WrittenOff> ticks;
  for (const Instant tick : std::exchange(plan.due, {})) {
    ticks.push_back(skipped(tick, reason));
  }
  std::move(newer.begin(), newer.end(), std::back_inserter(ticks));
  newer.clear();
  std::sort(ticks.begin(), ticks.end(),
            [](const auto& one, const auto& other) { return one.first < other.first; });
  write_off(ticks, false);
}

/// A job that leaves the configuration owes an outcome for what has come due.
void JobLoop::skip_rest() {
  join_past();
  schedule::Plan plan = planner_.look(history_, shared_.clock.now());
  history_ = plan.history;
  auto newer = take_newer_than_due(plan);
  write_off(plan.written_off, false);
  skip_due(plan, newer, taken_out);
  write_off(jittered(shared_.clock.now(), taken_out), false);
}

/// Whoever asked for a run that does not come hears of it.
void JobLoop::drop_asked(const char* reason) {
  if (!asked_) {
    return;
  }
  const Request request = *std::exchange(asked_, std::nullopt);
  Record record;
  record.job = name();
  record.run_id = request.run_id;
  record.scheduled_at = record.last_scheduled_at = shared_.clock.now();
  record.ticks = 0;
  record.as_of = request.at;
  record.host = ledger_host();
  record.outcome = schedule::Outcome::skipped;
  record.reason = reason;
  log_dropped(record);
  tell([&](Observer& observer) { observer.tick_ended(record, Duration{0}); });
  shared_.ledger.add(std::move(record));
}

void JobLoop::take_replacement(Instant now) {
  JobSpec spec = *std::exchange(replacement_, std::nullopt);
  if (spec.job.trigger.describe() != spec_.job.trigger.describe()) {
    // Every tick of the old trigger up to now gets its outcome: the new one's
    // ticks are those to come.
    write_off(jittered(now, rescheduled), false);
    begin_afresh(now);
  }
  spec_ = std::move(spec);
  planner_ = planner_of(spec_.job);
  tell_changed();
}

/// Ticks that have come but not begun, because of their jitter.
std::vector<schedule::WrittenOff> JobLoop::jittered(Instant now, const char* reason) const {
  std::vector<schedule::WrittenOff> ticks;
  auto tick = planner_.trigger().next_after(history_.cursor);
  while (tick && *tick <= now && ticks.size() < planner_.due_limit()) {
    if (!history_.offered.contains(*tick)) {
      ticks.push_back(skipped(*tick, reason));
    }
    tick = planner_.trigger().next_after(*tick);
  }
  return ticks;
}

/// What came before `now` was not this job's, or is settled; but for what came
/// before the start, if that is not known yet: it is accounted for as planned then.
void JobLoop::begin_afresh(Instant now) {
  if (!std::exchange(resumed_, true)) {
    planner_at_start_ = planner_;
  }
  history_ = {};
  history_.cursor = now;
  history_.known_from = now;
  wanted_since_ = now;
}

void JobLoop::replace(JobSpec spec) {
  replacement_ = std::move(spec);
  retired_ = false;
  timer_->poke();
}

void JobLoop::revive(JobSpec spec) {
  replace(std::move(spec));
  if (!is_ours()) {
    return;  // it is taken over when the job stands by
  }
  const Instant now = shared_.clock.now();
  term_ = present_term();
  begin_afresh(now);
  take_replacement(now);
}

void JobLoop::retire() {
  retired_ = true;
  timer_->poke();
}

bool JobLoop::pause(const Pause& pause) {
  if (paused_) {
    return false;
  }
  paused_ = pause;
  tell_changed();
  return true;
}

bool JobLoop::resume() {
  if (!paused_) {
    return false;
  }
  paused_.reset();
  wanted_since_ = shared_.clock.now();
  tell_changed();
  return true;
}

std::optional<std::string> JobLoop::run_now(std::optional<Instant> at) {
  if (asked_) {
    return std::nullopt;
  }
  asked_.emplace();
  asked_->run_id = new_run_id();
  asked_->at = at;
  timer_->poke();
  return asked_->run_id;
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

/// A job that runs at start does so, as if it were asked to, once it is known that
/// no late tick runs then anyway, or after a while.
void JobLoop::add_run_at_start(Instant now, schedule::Plan& plan) {
  if (!start_pending_) {
    return;
  }
  if (paused_) {
    start_pending_ = false;
    return;
  }
  const Instant latest = armed_at_ + verdict_timeout;
  const bool judged = !asked_at_ || (shared_.ledger.has_verdict() && !armed_after_verdict_);
  if (!plan.due.empty()) {
    start_pending_ = false;
  } else if (judged || now >= latest) {
    start_pending_ = false;
    static_cast<void>(run_now(std::nullopt));
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
  if (planner_at_start_) {
    const schedule::Planner planner = *std::exchange(planner_at_start_, std::nullopt);
    account_for_start(planner, rescheduled);
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
  if (past_ && !resumed_) {
    account_for_start(planner_, "the daemon was stopped before it could run");
  }
  join_past();
}

/// Ticks up to the start end as `planner` judges them; those that would have run
/// then are missed.
void JobLoop::account_for_start(const schedule::Planner& planner, const char* reason) {
  const auto history = join_histories(*past_, armed_at_, history_, planner.trigger());
  const schedule::Plan plan = planner.look(history, armed_at_);
  auto ticks = plan.written_off;
  for (const Instant tick : plan.due) {
    if (tick <= armed_at_) {
      ticks.push_back({tick, tick, 1, schedule::Outcome::missed, reason});
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
    record.reason = tick.full_reason();
    record.term = term_;
    record.host = ledger_host();
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

/// A run that is no tick of the schedule was asked for.
asio::awaitable<JobLoop::TickEnd> JobLoop::run_tick(Request request, bool is_tick) {
  const SteadyTime began = shared_.clock.steady_now();
  Record record;
  record.job = name();
  record.run_id = request.run_id;
  record.scheduled_at = request.scheduled_at;
  record.last_scheduled_at = request.scheduled_at;
  record.ticks = is_tick ? 1 : 0;
  record.as_of = request.at;
  record.term = request.term = term_;
  record.host = ledger_host();
  record.started_at = shared_.clock.now();
  run_ = {request.run_id, request.scheduled_at, *record.started_at, request.attempt};
  tell([&](Observer& observer) { observer.run_started(name(), *run_); });
  const TickEnd end = co_await try_until_done(std::move(request), record, began);
  if (end != TickEnd::interrupted) {
    co_return end;
  }
  if (is_tick) {
    log_interrupted(record, shared_.stopping);
    run_.reset();
    if (!shared_.stopping) {
      tell([&](Observer& observer) { observer.handed_over(name()); });
    }
  } else {
    // Nobody takes it up again.
    record.term = 0;
    record.reason =
        fmt::format("{} in mid-run ({})", shared_.stopping ? shut_down : taken_over, record.reason);
    finish(record, {Result::Status::stopped, record.reason, {}}, began);
  }
  co_return end;
}

asio::awaitable<JobLoop::TickEnd> JobLoop::try_until_done(Request request, Record& record,
                                                          SteadyTime began) {
  const config::RunPolicy& policy = spec_.job.run;
  Backoff backoff(policy.retry_backoff, policy.retry_backoff_cap);
  std::int64_t retries_left = policy.retries;
  for (;; ++request.attempt) {
    run_->attempt = request.attempt;
    const Result result = co_await run_attempt(spec_.work, request);
    const bool timed_out = worker_.told_to_stop() == JobWorker::Stop::timeout;
    const bool server_lost = result.status == Result::Status::unavailable && !timed_out;
    record.attempts = request.attempt;
    record.outcome = outcome_of(result.status, timed_out);
    record.reason = result.summary;
    if (record.outcome == schedule::Outcome::succeeded) {
      record.counts = result.counts;
      finish(record, result, began);
      co_return TickEnd::finished;
    }
    if (result.status == Result::Status::deposed && !deposed()) {
      shared_.deposed();
    }
    if (worker_.told_to_stop() == JobWorker::Stop::shutdown || deposed()) {
      co_return TickEnd::interrupted;
    }
    if (timed_out) {
      record.reason = timeout_reason(policy.timeout, result);
    }
    if (!server_lost && retries_left-- <= 0) {
      finish(record, result, began);
      co_return TickEnd::finished;
    }
    server_lost ? log_server_lost(record) : log_retry(record);
    tell_changed();
    switch (
        co_await wait_to_retry(backoff.next(), server_lost, next_due_after(record.scheduled_at))) {
      case After::retry:
        break;
      case After::next_tick:
        record.reason += "; gave way to the next tick";
        finish(record, result, began);
        co_return TickEnd::gave_way;
      case After::stopping:
        co_return TickEnd::interrupted;
    }
  }
}

asio::awaitable<Result> JobLoop::run_attempt(const Work& what, const Request& request) {
  Result result = co_await worker_.call(what, request, spec_.job.run.timeout);
  shared_.idle.ring();
  co_return result;
}

JobWorker::Told JobLoop::told_of_worker() {
  return {.wedged =
              [this] {
                log_wedged(name(), *run_, spec_.job.run.timeout + shared_.hard_limit_grace);
                tell([&](Observer& observer) { observer.wedged(name()); });
              },
          .released =
              [this] {
                log_released(name(), *run_);
                tell([&](Observer& observer) { observer.released(name()); });
              }};
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
    if (handing_over()) {
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
  const auto busy = elapsed_since(began);
  record.finished_at = shared_.clock.now();
  run_.reset();
  // One as of another moment says nothing of what is due now.
  if (!record.as_of) {
    last_run_ = record;
    if (record.outcome == schedule::Outcome::succeeded) {
      last_success_ = record.finished_at;
    }
  }
  log_finished(record, result, busy);
  tell([&](Observer& observer) { observer.tick_ended(record, busy); });
  shared_.ledger.add(std::move(record));
}

/// What runs before this start, or another instance's, left behind, for who looks.
void JobLoop::remember(const Past& past) {
  if (past.last_run && (!last_run_ || last_run_->scheduled_at < past.last_run->scheduled_at)) {
    last_run_ = past.last_run;
  }
  last_success_ = std::max(last_success_, past.last_success);
  tell_changed();
}

void JobLoop::tell_changed() {
  tell([&](Observer& observer) { observer.job_changed(name()); });
}

void JobLoop::break_off() { worker_.stop(JobWorker::Stop::shutdown); }

void JobLoop::help_wanted() {
  if (!is_ours()) {
    help_wanted_ = true;
    timer_->poke();
  }
}

void JobLoop::leadership_changed() {
  if (!is_led()) {
    return;
  }
  if (deposed()) {
    worker_.stop(JobWorker::Stop::deposed);
  }
  timer_->poke();
}

void JobLoop::leave_behind() const {
  if (worker_.busy() && run_) {
    log_left_behind(name(), *run_);
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

}  // namespace saathii::runner
