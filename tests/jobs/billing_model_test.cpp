#include <rapidcheck.h>

#include <array>
#include <ostream>

#include "billing_world.hpp"

// coin_deduction and call_cleanup against the model, over random histories of
// small platforms. What RapidCheck found is below, each as a case of its own.

using namespace saathii;
using namespace saathii::test;
using std::chrono::seconds;

namespace {

constexpr int none = -1;
constexpr int missing = -2;

struct Person {
  int coins;       ///< none: NULL; missing: no wallet
  int seen_ago_s;  ///< none: NULL; missing: no status row
  int wait_time;   ///< none: NULL
};

struct Talk {
  int caller;
  int listener;
  int type;  ///< 0 video, 1 NULL, else audio
  int started_ago_s;
  int coins_spent;  ///< none: NULL
};

struct Step {
  enum class Kind {
    deduct,
    deduct_again,
    deduct_limited,
    deduct_in_the_past,
    clean,
    clean_page_by_page,
    top_up,
    end,
    heartbeat,
    everybody_is_seen,
    rate,
    increment,
    start,
    no_wait_time,
    remove,
    last
  };
  Kind kind;
  int pause_s;
  int who;
  int amount;
};

std::ostream& operator<<(std::ostream& out, const Person& person) {
  return out << '{' << person.coins << ", " << person.seen_ago_s << ", " << person.wait_time << '}';
}
std::ostream& operator<<(std::ostream& out, const Talk& talk) {
  return out << '{' << talk.caller << ", " << talk.listener << ", " << talk.type << ", "
             << talk.started_ago_s << ", " << talk.coins_spent << '}';
}
std::ostream& operator<<(std::ostream& out, const Step& step) {
  static constexpr const char* names[] = {
      "deduct",    "deduct_again",       "deduct_limited", "deduct_in_the_past",
      "clean",     "clean_page_by_page", "top_up",         "end",
      "heartbeat", "everybody_is_seen",  "rate",           "increment",
      "start",     "no_wait_time",       "remove"};
  return out << "{Step::Kind::" << names[static_cast<int>(step.kind)] << ", " << step.pause_s
             << ", " << step.who << ", " << step.amount << '}';
}

struct History {
  std::string begin;
  std::string zone;
  bool earns_coins = false;
  int callers = 0;  ///< the first so many are callers alone; 0: anybody is
  std::vector<Person> people;
  std::vector<Talk> talks;
  std::vector<std::pair<int, int>> badges;  ///< listener, hours after the beginning
  std::vector<Step> steps;
};

/// Plays a history; what went wrong first, if anything.
class Play {
 public:
  Play(Stage& stage, const History& history)
      : history_(history), world_(stage, at(history.begin), history.zone, history.earns_coins) {}

  std::string run() {
    set_up();
    for (std::size_t i = 0; i < history_.steps.size(); ++i) {
      world_.pass(seconds{history_.steps[i].pause_s});
      step(history_.steps[i]);
      const std::string wrong = world_.differences();
      if (!wrong.empty()) return fmt::format("after step {}:\n{}", i + 1, wrong);
    }
    return "";
  }

 private:
  int anybody(int number) const { return 1 + number % static_cast<int>(history_.people.size()); }
  int caller(int number) const {
    return history_.callers == 0 ? anybody(number) : 1 + number % history_.callers;
  }
  int listener(int number) const {
    const int others = static_cast<int>(history_.people.size()) - history_.callers;
    return history_.callers + 1 + number % others;
  }

  void set_up() {
    for (const Person& person : history_.people) {
      model::User user;
      user.has_wallet = person.coins != missing;
      if (person.coins >= 0) user.coins = person.coins;
      user.has_status = person.seen_ago_s != missing;
      if (user.has_status) {
        if (person.seen_ago_s != none) user.last_seen = world_.now() - seconds{person.seen_ago_s};
        if (person.wait_time != none) user.wait_time = person.wait_time;
        user.is_busy = true;
      }
      world_.add_user(user);
    }
    for (const Talk& talk : history_.talks) add(talk);
    for (const auto& [number, hours] : history_.badges) {
      world_.add_badge(listener(number),
                       world_.expected().day(world_.now() + std::chrono::hours{hours}),
                       {101 + 13 * number, 703 + 17 * number});
    }
  }

  void add(const Talk& talk) {
    const int who = talk.caller == none ? 0 : caller(talk.caller);
    const std::string type = talk.type == 0 ? "video" : talk.type == 1 ? "" : "audio";
    const auto coins =
        talk.coins_spent == none ? std::nullopt : std::optional<std::int64_t>(talk.coins_spent);
    if (who == 0 || world_.expected().users.contains(who)) {
      if (world_.expected().users.contains(listener(talk.listener))) {
        world_.add_call(who, listener(talk.listener), type,
                        world_.now() - seconds{talk.started_ago_s}, coins);
      }
    }
  }

  void step(const Step& what) {
    model::Limits limits;
    switch (what.kind) {
      case Step::Kind::deduct_limited:
        limits.catch_up = 1 + what.amount % 4;
        [[fallthrough]];
      case Step::Kind::deduct:
      case Step::Kind::deduct_again:
        return world_.deduct(world_.now(), limits);
      case Step::Kind::deduct_in_the_past:
        return world_.deduct(world_.now() - seconds{what.amount}, limits);
      case Step::Kind::clean_page_by_page:
        limits.page = 1 + static_cast<std::size_t>(what.who % 2);
        limits.catch_up = what.amount % 3;
        [[fallthrough]];
      case Step::Kind::clean:
        return world_.clean(world_.now(), limits);
      case Step::Kind::top_up:
        return world_.top_up(anybody(what.who), what.amount);
      case Step::Kind::end:
        return world_.end(1 + what.who);
      case Step::Kind::heartbeat:
        return world_.heartbeat(anybody(what.who));
      case Step::Kind::everybody_is_seen:
        for (std::size_t i = 0; i < history_.people.size(); ++i) {
          world_.heartbeat(static_cast<int>(i) + 1);
        }
        return;
      case Step::Kind::rate:
        return world_.set_rate(what.who % 2 == 0 ? "audio" : "video", 1 + what.amount % 77);
      case Step::Kind::increment:
        return world_.set_increment(std::array{seconds{60}, seconds{6}, seconds{1}, seconds{97}}.at(
            static_cast<std::size_t>(what.amount % 4)));
      case Step::Kind::start:
        return add({what.who, what.amount, what.amount % 3, 0, what.amount % 3 == 0 ? 60 : 10});
      case Step::Kind::no_wait_time:
        return world_.set_wait_time(anybody(what.who), what.amount % 3 - 1);
      case Step::Kind::remove:
        return world_.remove_user(anybody(what.who));
      case Step::Kind::last:
        break;
    }
  }

  const History& history_;
  World world_;
};

rc::Gen<Person> any_person() {
  return rc::gen::map(
      rc::gen::tuple(
          rc::gen::element(1000, 0, 5, 9, 10, 19, 25, 30, 55, 60, 65, 100, 130, 250, none, missing),
          rc::gen::element(0, 0, 30, 100, 500, 590, 600, 601, 700, 2000, none, missing),
          rc::gen::element(none, none, none, 1, 3, 6, 100, 0)),
      [](const std::tuple<int, int, int>& drawn) {
        return Person{std::get<0>(drawn), std::get<1>(drawn), std::get<2>(drawn)};
      });
}

rc::Gen<Talk> any_talk() {
  return rc::gen::map(
      rc::gen::tuple(rc::gen::oneOf(rc::gen::inRange(0, 5), rc::gen::inRange(none, 5)),
                     rc::gen::inRange(0, 5), rc::gen::inRange(0, 12),
                     rc::gen::oneOf(rc::gen::inRange(0, 400), rc::gen::element(60, 120, 180, 0, 59),
                                    rc::gen::inRange(-100, 3000)),
                     rc::gen::element(10, 10, 60, none, 0, 5, 15, 25, 30, 120, 1000)),
      [](const std::tuple<int, int, int, int, int>& drawn) {
        return Talk{std::get<0>(drawn), std::get<1>(drawn), std::get<2>(drawn), std::get<3>(drawn),
                    std::get<4>(drawn)};
      });
}

rc::Gen<Step> any_step() {
  const auto kind =
      rc::gen::weightedOneOf<int>({{6, rc::gen::just(static_cast<int>(Step::Kind::deduct))},
                                   {3, rc::gen::just(static_cast<int>(Step::Kind::clean))},
                                   {6, rc::gen::inRange(0, static_cast<int>(Step::Kind::last))}});
  return rc::gen::map(
      rc::gen::tuple(kind,
                     rc::gen::oneOf(rc::gen::inRange(0, 90), rc::gen::element(60, 120, 30),
                                    rc::gen::inRange(0, 1500)),
                     rc::gen::inRange(0, 6), rc::gen::inRange(0, 200)),
      [](const std::tuple<int, int, int, int>& drawn) {
        return Step{static_cast<Step::Kind>(std::get<0>(drawn)), std::get<1>(drawn),
                    std::get<2>(drawn), std::get<3>(drawn)};
      });
}

History any_history() {
  History history;
  history.people =
      *rc::gen::resize(7, rc::gen::nonEmpty(rc::gen::container<std::vector<Person>>(any_person())));
  history.people.resize(std::max<std::size_t>(history.people.size(), 2), Person{1000, 0, none});
  history.talks = *rc::gen::resize(8, rc::gen::container<std::vector<Talk>>(any_talk()));
  history.badges =
      *rc::gen::resize(4, rc::gen::container<std::vector<std::pair<int, int>>>(
                              rc::gen::pair(rc::gen::inRange(0, 4), rc::gen::inRange(-24, 25))));
  history.steps = *rc::gen::resize(9, rc::gen::container<std::vector<Step>>(any_step()));
  return history;
}

void agrees(Stage& stage, const History& history) {
  const std::string wrong = Play(stage, history).run();
  RC_LOG() << wrong;
  RC_ASSERT(wrong.empty());
}

}  // namespace

TEST_CASE("random histories charge and end as the model does") {
  Stage stage;
  CHECK(rc::check("where midnight is skipped", [&] {
    History history = any_history();
    history.begin = "2026-03-28T21:40:00Z";
    history.zone = "Asia/Beirut";
    agrees(stage, history);
  }));
  CHECK(rc::check("where the hour before midnight comes twice, earnings in coins", [&] {
    History history = any_history();
    history.begin = "2026-10-25T00:45:30Z";
    history.zone = "Atlantic/Azores";
    history.earns_coins = true;
    history.callers = static_cast<int>(history.people.size() + 1) / 2;
    agrees(stage, history);
  }));
  CHECK(rc::check("with few who call, and often twice at a time", [&] {
    History history = any_history();
    history.begin = "2026-06-01T18:10:00.25Z";
    history.zone = "Asia/Kolkata";
    history.callers = 1;
    agrees(stage, history);
  }));
}
