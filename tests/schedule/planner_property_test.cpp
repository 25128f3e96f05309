#include <rapidcheck.h>

#include <map>
#include <set>

#include "catch.hpp"
#include "saathii/schedule/planner.hpp"

// The planner's promises over random histories: time passes, clocks are set,
// hosts suspend, daemons restart and crash, runs are slow. A small model of the
// runner and of the run ledger drives it.

using namespace saathii;
using namespace saathii::schedule;
using namespace std::chrono_literals;

namespace {

/// What happens next; amounts are in tenths of the trigger's usual distance.
struct Action {
  enum class Kind { pass, step, suspend, restart, slow_run, slow_run_and_step, crash_in_run };
  Kind kind;
  int amount;
  int step;
};

std::ostream& operator<<(std::ostream& out, const Action& action) {
  static constexpr const char* names[] = {
      "pass", "step", "suspend", "restart", "slow_run", "slow_run_and_step", "crash_in_run"};
  return out << names[static_cast<int>(action.kind)] << '(' << action.amount << ", " << action.step
             << ')';
}

bool is_final(Outcome outcome) {
  return outcome != Outcome::coalesced && outcome != Outcome::missed;
}

class World {
 public:
  World(Planner planner, Duration unit, Instant start)
      : planner_(std::move(planner)), unit_(unit), now_(start) {
    history_ = resume_from_ledger();
  }

  void act(const Action& action) {
    const Duration amount = unit_ * action.amount / 10;
    const Duration step = unit_ * action.step / 10;
    switch (action.kind) {
      case Action::Kind::pass:
        pass(amount);
        break;
      case Action::Kind::step:
        now_ += step;
        look();
        break;
      case Action::Kind::suspend:
        now_ += amount;
        look();
        break;
      case Action::Kind::restart:
        now_ += step;
        history_ = resume_from_ledger();
        look();
        break;
      case Action::Kind::slow_run:
        slow_run_ = Slow{amount, Duration{0}, false};
        break;
      case Action::Kind::slow_run_and_step:
        slow_run_ = Slow{amount, step, false};
        break;
      case Action::Kind::crash_in_run:
        slow_run_ = Slow{amount, Duration{0}, true};
        break;
    }
  }

  [[nodiscard]] const std::map<Instant, Outcome>& ledger() const { return ledger_; }
  [[nodiscard]] Instant now() const { return now_; }

  /// Follows the planner's wakes for so long.
  void pass(Duration length) {
    const Instant until = now_ + length;
    // One look for a tick and one after its run, more only where the clock is set back.
    const Duration set_back = slow_run_ ? std::max(-slow_run_->step, Duration{0}) : Duration{0};
    std::int64_t looks_left = planner_.trigger().count_between(now_ - set_back, until) * 2 +
                              (length + set_back) / max_sleep + 3;
    while (wake_ <= until && now_ <= until) {
      RC_ASSERT(looks_left-- > 0);
      now_ = std::max(now_, wake_);
      look();
    }
    now_ = std::max(now_, until);
  }

 private:
  struct Slow {
    Duration length;
    Duration step;
    bool crash;
  };

  History resume_from_ledger() {
    std::optional<Instant> last_tick;
    std::vector<Instant> ahead;
    for (const auto& [tick, outcome] : ledger_) {
      if (tick <= now_) {
        last_tick = tick;
      } else if (is_final(outcome)) {
        ahead.push_back(tick);
      }
    }
    return resume(last_tick, ahead, planner_.trigger(), now_);
  }

  void look() {
    std::optional<Instant> busy_since;
    do {
      const Instant looked_at = now_;
      Plan plan = planner_.look(history_, now_, busy_since);
      if (plan.past_unknown) {
        history_ = resume_from_ledger();
        plan = planner_.look(history_, now_, busy_since);
        RC_ASSERT(!plan.past_unknown);
      }
      take(plan, looked_at);
      busy_since = run(plan);
    } while (busy_since);
  }

  /// Checks the plan against every promise and writes it into the ledger.
  void take(const Plan& plan, Instant looked_at) {
    RC_ASSERT(plan.wake > looked_at);
    RC_ASSERT(plan.wake <= looked_at + max_sleep);
    RC_ASSERT(plan.due.size() <= planner_.due_limit());
    RC_ASSERT(plan.history.offered.spans.size() <= Offered::max_spans);
    std::optional<Instant> before;
    for (const WrittenOff& row : plan.written_off) {
      RC_ASSERT(!before || row.first > *before);
      before = row.last;
      RC_ASSERT(!row.reason.empty());
      RC_ASSERT(row.ticks == 1);
      RC_ASSERT(row.first == row.last);
      record(row.first, row.outcome);
    }
    for (const Instant tick : plan.due) {
      RC_ASSERT(planner_.start_of(tick) <= looked_at);
      RC_ASSERT(plan.history.offered.contains(tick));
      record(tick, Outcome::succeeded);
    }
    for (auto tick = planner_.trigger().next_after(std::min(history_.cursor, looked_at));
         tick && *tick <= plan.history.cursor; tick = planner_.trigger().next_after(*tick)) {
      RC_ASSERT(ledger_.count(*tick) == 1U);
    }
    history_ = plan.history;
    wake_ = plan.wake;
  }

  void record(Instant tick, Outcome outcome) {
    RC_ASSERT(planner_.trigger().latest_at(tick) == tick);
    const auto [known, is_new] = ledger_.emplace(tick, outcome);
    if (!is_new) {
      RC_ASSERT(!is_final(known->second));
      if (is_final(outcome)) {
        known->second = outcome;
      }
    }
  }

  /// Runs what is due. Returns since when the job was busy, if it was.
  std::optional<Instant> run(const Plan& plan) {
    if (plan.due.empty()) {
      return std::nullopt;
    }
    const Slow slow = slow_run_.value_or(Slow{});
    slow_run_.reset();
    now_ += slow.length;
    const bool newest_is_due =
        plan.written_off.empty() || plan.written_off.back().last < plan.due.back();
    if (slow.crash && newest_is_due) {
      // The run left nothing, the ledger neither: the tick comes again.
      ledger_.erase(plan.due.back());
      history_ = resume_from_ledger();
      return now_;
    }
    now_ += slow.step;
    return now_ - slow.length;
  }

  Planner planner_;
  Duration unit_;
  Instant now_;
  Instant wake_ = Instant::min();
  History history_;
  std::map<Instant, Outcome> ledger_;
  std::optional<Slow> slow_run_;
};

struct Rule {
  Trigger trigger;
  Duration unit;
};

Rule random_rule() {
  static const std::vector<const char*> zones = {"UTC", "Europe/Berlin", "Asia/Kolkata",
                                                 "Australia/Lord_Howe", "Pacific/Apia"};
  const TimeZone zone = tz::locate_zone(*rc::gen::elementOf(zones));
  struct Pattern {
    const char* text;
    Duration unit;
  };
  static const std::vector<Pattern> patterns = {
      {"*/5 * * * *", 5min},   {"*/10 * * * * *", 10s}, {"0,1,30 * * * *", 20min},
      {"15 2 * * *", 24h},     {"0 9-17 * * 1-5", 4h},  {"30 1,2,3 * * *", 8h},
      {"0 0 1 * *", 24h * 30}, {"* * * * *", 1min},
  };
  switch (*rc::gen::inRange(0, 3)) {
    case 0: {
      const Duration interval = *rc::gen::element<Duration>(1s, 7s, 1min, 90s, 1h, 24h, 100h);
      return {{Every{interval}, zone}, interval};
    }
    case 1:
      return {{Daily{std::chrono::seconds{*rc::gen::inRange(0, 86400)}}, zone}, 24h};
    default: {
      const Pattern pattern = *rc::gen::map(rc::gen::inRange<std::size_t>(0, patterns.size()),
                                            [](std::size_t i) { return patterns[i]; });
      std::string error;
      return {{parse_cron(pattern.text, error).value(), zone}, pattern.unit};
    }
  }
}

Policy random_policy(Duration unit) {
  Policy policy;
  policy.misfire_grace = unit * *rc::gen::inRange(0, 40) / 10;
  policy.coalesce = *rc::gen::arbitrary<bool>();
  policy.catch_up_limit = *rc::gen::inRange(1, 6);
  policy.overlap = *rc::gen::element(Overlap::skip, Overlap::queue);
  policy.jitter = *rc::gen::arbitrary<bool>() ? unit * *rc::gen::inRange(0, 20) / 10 : Duration{0};
  return policy;
}

/// Near a change of the clock, in one of the zones, half of the time.
Instant random_start() {
  static const std::vector<const char*> changes = {"2026-03-29T00:00:00Z", "2026-10-25T00:00:00Z",
                                                   "2026-04-04T14:00:00Z", "2026-10-03T14:00:00Z",
                                                   "2011-12-30T09:00:00Z"};
  if (*rc::gen::arbitrary<bool>()) {
    return parse_iso8601(*rc::gen::elementOf(changes)).value() -
           std::chrono::seconds{*rc::gen::inRange(-7200, 7200)};
  }
  return Instant{std::chrono::seconds{*rc::gen::inRange<std::int64_t>(0, 2'000'000'000)}};
}

std::vector<Action> random_actions() {
  const auto action = rc::gen::map(
      rc::gen::tuple(rc::gen::inRange(0, 7), rc::gen::inRange(0, 200), rc::gen::inRange(-300, 300)),
      [](const std::tuple<int, int, int>& t) {
        return Action{static_cast<Action::Kind>(std::get<0>(t)), std::get<1>(t), std::get<2>(t)};
      });
  return *rc::gen::container<std::vector<Action>>(action);
}

World random_world() {
  const Rule rule = random_rule();
  const Policy policy = random_policy(rule.unit);
  return {Planner(rule.trigger, policy, *rc::gen::arbitrary<std::uint64_t>()), rule.unit,
          random_start()};
}

}  // namespace

TEST_CASE("no tick twice, none without an outcome, always a next look") {
  CHECK(rc::check("over random histories", [] {
    World world = random_world();
    world.pass(Duration{0});
    std::size_t finals = 0;
    for (const Action& action : random_actions()) {
      world.act(action);
      finals = 0;
      for (const auto& [tick, outcome] : world.ledger()) {
        finals += is_final(outcome) ? 1U : 0U;
      }
    }
    RC_CLASSIFY(finals > 10, "many runs");
  }));
}

TEST_CASE("while nothing disturbs it, every tick runs on time") {
  CHECK(rc::check("wake by wake", [] {
    const Rule rule = random_rule();
    Policy policy = random_policy(rule.unit);
    const Planner planner(rule.trigger, policy, *rc::gen::arbitrary<std::uint64_t>());
    const Instant start = random_start();
    Plan plan = planner.look(resume(std::nullopt, {}, rule.trigger, start), start);
    std::vector<Instant> ran;
    Instant now = start;
    for (int looks = 0; looks < 200; ++looks) {
      now = plan.wake;
      plan = planner.look(plan.history, now);
      RC_ASSERT(plan.written_off.empty());
      RC_ASSERT(plan.due.size() <= 1U);
      for (const Instant tick : plan.due) {
        RC_ASSERT(planner.start_of(tick) == now);
        ran.push_back(tick);
      }
    }
    if (!ran.empty()) {
      RC_ASSERT(rule.trigger.next_after(start) == ran.front());
      RC_ASSERT(rule.trigger.count_between(start, ran.back()) ==
                static_cast<std::int64_t>(ran.size()));
    }
  }));
}

TEST_CASE("after a wrong clock is set right again, every tick of true time runs") {
  CHECK(rc::check("forward and back", [] {
    const Duration interval = *rc::gen::element<Duration>(1s, 1min, 1h);
    const Planner planner({Every{interval}, tz::locate_zone("UTC")}, Policy{}, 1);
    const Instant start = random_start();
    World world(planner, interval, start);
    world.pass(interval * *rc::gen::inRange(0, 20));
    const Instant before = world.now();
    const int wrong_by = *rc::gen::inRange(1, 3000);
    world.act({Action::Kind::step, 0, 10 * wrong_by});
    const auto jumped_to = planner.trigger().latest_at(world.now());
    world.act({Action::Kind::step, 0, -10 * wrong_by});
    world.pass(interval * (wrong_by + 10));
    for (auto tick = planner.trigger().next_after(before); tick && *tick <= world.now();
         tick = planner.trigger().next_after(*tick)) {
      RC_ASSERT(tick == jumped_to || world.ledger().at(*tick) == Outcome::succeeded);
    }
  }));
}
