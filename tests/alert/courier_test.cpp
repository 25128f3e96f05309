#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/capture_stderr.hpp"
#include "catch.hpp"
#include "saathii/alert/courier.hpp"
#include "support/watched.hpp"

using namespace saathii;
using namespace saathii::alert;
using namespace std::chrono_literals;
using saathii::test::Watched;
using Event = Message::Event;
using Strings = std::vector<std::string>;

namespace {

/// Answers as it is told to, and may be held up.
class FakeChannel final : public Channel {
 public:
  struct State {
    Strings sent;                                  ///< titles, one for each try
    std::deque<Verdict> verdicts;                  ///< when empty: delivered
    std::function<Verdict(Delivery&)> judge = {};  ///< in their place
    bool blocked = false;
    bool deaf = false;  ///< does not hear a stop
    int inside = 0;
  };

  Verdict send(Delivery& delivery, const std::stop_token& stop) override {
    Verdict verdict;
    state.change([&](State& s) {
      s.sent.push_back(delivery.letter->title);
      ++s.inside;
      if (s.judge) {
        verdict = s.judge(delivery);
      } else if (!s.verdicts.empty()) {
        verdict = s.verdicts.front();
        s.verdicts.pop_front();
      }
    });
    const std::stop_callback wake(stop, [this] { state.change([](State&) {}); });
    if (!state.wait(
            [&](const State& s) { return !s.blocked || (!s.deaf && stop.stop_requested()); })) {
      verdict = {Verdict::Kind::refused, "the test never released it"};
    } else if (stop.stop_requested()) {
      verdict = {Verdict::Kind::retry, "stopped"};
    }
    state.change([](State& s) { --s.inside; });
    return verdict;
  }

  [[nodiscard]] bool wait_for_tries(std::size_t count) {
    return state.wait([&](const State& s) { return s.sent.size() >= count; });
  }
  [[nodiscard]] Strings sent() const { return state.get().sent; }

  Watched<State> state;
};

std::shared_ptr<const Letter> letter(const std::string& title, Event event = Event::opened,
                                     const std::string& alert = "") {
  Letter made;
  made.title = title;
  made.message.event = event;
  made.message.alerts = {alert.empty() ? title : alert};
  made.message.kinds = {Kind::failed};
  made.message.subject = "job";
  return std::make_shared<const Letter>(std::move(made));
}

CourierOptions fast() {
  CourierOptions options;
  options.backoff = 1ms;
  options.backoff_cap = 1ms;
  return options;
}

/// Until a try has failed and its letter waits for the next one.
[[nodiscard]] bool wait_for_failed_try(const Courier& courier) {
  const auto deadline = std::chrono::steady_clock::now() + saathii::test::patience;
  while (courier.counts().tries_failed == 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  return courier.counts().tries_failed > 0;
}

/// After which nothing is tried again by itself within a test.
CourierOptions patient() {
  CourierOptions options;
  options.backoff = 24h;
  options.backoff_cap = 24h;
  return options;
}

void finish(Courier& courier) {
  courier.begin_finish(std::chrono::steady_clock::now() + 1h);
  courier.finish();
}

const Verdict retry{Verdict::Kind::retry, "the server is down"};
const Verdict put_off{
    .kind = Verdict::Kind::retry, .detail = "452 mailbox full", .is_letters_own = true};

/// One recipient gets the opening of `a`, the other one is put off again and again.
Verdict reach_one(Delivery& delivery) {
  if (delivery.letter->title != "a failed") {
    return {};
  }
  delivery.reached.insert("ops@example.org");
  return put_off;
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) {
    ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("letters are delivered in order, each with a line in the log") {
  const CaptureStderr log;
  const auto channel = std::make_shared<FakeChannel>();
  Courier courier("mail", fast());
  courier.use(channel, 1h);
  for (const auto* title : {"one", "two", "three"}) {
    courier.post(letter(title));
  }
  REQUIRE(channel->wait_for_tries(3));
  courier.begin_finish(std::chrono::steady_clock::now() + 1h);
  courier.finish();
  CHECK(channel->sent() == Strings{"one", "two", "three"});
  CHECK(courier.counts().delivered == 3);
  CHECK(courier.counts().waiting == 0);
  const std::string text = log.text();
  CHECK(count_of(text, "alert sent by mail: two") == 1);
  CHECK(count_of(text, "ALERT=two ALERT_EVENT=opened CHANNEL=mail ATTEMPTS=1 JOB=job") == 1);
}

TEST_CASE("what fails is tried again until it succeeds, and holds its place") {
  const auto channel = std::make_shared<FakeChannel>();
  channel->state.change([](auto& s) { s.verdicts = {retry, retry, retry}; });
  Courier courier("mail", fast());
  courier.use(channel, 1h);
  courier.post(letter("one"));
  courier.post(letter("two"));
  REQUIRE(channel->wait_for_tries(5));
  courier.begin_finish(std::chrono::steady_clock::now() + 1h);
  courier.finish();
  CHECK(channel->sent() == Strings{"one", "one", "one", "one", "two"});
  CHECK(courier.counts().delivered == 2);
  CHECK(courier.counts().tries_failed == 3);
  CHECK(courier.counts().given_up == 0);
}

TEST_CASE("a letter that is refused, or too old, is given up and logged") {
  const CaptureStderr log;
  const auto channel = std::make_shared<FakeChannel>();
  channel->state.change([](auto& s) {
    s.verdicts = {{Verdict::Kind::refused, "no such user: correct to"}, retry};
  });
  Courier courier("mail", fast());
  courier.use(channel, 0s);
  courier.post(letter("one"));
  courier.post(letter("two"));
  courier.post(letter("three"));
  REQUIRE(channel->wait_for_tries(3));
  courier.begin_finish(std::chrono::steady_clock::now() + 1h);
  courier.finish();
  CHECK(courier.counts().given_up == 2);
  CHECK(courier.counts().delivered == 1);
  const std::string text = log.text();
  CHECK(count_of(text, "alert not sent by mail: one: no such user: correct to") == 1);
  CHECK(count_of(text,
                 "alert not sent by mail: two: given up after 1 attempt: the server is "
                 "down") == 1);
}

TEST_CASE("a recovery is not sent if the opening never arrived") {
  const auto channel = std::make_shared<FakeChannel>();
  channel->state.change([](auto& s) { s.verdicts = {{Verdict::Kind::refused, "no"}}; });
  Courier courier("mail", fast());
  courier.use(channel, 1h);
  courier.post(letter("a failed", Event::opened, "a"));
  courier.post(letter("a recovered", Event::recovered, "a"));
  courier.post(letter("b failed", Event::opened, "b"));
  courier.post(letter("b recovered", Event::recovered, "b"));
  REQUIRE(channel->wait_for_tries(3));
  courier.begin_finish(std::chrono::steady_clock::now() + 1h);
  courier.finish();
  CHECK(channel->sent() == Strings{"a failed", "b failed", "b recovered"});
}

TEST_CASE("a full queue loses what matters least, and says so once") {
  const CaptureStderr log;
  const auto channel = std::make_shared<FakeChannel>();
  channel->state.change([](auto& s) { s.blocked = true; });
  CourierOptions options = fast();
  options.queue_limit = 3;
  Courier courier("mail", options);
  courier.use(channel, 1h);
  courier.post(letter("in progress"));
  REQUIRE(channel->wait_for_tries(1));
  courier.post(letter("a"));
  courier.post(letter("b again", Event::repeated, "b"));
  courier.post(letter("c over", Event::recovered, "c"));
  courier.post(letter("d"));  // b again goes
  courier.post(letter("e"));  // c over goes
  courier.post(letter("f"));  // a goes
  CHECK(courier.counts().waiting == 4);
  CHECK(courier.counts().dropped == 3);
  channel->state.change([](auto& s) { s.blocked = false; });
  REQUIRE(channel->wait_for_tries(4));
  courier.begin_finish(std::chrono::steady_clock::now() + 1h);
  courier.finish();
  CHECK(channel->sent() == Strings{"in progress", "d", "e", "f"});
  CHECK(count_of(log.text(), "more than 3 alerts wait to be sent by mail") == 1);
  CHECK(count_of(log.text(), "mail works again; 3 alerts dropped meanwhile") == 1);
}

TEST_CASE("of one alert that goes on only the newest repetition waits") {
  const auto channel = std::make_shared<FakeChannel>();
  channel->state.change([](auto& s) { s.blocked = true; });
  Courier courier("mail", fast());
  courier.use(channel, 1h);
  courier.post(letter("in progress"));
  REQUIRE(channel->wait_for_tries(1));
  for (const auto* title : {"first", "second", "third"}) {
    courier.post(letter(title, Event::repeated, "a"));
  }
  CHECK(courier.counts().waiting == 2);
  channel->state.change([](auto& s) { s.blocked = false; });
  REQUIRE(channel->wait_for_tries(2));
  courier.begin_finish(std::chrono::steady_clock::now() + 1h);
  courier.finish();
  CHECK(channel->sent() == Strings{"in progress", "third"});
}

TEST_CASE("posting never waits for a channel that hangs, and the end breaks it off") {
  const CaptureStderr log;
  const auto channel = std::make_shared<FakeChannel>();
  channel->state.change([](auto& s) { s.blocked = true; });
  Courier courier("mail", fast());
  courier.use(channel, 1h);
  courier.post(letter("hangs"));
  REQUIRE(channel->wait_for_tries(1));
  courier.post(letter("waits"));
  courier.begin_finish(std::chrono::steady_clock::now());
  courier.finish();
  CHECK(courier.counts().given_up == 2);
  CHECK(count_of(log.text(), "alert not sent by mail: hangs: saathiid ends; stopped") == 1);
  CHECK(count_of(log.text(), "alert not sent by mail: waits: saathiid ended before it could be") ==
        1);
}

TEST_CASE("at the end what waits for another try is tried once more") {
  const CaptureStderr log;
  const auto channel = std::make_shared<FakeChannel>();
  channel->state.change([](auto& s) { s.verdicts = {retry}; });
  CourierOptions options;
  options.backoff = 24h;
  options.backoff_cap = 24h;
  Courier courier("mail", options);
  courier.use(channel, 1h);
  courier.post(letter("one"));
  REQUIRE(wait_for_failed_try(courier));
  courier.post(letter("two"));
  courier.begin_finish(std::chrono::steady_clock::now() + 1h);
  courier.finish();
  CHECK(channel->sent() == Strings{"one", "one", "two"});
  CHECK(courier.counts().delivered == 2);
}

TEST_CASE("another channel takes over what waits, and none drops it") {
  const auto first = std::make_shared<FakeChannel>();
  const auto second = std::make_shared<FakeChannel>();
  first->state.change([](auto& s) { s.blocked = true; });
  Courier courier("mail", fast());
  courier.post(letter("before there is a channel"));
  courier.use(first, 1h);
  courier.post(letter("one"));
  REQUIRE(first->wait_for_tries(1));
  courier.post(letter("two"));
  courier.use(second, 1h);
  REQUIRE(second->wait_for_tries(2));
  CHECK(second->sent() == Strings{"one", "two"});

  REQUIRE(second->state.wait([](const auto& s) { return s.inside == 0; }));
  second->state.change([](auto& s) { s.blocked = true; });
  courier.post(letter("three"));
  REQUIRE(second->wait_for_tries(3));
  courier.post(letter("four"));
  courier.use(nullptr, 1h);
  REQUIRE(second->state.wait([](const auto& s) { return s.inside == 0; }));
  courier.post(letter("after"));
  courier.begin_finish(std::chrono::steady_clock::now() + 1h);
  courier.finish();
  CHECK(courier.counts().delivered == 2);
  CHECK(courier.counts().given_up == 2);
}

TEST_CASE("a server that asks for patience gets it, within a bound") {
  const auto asks = [](Duration wait) {
    return Verdict{.kind = Verdict::Kind::retry, .detail = "busy", .wait = wait};
  };
  CHECK(pause_after(asks(0s), 5s) == 5s);
  CHECK(pause_after(asks(2s), 5s) == 5s);
  CHECK(pause_after(asks(7s), 5s) == 7s);
  CHECK(pause_after(asks(24h), 5s) == longest_wait);
  CHECK(pause_after(asks(24h), 1h) == 1h);
}

TEST_CASE("a letter that is put off for its own sake holds up no other") {
  const auto channel = std::make_shared<FakeChannel>();
  channel->state.change([](auto& s) {
    s.judge = [](Delivery& delivery) {
      return delivery.letter->title == "a failed" ? put_off : Verdict{};
    };
  });
  Courier courier("mail", patient());
  courier.use(channel, 1h);
  courier.post(letter("a failed", Event::opened, "a"));
  courier.post(letter("a recovered", Event::recovered, "a"));
  courier.post(letter("b failed", Event::opened, "b"));
  courier.post(letter("b recovered", Event::recovered, "b"));
  REQUIRE(channel->wait_for_tries(3));
  CHECK(channel->sent() == Strings{"a failed", "b failed", "b recovered"});
  // Nobody has heard of a: so nobody hears that it is over.
  finish(courier);
  CHECK(channel->sent() == Strings{"a failed", "b failed", "b recovered", "a failed"});
  CHECK(courier.counts().given_up == 1);
}

TEST_CASE("a server that asks for patience is left alone by all letters, and its turn goes on") {
  const auto channel = std::make_shared<FakeChannel>();
  channel->state.change([](auto& s) {
    s.verdicts = {{Verdict::Kind::retry, "429", 1ms, true},
                  {Verdict::Kind::retry, "429", 1ms, true}};
  });
  channel->state.change([](auto& s) { s.blocked = true; });
  Courier courier("webhook", fast());
  courier.use(channel, 1h);
  courier.post(letter("one"));
  REQUIRE(channel->wait_for_tries(1));
  courier.post(letter("two"));
  channel->state.change([](auto& s) { s.blocked = false; });
  REQUIRE(channel->wait_for_tries(4));
  finish(courier);
  // Not the same letter again and again.
  CHECK(channel->sent()[1] == "two");
  CHECK(courier.counts().delivered == 2);
}

TEST_CASE("whoever got the opening gets the recovery, though others could not be reached") {
  const CaptureStderr log;
  const auto channel = std::make_shared<FakeChannel>();
  channel->state.change([](auto& s) { s.judge = reach_one; });
  Courier courier("mail", fast());
  courier.use(channel, 0s);  // given up at once
  courier.post(letter("a failed", Event::opened, "a"));
  REQUIRE(wait_for_failed_try(courier));
  courier.post(letter("a recovered", Event::recovered, "a"));
  finish(courier);
  CHECK(channel->sent() == Strings{"a failed", "a recovered"});
  CHECK(courier.counts().given_up == 1);
  CHECK(count_of(log.text(), "alert not sent by mail: a failed: given up after 1 attempt") == 1);
}

TEST_CASE("a recovery does not wait for those who did not get the opening") {
  const CaptureStderr log;
  const auto channel = std::make_shared<FakeChannel>();
  channel->state.change([](auto& s) { s.judge = reach_one; });
  Courier courier("mail", patient());
  courier.use(channel, 1h);
  courier.post(letter("a failed", Event::opened, "a"));
  REQUIRE(wait_for_failed_try(courier));
  courier.post(letter("a recovered", Event::recovered, "a"));
  REQUIRE(channel->wait_for_tries(2));
  finish(courier);
  CHECK(channel->sent() == Strings{"a failed", "a recovered"});
  CHECK(count_of(log.text(), "a failed: to the others only its recovery is sent") == 1);
}

TEST_CASE("a full queue loses what opened and is over, and no recovery before its opening") {
  const auto channel = std::make_shared<FakeChannel>();
  channel->state.change([](auto& s) { s.blocked = true; });
  CourierOptions options = fast();
  options.queue_limit = 3;
  Courier courier("mail", options);
  courier.use(channel, 1h);
  courier.post(letter("x failed", Event::opened, "x"));
  REQUIRE(channel->wait_for_tries(1));
  courier.post(letter("x over", Event::recovered, "x"));  // its opening is under way: stays
  courier.post(letter("b failed", Event::opened, "b"));
  courier.post(letter("b over", Event::recovered, "b"));
  courier.post(letter("c failed", Event::opened, "c"));  // b goes, both of it
  CHECK(courier.counts().dropped == 2);
  courier.post(letter("d failed", Event::opened, "d"));
  courier.post(letter("d over", Event::recovered, "d"));  // goes with its opening
  CHECK(courier.counts().dropped == 4);
  courier.post(letter("e failed", Event::opened, "e"));
  courier.post(letter("f failed", Event::opened, "f"));  // c goes
  CHECK(courier.counts().dropped == 5);
  courier.post(letter("c over", Event::recovered, "c"));  // goes: nobody will hear of c
  channel->state.change([](auto& s) { s.blocked = false; });
  REQUIRE(channel->wait_for_tries(4));
  finish(courier);
  CHECK(channel->sent() == Strings{"x failed", "x over", "e failed", "f failed"});
}
