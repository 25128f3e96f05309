#include "saathii/schedule/planner.hpp"

#include <algorithm>
#include <stdexcept>

namespace saathii::schedule {

namespace {

constexpr Duration one_us{1};

/// A well-mixed number that depends on both (the finalizer of SplitMix64).
std::uint64_t mix(std::uint64_t seed, Instant tick) {
  std::uint64_t x = seed + 0x9E3779B97F4A7C15U *
                               (static_cast<std::uint64_t>(tick.time_since_epoch().count()) | 1U);
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

std::string late_details(Duration late, bool range) {
  return (range ? "the oldest was " : "it was ") + humanize(late) + " late";
}

}  // namespace

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::succeeded:
      return "succeeded";
    case Outcome::failed:
      return "failed";
    case Outcome::timed_out:
      return "timed_out";
    case Outcome::skipped:
      return "skipped";
    case Outcome::coalesced:
      return "coalesced";
    case Outcome::missed:
      break;
  }
  return "missed";
}

Outcome to_outcome(std::string_view word) {
  for (const Outcome outcome : outcomes) {
    if (to_string(outcome) == word) {
      return outcome;
    }
  }
  throw std::invalid_argument("there is no outcome \"" + std::string(word) + "\"");
}

std::optional<Offered::Span> Offered::span_of(Instant tick) const {
  const auto after =
      std::upper_bound(spans.begin(), spans.end(), tick,
                       [](Instant moment, const Span& span) { return moment < span.first; });
  if (after == spans.begin() || std::prev(after)->last < tick) {
    return std::nullopt;
  }
  return *std::prev(after);
}

void Offered::add(Span span, const Trigger& trigger, Instant settled) {
  auto at = std::lower_bound(spans.begin(), spans.end(), span.first,
                             [](const Span& other, Instant tick) { return other.last < tick; });
  while (at != spans.end() && at->first <= span.last) {
    span = {std::min(span.first, at->first), std::max(span.last, at->last)};
    at = spans.erase(at);
  }
  if (at != spans.end() && trigger.next_after(span.last) == at->first) {
    span.last = at->last;
    at = spans.erase(at);
  }
  if (at != spans.begin() && trigger.next_after(std::prev(at)->last) == span.first) {
    std::prev(at)->last = span.last;
    return;
  }
  spans.insert(at, span);
  if (spans.size() <= max_spans) {
    return;
  }
  if (spans[1].first <= settled) {
    spans[0].last = spans[1].last;
    spans.erase(std::next(spans.begin()));
  } else {
    spans.pop_back();
  }
}

History resume(std::optional<Instant> last_tick, const std::vector<Instant>& offered_ahead,
               const Trigger& trigger, Instant now) {
  History history;
  history.cursor = now;
  if (last_tick) {
    history.cursor = std::min(*last_tick, now);
    history.known_from = history.cursor;
    history.offer(*last_tick, trigger);
  }
  for (const Instant tick : offered_ahead) {
    history.offer(tick, trigger);
  }
  return history;
}

/// Late ticks in a row, with none offered in between.
struct Planner::Stretch {
  Instant first;
  Instant last;
  std::int64_t ticks;
};

struct Planner::Late {
  std::vector<Stretch> summed;  ///< older than those listed; oldest first
  std::vector<Instant> listed;  ///< the newest; oldest first

  [[nodiscard]] bool empty() const { return listed.empty(); }
};

std::size_t Planner::due_limit() const {
  constexpr int most = static_cast<int>(max_listed_ticks / 2);
  return static_cast<std::size_t>(std::clamp(policy_.catch_up_limit, 1, most));
}

Instant Planner::start_of(Instant tick) const {
  if (policy_.jitter <= Duration{0}) {
    return tick;
  }
  Duration most = policy_.jitter;
  if (const auto next = trigger_.next_after(tick)) {
    most = std::min(most, (*next - tick) / 2);
  }
  const std::uint64_t choices = static_cast<std::uint64_t>(most.count()) + 1;
  return tick + Duration{static_cast<std::int64_t>(mix(seed_, tick) % choices)};
}

/// The ticks in (after, until] that were not offered.
Planner::Late Planner::late_ticks(const Offered& offered, Instant after, Instant until,
                                  std::size_t limit) const {
  Late late;
  auto tick = trigger_.latest_at(until);
  while (tick && *tick > after) {
    if (const auto span = offered.span_of(*tick)) {
      tick = trigger_.latest_at(span->first - one_us);
      continue;
    }
    if (late.listed.size() < limit) {
      late.listed.push_back(*tick);
      tick = trigger_.latest_at(*tick - one_us);
      continue;
    }
    const auto older = std::find_if(offered.spans.rbegin(), offered.spans.rend(),
                                    [&](const auto& span) { return span.last < *tick; });
    const Instant below = older == offered.spans.rend() ? after : std::max(after, older->last);
    late.summed.push_back(
        {trigger_.next_after(below).value_or(*tick), *tick, trigger_.count_between(below, *tick)});
    tick = trigger_.latest_at(below);
  }
  std::reverse(late.summed.begin(), late.summed.end());
  std::reverse(late.listed.begin(), late.listed.end());
  return late;
}

/// Ticks that came due while a run went on: skipped, or the newest is queued.
void Planner::plan_overlapped(const Late& late, Instant busy_since, Plan& plan) const {
  if (late.empty()) {
    return;
  }
  const bool queue = policy_.overlap == Overlap::queue;
  const std::string reason = "the previous run was still going";
  std::string details = "it started at " + to_iso8601(busy_since);
  if (queue) {
    details += "; the tick of " + to_iso8601(late.listed.back()) + " was queued";
  }
  for (const Stretch& stretch : late.summed) {
    plan.written_off.push_back(
        {stretch.first, stretch.last, stretch.ticks, Outcome::skipped, reason, details});
    plan.history.offer({stretch.first, stretch.last}, trigger_);
  }
  for (const Instant tick : late.listed) {
    plan.history.offer(tick, trigger_);
    if (queue && tick == late.listed.back()) {
      plan.due.push_back(tick);
    } else {
      plan.written_off.push_back({tick, tick, 1, Outcome::skipped, reason, details});
    }
  }
}

/// Ticks that no run was in the way of: the newest within the grace are due.
/// What is in `plan.due` already is newer than all of them.
void Planner::plan_late(const Late& late, Instant now, Plan& plan) const {
  const std::size_t limit = policy_.coalesce ? 1 : due_limit();
  std::vector<Instant> due;
  for (auto tick = late.listed.rbegin(); tick != late.listed.rend(); ++tick) {
    if (due.size() + plan.due.size() == limit || now - start_of(*tick) > policy_.misfire_grace) {
      break;
    }
    due.push_back(*tick);
  }
  std::reverse(due.begin(), due.end());
  plan.due.insert(plan.due.begin(), due.begin(), due.end());
  for (const Instant tick : due) {
    plan.history.offer(tick, trigger_);
  }

  std::vector<WrittenOff> rows;
  const auto write_off = [&](const Stretch& stretch) {
    WrittenOff row{stretch.first, stretch.last, stretch.ticks, Outcome::missed, {}};
    const Duration lateness = now - start_of(stretch.first);
    if (policy_.coalesce && !plan.due.empty()) {
      row.outcome = Outcome::coalesced;
      row.reason = "coalesced into the run of a later tick";
      row.details = "that of " + to_iso8601(plan.due.front());
    } else if (lateness > policy_.misfire_grace) {
      row.reason = "later than the misfire grace of " + humanize(policy_.misfire_grace);
      row.details = late_details(lateness, stretch.ticks > 1);
    } else {
      row.reason = "beyond the catch-up limit of " + std::to_string(limit);
    }
    rows.push_back(std::move(row));
  };
  std::for_each(late.summed.begin(), late.summed.end(), write_off);
  for (std::size_t i = 0; i + due.size() < late.listed.size(); ++i) {
    write_off({late.listed[i], late.listed[i], 1});
  }
  plan.written_off.insert(plan.written_off.begin(), std::make_move_iterator(rows.begin()),
                          std::make_move_iterator(rows.end()));
}

Instant Planner::wake_after(const Offered& offered, Instant now) const {
  const Instant latest_wake = now + max_sleep;
  auto tick = trigger_.next_after(now);
  while (tick && *tick < latest_wake) {
    const auto span = offered.span_of(*tick);
    if (!span) {
      return std::min(start_of(*tick), latest_wake);
    }
    tick = trigger_.next_after(span->last);
  }
  return latest_wake;
}

Plan Planner::look(History history, Instant now, std::optional<Instant> busy_since) const {
  Plan plan;
  plan.past_unknown = now < history.known_from;
  if (now < history.cursor) {
    history.cursor = now;
  }
  const Instant after = history.cursor;
  plan.history = std::move(history);
  plan.wake = wake_after(plan.history.offered, now);
  Instant until = now;
  const auto latest = trigger_.latest_at(now);
  if (latest && *latest > after && !plan.history.offered.contains(*latest)) {
    if (const Instant start = start_of(*latest); start > now) {
      until = *latest - one_us;
      plan.wake = std::min(plan.wake, start);
    }
  }
  Instant busy_from = until;
  if (busy_since && *busy_since < until) {
    busy_from = std::max(after, *busy_since);
    const auto ready = trigger_.latest_at(busy_from);
    if (ready && *ready > after && start_of(*ready) > *busy_since) {
      busy_from = *ready - one_us;
    }
  }
  const auto limit = static_cast<std::size_t>(busy_since ? max_listed_ticks / 2 : max_listed_ticks);
  const Late overlapped = late_ticks(plan.history.offered, busy_from, until, limit);
  const Late late = late_ticks(plan.history.offered, after, busy_from, limit);
  plan.history.cursor = until;
  if (busy_since) {
    plan_overlapped(overlapped, *busy_since, plan);
  }
  plan_late(late, now, plan);
  return plan;
}

}  // namespace saathii::schedule
