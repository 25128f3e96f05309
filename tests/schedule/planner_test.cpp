#include "saathii/schedule/planner.hpp"

#include <algorithm>

#include "catch.hpp"

using namespace saathii;
using namespace saathii::schedule;
using namespace std::chrono_literals;

namespace {

const Instant noon = parse_iso8601("2026-11-22T12:00:00Z").value();

TimeZone utc() { return tz::locate_zone("UTC"); }

Trigger every(Duration interval) { return {Every{interval}, utc()}; }

Trigger every_second_by_cron() {
  std::string error;
  return {parse_cron("* * * * * *", error).value(), utc()};
}

History since(Instant cursor) {
  History history;
  history.cursor = cursor;
  return history;
}

/// "12:01 coalesced", one text for each row; a range as "12:00-12:05 x6 missed".
std::vector<std::string> rows(const Plan& plan) {
  const auto clock = [](Instant moment) { return to_iso8601(moment).substr(11, 5); };
  std::vector<std::string> texts;
  for (const WrittenOff& row : plan.written_off) {
    std::string text = clock(row.first);
    if (row.ticks != 1) {
      text += "-" + clock(row.last) + " x" + std::to_string(row.ticks);
    }
    texts.push_back(text + " " + std::string(to_string(row.outcome)));
  }
  return texts;
}

using Ticks = std::vector<Instant>;
using Rows = std::vector<std::string>;

}  // namespace

TEST_CASE("outcomes have the ledger's names") {
  CHECK(to_string(Outcome::succeeded) == "succeeded");
  CHECK(to_string(Outcome::failed) == "failed");
  CHECK(to_string(Outcome::timed_out) == "timed_out");
  CHECK(to_string(Outcome::skipped) == "skipped");
  CHECK(to_string(Outcome::coalesced) == "coalesced");
  CHECK(to_string(Outcome::missed) == "missed");
}

TEST_CASE("a tick on time is due once") {
  const Planner planner(every(1min), Policy{}, 1);
  Plan plan = planner.look(since(noon - 30s), noon - 10s);
  CHECK(plan.due.empty());
  CHECK(plan.written_off.empty());
  CHECK(plan.wake == noon);
  plan = planner.look(plan.history, noon + 2ms);
  CHECK(plan.due == Ticks{noon});
  CHECK(plan.written_off.empty());
  CHECK(plan.wake == noon + 1min);
  plan = planner.look(plan.history, noon + 3ms);
  CHECK(plan.due.empty());
  CHECK(plan.wake == noon + 1min);
}

TEST_CASE("of several late ticks the newest runs, the others are coalesced into it") {
  const Planner planner(every(1min), Policy{}, 1);
  const Plan plan = planner.look(since(noon - 1s), noon + 3min + 5s);
  CHECK(plan.due == Ticks{noon + 3min});
  CHECK(rows(plan) == Rows{"12:00 coalesced", "12:01 coalesced", "12:02 coalesced"});
  CHECK(plan.written_off[0].details == "that of 2026-11-22T12:03:00Z");
}

TEST_CASE("a tick later than the grace is missed, and so are those before it") {
  const Planner planner(every(1h), Policy{}, 1);
  const Plan plan = planner.look(since(noon - 1s), noon + 1h + 5min);
  CHECK(plan.due.empty());
  CHECK(rows(plan) == Rows{"12:00 missed", "13:00 missed"});
  CHECK(plan.written_off[1].details == "it was 5 min late");
  CHECK(plan.written_off[0].details == "it was 1 h 5 min late");
  CHECK(planner.look(since(noon - 1s), noon + 1min).due == Ticks{noon});
  CHECK(planner.look(since(noon - 1s), noon + 1min + 1us).due.empty());
}

TEST_CASE("without coalesce late ticks run, the newest up to the limit") {
  Policy policy;
  policy.coalesce = false;
  policy.catch_up_limit = 2;
  policy.misfire_grace = 3min;
  const Planner planner(every(1min), policy, 1);
  const Plan plan = planner.look(since(noon - 1s), noon + 4min + 30s);
  CHECK(plan.due == Ticks{noon + 3min, noon + 4min});
  CHECK(rows(plan) == Rows{"12:00 missed", "12:01 missed", "12:02 missed"});
  CHECK(plan.written_off[0].reason == "later than the misfire grace of 3 min");
  CHECK(plan.written_off[2].reason == "beyond the catch-up limit of 2");
  CHECK(planner.look(plan.history, noon + 4min + 31s).due.empty());
}

TEST_CASE("ticks that came due during a run are skipped") {
  const Planner planner(every(1min), Policy{}, 1);
  Plan plan = planner.look(since(noon - 1s), noon);
  REQUIRE(plan.due == Ticks{noon});
  plan = planner.look(plan.history, noon + 2min + 30s, noon + 1s);
  CHECK(plan.due.empty());
  CHECK(rows(plan) == Rows{"12:01 skipped", "12:02 skipped"});
  CHECK(plan.written_off[0].reason == "the previous run was still going");
  CHECK(plan.written_off[0].details == "it started at 2026-11-22T12:00:01Z");
  CHECK(plan.wake == noon + 3min);
  CHECK(planner.look(plan.history, noon + 2min + 31s).due.empty());
  // Skipped is final: a clock that is set back does not bring it again.
  const Plan back = planner.look(plan.history, noon + 30s);
  CHECK(back.wake == noon + 3min);
}

TEST_CASE("or the newest of them is queued, however long the run took") {
  Policy policy;
  policy.overlap = Overlap::queue;
  const Planner planner(every(1h), policy, 1);
  Plan plan = planner.look(since(noon - 1s), noon);
  plan = planner.look(plan.history, noon + 2h + 30min, noon);
  CHECK(plan.due == Ticks{noon + 2h});
  CHECK(rows(plan) == Rows{"13:00 skipped"});
  CHECK(plan.written_off[0].details ==
        "it started at 2026-11-22T12:00:00Z; the tick of 2026-11-22T14:00:00Z was queued");
  CHECK(planner.look(plan.history, noon + 2h + 31min).due.empty());
}

TEST_CASE("ticks from before the run follow the rules of late ones") {
  Policy policy;
  const Planner skip(every(1min), policy, 1);
  Plan plan = skip.look(since(noon - 1s), noon + 2min, noon + 90s);
  CHECK(rows(plan) == Rows{"12:00 coalesced", "12:02 skipped"});
  CHECK(plan.due == Ticks{noon + 1min});

  policy.overlap = Overlap::queue;
  const Planner queue(every(1min), policy, 1);
  plan = queue.look(since(noon - 1s), noon + 3min, noon + 90s);
  CHECK(rows(plan) == Rows{"12:00 coalesced", "12:01 coalesced", "12:02 skipped"});
  CHECK(plan.due == Ticks{noon + 3min});

  policy.coalesce = false;
  policy.catch_up_limit = 2;
  policy.misfire_grace = 1h;
  const Planner catch_up(every(1min), policy, 1);
  plan = catch_up.look(since(noon - 1min), noon + 3min, noon + 90s);
  CHECK(rows(plan) == Rows{"12:00 missed", "12:02 skipped"});
  CHECK(plan.due == Ticks{noon + 1min, noon + 3min});
}

TEST_CASE("a run that began after now, by a clock set back, overlaps nothing") {
  const Planner planner(every(1min), Policy{}, 1);
  Plan plan = planner.look(since(noon - 1s), noon);
  plan = planner.look(plan.history, noon - 10min, noon + 1s);
  CHECK(plan.due.empty());
  CHECK(plan.written_off.empty());
  CHECK(plan.wake == noon - 9min);
}

TEST_CASE("a clock set back repeats nothing, and goes on with what never ran") {
  const Planner planner(every(1min), Policy{}, 1);
  Plan plan = planner.look(since(noon - 1s), noon);
  REQUIRE(plan.due == Ticks{noon});
  // Forward by ten minutes: nine ticks are coalesced into one run.
  plan = planner.look(plan.history, noon + 10min);
  REQUIRE(plan.due == Ticks{noon + 10min});
  REQUIRE(plan.written_off.size() == 9);
  // Back again: what was only written off comes due as time passes.
  plan = planner.look(plan.history, noon - 30s);
  CHECK(plan.due.empty());
  CHECK(plan.written_off.empty());
  CHECK_FALSE(plan.past_unknown);
  CHECK(plan.wake == noon + 1min);
  for (int minute = 1; minute < 10; ++minute) {
    plan = planner.look(plan.history, plan.wake);
    CHECK(plan.due == Ticks{noon + std::chrono::minutes{minute}});
    CHECK(plan.written_off.empty());
  }
  CHECK(plan.wake == noon + 11min);
  CHECK(planner.look(plan.history, noon + 10min + 1s).due.empty());
}

TEST_CASE("jitter depends on seed and tick, stays in its bounds and keeps the order") {
  Policy policy;
  policy.jitter = 20s;
  const Planner planner(every(1min), policy, 1);
  const Planner other(every(1min), policy, 2);
  int different = 0;
  Duration least = 1h;
  Duration most{0};
  for (int i = 0; i < 1000; ++i) {
    const Instant tick = noon + std::chrono::minutes{i};
    const Duration jitter = planner.start_of(tick) - tick;
    CHECK(jitter == planner.start_of(tick) - tick);
    different += other.start_of(tick) - tick != jitter ? 1 : 0;
    least = std::min(least, jitter);
    most = std::max(most, jitter);
  }
  CHECK(least >= 0s);
  CHECK(least < 1s);
  CHECK(most > 19s);
  CHECK(most <= 20s);
  CHECK(different > 990);

  policy.jitter = 10min;
  const Planner wide(every(1min), policy, 1);
  for (int i = 0; i < 1000; ++i) {
    const Instant tick = noon + std::chrono::minutes{i};
    CHECK(wide.start_of(tick) <= tick + 30s);
  }
}

TEST_CASE("a tick whose jittered start is ahead is still to come") {
  Policy policy;
  policy.jitter = 20s;
  const Planner planner(every(1min), policy, 1);
  const Instant start = planner.start_of(noon);
  REQUIRE(start > noon + 1us);
  Plan plan = planner.look(since(noon - 1s), noon);
  CHECK(plan.due.empty());
  CHECK(plan.wake == start);
  CHECK(plan.history.cursor < noon);
  plan = planner.look(plan.history, start - 1us);
  CHECK(plan.due.empty());
  CHECK(plan.wake == start);
  plan = planner.look(plan.history, start);
  CHECK(plan.due == Ticks{noon});
  CHECK(plan.wake == planner.start_of(noon + 1min));
  // How late it is counts from its start.
  CHECK(planner.look(since(noon - 1s), start + 59s).due == Ticks{noon});
  // Came due during the run, though its tick was before it.
  plan = planner.look(since(noon - 1s), start + 1s, noon + 1us);
  CHECK(rows(plan) == Rows{"12:00 skipped"});
}

TEST_CASE("with nothing to come the planner still looks again") {
  const Planner past({Once{noon}, utc()}, Policy{}, 1);
  CHECK(past.look(since(noon), noon + 1s).wake == noon + 1s + max_sleep);
  const Planner far({Once{noon + 72h}, utc()}, Policy{}, 1);
  CHECK(far.look(since(noon), noon).wake == noon + max_sleep);
  CHECK(far.look(since(noon), noon + 60h).wake == noon + 72h);
  CHECK(far.look(since(noon), noon + 72h).due == Ticks{noon + 72h});
}

TEST_CASE("years of ticks are summed up, all of them counted") {
  const auto years = std::chrono::days{3653};
  for (const Trigger& trigger : {every(1s), every_second_by_cron()}) {
    const Planner planner(trigger, Policy{}, 1);
    const Plan plan = planner.look(since(noon - years), noon);
    CHECK(plan.due == Ticks{noon});
    REQUIRE(plan.written_off.size() == static_cast<std::size_t>(max_listed_ticks));
    const WrittenOff& range = plan.written_off.front();
    CHECK(range.first == noon - years + 1s);
    CHECK(range.last == noon - std::chrono::seconds{max_listed_ticks});
    CHECK(range.ticks == (range.last - range.first) / 1s + 1);
    CHECK(range.outcome == Outcome::coalesced);
    CHECK(plan.written_off[1].first == range.last + 1s);
  }
  Policy policy;
  policy.overlap = Overlap::queue;
  const Planner planner(every(1s), policy, 1);
  const Plan plan = planner.look(since(noon - years), noon, noon - years / 2);
  std::int64_t ticks = 0;
  for (const WrittenOff& row : plan.written_off) {
    ticks += row.ticks;
  }
  CHECK(ticks == years / std::chrono::seconds{1} - 1);
  CHECK(plan.written_off.size() <= static_cast<std::size_t>(max_listed_ticks) + 2);
  CHECK(plan.history.offered.spans.size() == 1);
}

TEST_CASE("a sum does not reach across ticks that ran") {
  const Planner planner(every(1s), Policy{}, 1);
  History history = since(noon - 24h);
  history.offer(noon - 12h, planner.trigger());
  const Plan plan = planner.look(history, noon);
  REQUIRE(plan.written_off.size() == static_cast<std::size_t>(max_listed_ticks) + 1);
  CHECK(plan.written_off[0].first == noon - 24h + 1s);
  CHECK(plan.written_off[0].last == noon - 12h - 1s);
  CHECK(plan.written_off[1].first == noon - 12h + 1s);
}

TEST_CASE("offered ticks in a row are one span") {
  const Trigger trigger = every(1min);
  History history;
  const Offered& offered = history.offered;
  for (const int minute : {5, 1, 3, 2, 4}) {
    history.offer(noon + std::chrono::minutes{minute}, trigger);
  }
  REQUIRE(offered.spans.size() == 1);
  CHECK(offered.spans[0].first == noon + 1min);
  CHECK(offered.spans[0].last == noon + 5min);
  CHECK_FALSE(offered.contains(noon));
  CHECK(offered.contains(noon + 1min));
  CHECK(offered.contains(noon + 5min));
  CHECK_FALSE(offered.contains(noon + 6min));
  history.offer(noon + 8min, trigger);
  history.offer(noon - 8min, trigger);
  CHECK(offered.spans.size() == 3);
  history.offer({noon - 10min, noon + 7min}, trigger);
  REQUIRE(offered.spans.size() == 1);
  CHECK(offered.spans[0].first == noon - 10min);
  CHECK(offered.spans[0].last == noon + 8min);
  history.offer(noon, trigger);
  CHECK(offered.spans.size() == 1);
}

TEST_CASE("spans are bounded: the two oldest are joined, where all between them is settled") {
  const Trigger trigger = every(1min);
  History history;
  const Offered& offered = history.offered;
  for (int i = 0; i < 1000; ++i) {
    history.cursor = noon + std::chrono::minutes{2 * i};
    history.offer(history.cursor, trigger);
    CHECK(offered.spans.size() <= Offered::max_spans);
  }
  for (int i = 0; i < 1000; ++i) {
    CHECK(offered.contains(noon + std::chrono::minutes{2 * i}));
  }
  CHECK_FALSE(offered.contains(noon + 1997min));
  // The clock is set back: nothing in between is settled now.
  history.cursor = noon - 24h;
  history.offer(noon - 24h, trigger);
  CHECK(offered.spans.size() == Offered::max_spans);
  CHECK(offered.contains(noon - 24h));
  CHECK_FALSE(offered.contains(noon - 23h));
  CHECK_FALSE(offered.contains(noon + 1998min));
}

TEST_CASE("a clock far behind what ran, and set right, leaves no tick in between unheard") {
  const Planner planner{every(1s), {.coalesce = true}, 0};
  // Runs under a clock that was days ahead, with a gap after each.
  std::vector<Instant> ahead;
  for (int i = 0; i < 1000; ++i) {
    ahead.push_back(noon + std::chrono::hours{24} + std::chrono::seconds{2 * i});
  }
  ahead.insert(ahead.begin(), noon - 1h);
  const Instant behind = noon - std::chrono::hours{72};
  Plan plan = planner.look(resume(behind - 1h, ahead, planner.trigger(), behind), behind);
  plan = planner.look(plan.history, noon + 1ms);
  CHECK(plan.due == std::vector{noon});
  CHECK(plan.wake == noon + 1s);
}

TEST_CASE("a history is resumed from the run ledger") {
  const Trigger trigger = every(1min);
  const Planner planner(trigger, Policy{}, 1);

  Plan plan = planner.look(resume(std::nullopt, {}, trigger, noon + 1s), noon + 1s);
  CHECK(plan.due.empty());
  CHECK(plan.written_off.empty());
  CHECK(plan.wake == noon + 1min);

  plan = planner.look(resume(noon - 3min, {}, trigger, noon + 1s), noon + 1s);
  CHECK(plan.due == Ticks{noon});
  CHECK(rows(plan) == Rows{"11:58 coalesced", "11:59 coalesced"});

  // The clock was set back by five minutes, then the daemon was started anew.
  plan = planner.look(resume(noon, {noon + 1min, noon + 2min, noon + 4min}, trigger, noon + 1s),
                      noon + 1s);
  CHECK(plan.due.empty());
  CHECK(plan.wake == noon + 3min);
  plan = planner.look(plan.history, noon + 3min);
  CHECK(plan.due == Ticks{noon + 3min});
  CHECK(plan.wake == noon + 5min);

  // Set back further than this history knows: only the ledger can tell.
  CHECK_FALSE(plan.past_unknown);
  CHECK(planner.look(plan.history, noon - 1s).past_unknown);
  CHECK_FALSE(planner.look(plan.history, noon).past_unknown);
}
