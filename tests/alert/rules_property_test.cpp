#include <rapidcheck.h>

#include <deque>
#include <map>
#include <optional>
#include <set>

#include "catch.hpp"
#include "saathii/alert/rules.hpp"

// Whatever happens, in whatever order: what people get makes sense.

using namespace saathii;
using namespace saathii::alert;
using namespace std::chrono_literals;
using schedule::Outcome;
using Steady = std::chrono::steady_clock::time_point;

namespace {

const std::vector<std::string> jobs = {"a", "b", "c"};

/// Follows the messages and holds them to what the rules promise.
class Reader {
 public:
  explicit Reader(const config::Alerts& settings) : settings_(settings) {}

  void read(const Message& message, Steady now) {
    if (message.event == Message::Event::held_back) {
      RC_ASSERT(!notice_ || now - *notice_ >= 1h);
      notice_ = now;
      return;
    }
    sent_.push_back(now);
    while (now - sent_.front() >= 1h) {
      sent_.pop_front();
    }
    RC_ASSERT(sent_.size() <= static_cast<std::size_t>(settings_.max_per_hour));
    RC_ASSERT(message.alerts.size() == message.kinds.size());
    for (std::size_t i = 0; i < message.kinds.size(); ++i) {
      read(message, message.alerts[i], {message.subject, message.kinds[i]}, now);
    }
  }

  using Key = std::pair<std::string, Kind>;
  [[nodiscard]] const std::set<Key>& open() const { return open_; }

 private:
  void read(const Message& message, const std::string& id, const Key& key, Steady now) {
    switch (message.event) {
      case Message::Event::opened:
        RC_ASSERT(open_.insert(key).second);
        RC_ASSERT(!opened_.contains(key) || now - opened_[key] >= settings_.min_gap);
        opened_[key] = last_[key] = now;
        ids_[key] = id;
        break;
      case Message::Event::repeated:
        RC_ASSERT(open_.contains(key));
        RC_ASSERT(now - last_[key] >= settings_.repeat_after);
        RC_ASSERT(ids_[key] == id);
        last_[key] = now;
        break;
      default:
        RC_ASSERT(message.event == Message::Event::recovered);
        RC_ASSERT(open_.erase(key) == 1U);
        RC_ASSERT(ids_[key] == id);
    }
  }

  const config::Alerts settings_;
  std::deque<Steady> sent_;
  std::optional<Steady> notice_;
  std::set<Key> open_;
  std::map<Key, Steady> opened_;
  std::map<Key, Steady> last_;
  std::map<Key, std::string> ids_;
};

class World {
 public:
  explicit World(const config::Alerts& settings) : rules(settings), reader(settings) {}

  void look() {
    for (const Message& message : rules.look(now)) {
      reader.read(message, now.steady);
    }
  }
  void pass(Duration time) {
    now.wall += time;
    now.steady += time;
    look();
  }
  /// Long enough for whatever was held back to be sent.
  void settle() {
    for (int i = 0; i < 200; ++i) {
      pass(10min);
    }
  }
  void ended(const std::string& job, Outcome outcome) {
    runner::Record record;
    record.job = job;
    record.outcome = outcome;
    record.run_id = outcome == Outcome::missed ? "" : "run of " + job;
    rules.tick_ended(record, now);
  }
  void happen(int what, const std::string& job) {
    switch (what) {
      case 0:
        return ended(job, Outcome::succeeded);
      case 1:
        return ended(job, Outcome::failed);
      case 2:
        return ended(job, Outcome::missed);
      case 3:
        return rules.wedged(job, now);
      case 4:
        return rules.released(job, now);
      case 5:
        return rules.run_started(job, {"run of " + job, now.wall, now.wall}, 3min, now);
      case 6:
        return rules.health_changed(
            {health::Level::failing, {{health::Level::failing, "disk " + job, "full"}}, now.wall},
            now);
      default:
        return rules.health_changed({}, now);
    }
  }
  void heal() {
    for (const auto& job : jobs) {
      ended(job, Outcome::succeeded);
      rules.released(job, now);
    }
    rules.health_changed({}, now);
  }

  Rules rules;
  Reader reader;
  Time now{Instant{1h * 500'000}, Steady{} + 1000h};
};

}  // namespace

TEST_CASE("whatever happens, what is told is in order, bounded, and right in the end") {
  const bool holds = rc::check([] {
    config::Alerts settings;
    settings.max_per_hour = *rc::gen::inRange(1, 8);
    settings.min_gap = std::chrono::minutes{*rc::gen::inRange(0, 30)};
    settings.repeat_after = std::chrono::minutes{*rc::gen::inRange(30, 500)};
    World world(settings);
    const auto events = *rc::gen::container<std::vector<std::tuple<int, int, int>>>(
        rc::gen::tuple(rc::gen::inRange(0, 8), rc::gen::inRange(0, 3), rc::gen::inRange(0, 900)));
    for (const auto& [what, job, seconds] : events) {
      world.happen(what, jobs[static_cast<std::size_t>(job)]);
      world.pass(std::chrono::seconds{seconds});
      RC_ASSERT(world.rules.size() <= 5 * jobs.size());
    }
    // All is well: whatever was told of as open is told of as over, and forgotten.
    world.heal();
    world.settle();
    RC_ASSERT(world.reader.open().empty());
    RC_ASSERT(world.rules.size() == 0U);
    // And what stays wrong is told of in the end, whatever was before.
    world.ended("a", Outcome::failed);
    world.settle();
    RC_ASSERT(world.reader.open() == (std::set<Reader::Key>{{"a", Kind::failed}}));
  });
  CHECK(holds);
}
