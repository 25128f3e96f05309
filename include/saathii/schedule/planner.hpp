#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "saathii/base/time.hpp"
#include "saathii/schedule/trigger.hpp"

// Pure: "given this job's history and this moment, which ticks are due, what
// became of the ticks in between, and when to look next?"

namespace saathii::schedule {

/// What became of a tick. Every expected tick ends as exactly one of these.
enum class Outcome { succeeded, failed, timed_out, skipped, coalesced, missed };

/// All of them.
inline constexpr std::array outcomes = {Outcome::succeeded, Outcome::failed,    Outcome::timed_out,
                                        Outcome::skipped,   Outcome::coalesced, Outcome::missed};

/// The word stored in the run ledger: "succeeded", "timed_out", ….
[[nodiscard]] std::string_view to_string(Outcome outcome);

/// The outcome of that word. Throws std::invalid_argument for any other.
[[nodiscard]] Outcome to_outcome(std::string_view word);

/// It ran and did not do its work.
[[nodiscard]] constexpr bool is_failure(Outcome outcome) {
  return outcome == Outcome::failed || outcome == Outcome::timed_out;
}

/// What happens to a tick that comes due while the job's previous run goes on.
enum class Overlap {
  skip,   ///< it ends as skipped
  queue,  ///< the newest such tick runs right after; older ones are skipped
};

/// What to do with ticks that are late.
struct Policy {
  /// How late a tick may start; a later one ends as missed.
  Duration misfire_grace = std::chrono::minutes{1};
  /// Of several late ticks only the newest runs; the others end as coalesced.
  bool coalesce = true;
  /// Without coalesce: how many late ticks may run, newest kept; the others end as missed.
  int catch_up_limit = 10;
  Overlap overlap = Overlap::skip;
  /// Ticks start up to this much later, by an amount that job and tick decide,
  /// and never beyond half of the way to the next tick. How late a tick is
  /// counts from its start.
  Duration jitter{0};
};

/// Ticks that were offered to the job or skipped, as closed intervals
/// [first, last] within which every tick of the trigger was: none of them is due
/// again. Sorted, disjoint, at most `max_spans`. Beyond that the two oldest are
/// joined, if the ticks between them have their outcome: those had been written off,
/// and stay so. Else, under a clock that was set back, what is farthest ahead is
/// forgotten: to run twice is better than to be silent until then.
struct Offered {
  struct Span {
    Instant first;
    Instant last;
  };
  static constexpr std::size_t max_spans = 256;
  std::vector<Span> spans;

  /// The span that holds `tick`, if one does.
  [[nodiscard]] std::optional<Span> span_of(Instant tick) const;
  [[nodiscard]] bool contains(Instant tick) const { return span_of(tick).has_value(); }
  /// Every tick in `span` was offered; every one up to `settled` has its outcome.
  void add(Span span, const Trigger& trigger, Instant settled);
};

/// What the planner must remember of a job between two looks.
struct History {
  /// Every tick at or before it has its outcome; ticks after it are to come.
  Instant cursor;
  /// So that a clock set back does not repeat a tick that ran.
  Offered offered;
  /// What was offered before it is not known here, only to the run ledger: a
  /// history that was resumed does not reach further back.
  Instant known_from = Instant::min();

  /// Every tick in `span` was offered.
  void offer(Offered::Span span, const Trigger& trigger) { offered.add(span, trigger, cursor); }
  void offer(Instant tick, const Trigger& trigger) { offer({tick, tick}, trigger); }
};

/// The history after a restart, from what the run ledger holds: the latest tick
/// at or before `now` that has an outcome, and the ticks after `now` that were
/// offered (a clock was set back), ascending. With no last tick the job is new:
/// its first tick is the next one.
[[nodiscard]] History resume(std::optional<Instant> last_tick,
                             const std::vector<Instant>& offered_ahead, const Trigger& trigger,
                             Instant now);

/// A tick that ends without a run.
struct WrittenOff {
  Instant first;             ///< the tick, or the oldest of a range
  Instant last;              ///< equal to `first` for one tick
  std::int64_t ticks = 1;    ///< how many ticks the range holds
  Outcome outcome;           ///< skipped, coalesced or missed
  std::string reason;        ///< for the operator; the same each time that it is the reason
  std::string details = {};  ///< what differs: moments, how late

  [[nodiscard]] std::string full_reason() const {
    return details.empty() ? reason : reason + ": " + details;
  }
};

/// What to do now.
struct Plan {
  std::vector<WrittenOff> written_off;  ///< oldest first
  std::vector<Instant> due;             ///< to run now, oldest first; at most catch_up_limit
  Instant wake;                         ///< when to look next, always after `now`
  History history;                      ///< replaces the one given
  /// The clock was set back to before what the history knows: resume() again
  /// from the run ledger, or ticks that ran before the restart may be due again.
  bool past_unknown = false;
};

/// Written-off ticks are listed one by one up to this many; older ones of the
/// same look are summed up in ranges, one for each stretch of ticks in a row.
inline constexpr std::int64_t max_listed_ticks = 10'000;

/// With nothing ever due, look again after this long.
inline constexpr Duration max_sleep = std::chrono::hours{24};

class Planner {
 public:
  /// `seed` makes this job's jitter differ from other jobs' (its name's hash).
  Planner(Trigger trigger, Policy policy, std::uint64_t seed)
      : trigger_(std::move(trigger)), policy_(policy), seed_(seed) {}

  /// Looks at the moment `now`. `busy_since` is given right after a run that
  /// began then: ticks that came due in between overlapped it. Give `now` less
  /// the time that the run took by a steady clock: then a wall clock that was
  /// set during the run does not pass for a long run. If `now` is before the
  /// history's cursor the clock was set back: nothing is due until time passes
  /// again, and ticks that ran are not repeated.
  [[nodiscard]] Plan look(History history, Instant now,
                          std::optional<Instant> busy_since = std::nullopt) const;

  /// When `tick` starts: the tick and its jitter.
  [[nodiscard]] Instant start_of(Instant tick) const;

  /// How many ticks one look may hand out: catch_up_limit, at least 1.
  [[nodiscard]] std::size_t due_limit() const;

  [[nodiscard]] const Trigger& trigger() const noexcept { return trigger_; }
  [[nodiscard]] const Policy& policy() const noexcept { return policy_; }

 private:
  struct Stretch;
  struct Late;

  [[nodiscard]] Late late_ticks(const Offered& offered, Instant after, Instant until,
                                std::size_t limit) const;
  void plan_overlapped(const Late& late, Instant busy_since, Plan& plan) const;
  void plan_late(const Late& late, Instant now, Plan& plan) const;
  [[nodiscard]] Instant wake_after(const Offered& offered, Instant now) const;

  Trigger trigger_;
  Policy policy_;
  std::uint64_t seed_;
};

}  // namespace saathii::schedule
