#include <algorithm>

#include "saathii/runner/job_loop.hpp"

// What a job looks like to those who ask.

namespace saathii::runner {

JobView JobLoop::view() const {
  const JobSpec& spec = replacement_ ? *replacement_ : spec_;
  JobView view;
  view.name = spec.job.name;
  view.kind = spec.job.kind;
  view.schedule = spec.job.trigger.describe();
  view.zone = spec.job.trigger.zone();
  view.state = worker_.wedged() ? JobView::State::stuck
               : worker_.busy() ? JobView::State::running
               : run_           ? JobView::State::retrying
               : !is_ours()     ? JobView::State::standby
                                : JobView::State::waiting;
  view.paused = paused_;
  view.run = run_;
  view.last = last_run_;
  view.last_success = last_success_;
  view.armed_at = armed_at_;
  view.timeout = spec.job.run.timeout;
  view.success_deadline = is_ours() ? success_deadline(spec.job) : std::nullopt;
  view.next_run = paused_ || !is_ours() ? std::nullopt : next_run(spec.job);
  return view;
}

/// The start of the next tick, which a wait for its jitter may still precede.
std::optional<Instant> JobLoop::next_run(const config::Job& job) const {
  // A tick that comes while a run goes on may not run at all.
  const bool at_rest = !run_ && !replacement_;
  auto next = job.trigger.next_after(at_rest ? history_.cursor
                                             : std::max(shared_.clock.now(), history_.cursor));
  while (next) {
    const auto offered = history_.offered.span_of(*next);
    if (!offered) {
      return planner_of(job).start_of(*next);
    }
    next = job.trigger.next_after(offered->last);
  }
  return std::nullopt;
}

/// A tick is given until the one after it, but for at most its time limit, and
/// then as long again, at most an hour, for what it may have had to wait for.
std::optional<Instant> JobLoop::success_deadline(const config::Job& job) const {
  // A moment to come is one of a clock that was ahead.
  const Instant since =
      std::min(std::max(last_success_.value_or(armed_at_), wanted_since_), shared_.clock.now());
  if (job.run.success_deadline > Duration{0}) {
    return since + job.run.success_deadline;
  }
  const auto tick = job.trigger.next_after(since);
  const auto after = tick ? job.trigger.next_after(*tick) : std::nullopt;
  if (!tick) {
    return std::nullopt;
  }
  const Duration gap = after ? *after - *tick : job.run.timeout;
  return *tick + job.policy.jitter + std::min(job.run.timeout, gap) +
         std::min<Duration>(gap, std::chrono::hours{1});
}

}  // namespace saathii::runner
