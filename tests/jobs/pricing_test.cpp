#include "saathii/jobs/pricing.hpp"

#include <fmt/format.h>
#include <rapidcheck.h>

#include <algorithm>

#include "catch.hpp"

// What calls cost, without a database: contract section 5, coin_deduction.

using namespace saathii;
using namespace saathii::jobs::billing;

namespace {

using std::chrono::seconds;

constexpr Instant T{Duration{1'894'701'600'000'000}};

Tariff tariff(Duration minute = std::chrono::minutes{1}) {
  Tariff tariff;
  tariff.rates["audio"].add(Instant::min(), 10);
  tariff.rates["video"].add(Instant::min(), 60);
  tariff.minutes.add(Instant::min(), minute);
  return tariff;
}

/// A call whose first minute the API has taken.
Call call(int id, int caller, seconds ago, std::string type = "audio") {
  Call call;
  call.call_id = id;
  call.user_id = caller;
  call.listener_id = 1000 + id;
  call.start_time = T - ago;
  call.coins_spent = type == "video" ? 60 : 10;
  call.call_type = std::move(type);
  return call;
}

Wallets wallet(int user, std::int64_t balance) {
  return {{user, {.wallet_id = 7, .balance = balance}}};
}

/// "1/2:10 1/3:10": call/minute:coins of what was charged now.
std::string charged(const Bill& bill) {
  std::string text;
  for (const auto& minute : bill.minutes) {
    if (minute.source != Source::api) {
      text += fmt::format("{}{}/{}:{}", text.empty() ? "" : " ", minute.call_id, minute.number,
                          minute.coins);
    }
  }
  return text;
}

const Charged& of(const Bill& bill, int call_id) {
  return *std::ranges::find(bill.calls, call_id, &Charged::call_id);
}

}  // namespace

TEST_CASE("pricing: a minute is due from the very microsecond in which it starts") {
  const auto due = [](Duration lasted) {
    auto ongoing = call(1, 5, seconds{0});
    ongoing.start_time = T - lasted;
    return charged(price({ongoing}, wallet(5, 1000), tariff(), {.moment = T}));
  };
  CHECK(due(seconds{60} - Duration{1}).empty());
  CHECK(due(seconds{60}) == "1/2:10");
  CHECK(due(seconds{120} - Duration{1}) == "1/2:10");
  CHECK(due(seconds{120}) == "1/2:10 1/3:10");
  CHECK(due(-Duration{1}).empty());
}

TEST_CASE("pricing: a call that begins later has no minute, even unpaid ones") {
  auto ongoing = call(1, 5, seconds{-1});
  ongoing.coins_spent = 0;
  CHECK(price({ongoing}, wallet(5, 1000), tariff(), {.moment = T}).minutes.empty());
}

TEST_CASE("pricing: what the API had taken becomes the ledger's first minutes") {
  auto ongoing = call(1, 5, seconds{180});
  ongoing.coins_spent = 25;  // two minutes at 10, and 5 that fit nothing
  const auto bill = price({ongoing}, wallet(5, 1000), tariff(), {.moment = T});
  REQUIRE(bill.minutes.size() == 4);
  CHECK(bill.minutes[0].coins == 15);
  CHECK(bill.minutes[1].coins == 10);
  CHECK(bill.minutes[1].source == Source::api);
  CHECK_FALSE(bill.minutes[1].balance_after);
  CHECK(charged(bill) == "1/3:10 1/4:10");
  CHECK(of(bill, 1).coins_spent == 45);
}

TEST_CASE("pricing: the ledger decides what is paid, not the sum") {
  auto ongoing = call(1, 5, seconds{180});
  ongoing.coins_spent = 10;
  ongoing.charged_minutes = 3;
  CHECK(charged(price({ongoing}, wallet(5, 1000), tariff(), {.moment = T})) == "1/4:10");
}

TEST_CASE("pricing: minutes are paid in the order in which they started, over all calls") {
  // Minute 2 of the first started 70 s ago, of the second 30 s ago; then both minutes 3.
  const std::vector<Call> calls{call(1, 5, seconds{130}), call(2, 5, seconds{90})};
  CHECK(charged(price(calls, wallet(5, 10), tariff(), {.moment = T})) == "1/2:10");
  const auto two = price(calls, wallet(5, 20), tariff(), {.moment = T});
  CHECK(charged(two) == "1/2:10 2/2:10");
  CHECK(of(two, 1).is_short);
  CHECK_FALSE(of(two, 2).is_short);
  CHECK(two.wait_times.empty());
  CHECK(charged(price(calls, wallet(5, 30), tariff(), {.moment = T})) == "1/2:10 1/3:10 2/2:10");
}

TEST_CASE("pricing: minutes that start at once are paid by call_id") {
  const std::vector<Call> calls{call(9, 5, seconds{60}), call(3, 5, seconds{60})};
  const auto bill = price(calls, wallet(5, 10), tariff(), {.moment = T});
  CHECK(charged(bill) == "3/2:10");
  CHECK(of(bill, 9).is_short);
}

TEST_CASE("pricing: after a minute that is too dear no cheaper one is paid") {
  const std::vector<Call> calls{call(1, 5, seconds{90}, "video"), call(2, 5, seconds{60})};
  const auto bill = price(calls, wallet(5, 50), tariff(), {.moment = T});
  CHECK(charged(bill).empty());
  CHECK(of(bill, 1).is_short);
}

TEST_CASE("pricing: without a wallet or a caller nothing is paid, each call for itself") {
  auto one = call(1, 5, seconds{60});
  auto other = call(2, 6, seconds{60});
  one.user_id = other.user_id = std::nullopt;
  const auto bill = price({one, other, call(3, 7, seconds{60})}, {}, tariff(), {.moment = T});
  CHECK(charged(bill).empty());
  for (const auto& each : bill.calls) {
    CHECK(each.is_short);
  }
}

TEST_CASE("pricing: a minute costs what held when it started") {
  auto changed = tariff();
  changed.rates["audio"].add(T - seconds{90}, 15);
  CHECK(charged(price({call(1, 5, seconds{180})}, wallet(5, 1000), changed, {.moment = T})) ==
        "1/2:10 1/3:15 1/4:15");
}

TEST_CASE("pricing: a minute is as long as the increment that held when the call started") {
  auto changed = tariff(seconds{6});
  changed.minutes.add(T - seconds{15}, seconds{1});
  const auto bill =
      price({call(1, 5, seconds{20}), call(2, 6, seconds{2})},
            {{5, {.wallet_id = 7, .balance = 25}}, {6, {.wallet_id = 8, .balance = 1000}}}, changed,
            {.moment = T});
  CHECK(charged(bill) == "1/2:10 1/3:10 2/2:10 2/3:10");
  CHECK(of(bill, 1).is_short);  // 20 s are four increments of 6 s
  CHECK(bill.minutes.at(1).start_time == T - seconds{14});
  CHECK(bill.minutes.at(5).start_time == T);
  CHECK(bill.wait_times == std::vector<std::pair<int, int>>{{6, 3 + 98}, {1002, 3 + 98}});
}

TEST_CASE("pricing: what is older than the limit is waived") {
  auto ongoing = call(1, 5, seconds{300});
  ongoing.charged_minutes = 1;
  const auto bill = price({ongoing}, wallet(5, 1000), tariff(), {.moment = T, .catch_up_limit = 2});
  CHECK(charged(bill) == "1/2:0 1/3:0 1/4:0 1/5:10 1/6:10");
  CHECK(of(bill, 1).waived == 3);
  CHECK(bill.minutes.front().source == Source::waived);
}

TEST_CASE("pricing: a call that is about to end pays up to its end") {
  auto ending = call(1, 5, seconds{300});
  ending.end_time = T - seconds{150};
  const auto bill = price({ending}, wallet(5, 1000), tariff(), {.moment = T});
  CHECK(charged(bill) == "1/2:10 1/3:10");
  CHECK(bill.wait_times.empty());
}

TEST_CASE("pricing: wait_time is what is paid and what the balance still covers") {
  const auto bill = price({call(1, 5, seconds{60})}, wallet(5, 45), tariff(), {.moment = T});
  CHECK(bill.wait_times == std::vector<std::pair<int, int>>{{5, 5}, {1001, 5}});
  CHECK(of(bill, 1).minutes_left == 3);
}

TEST_CASE("pricing: a listener of two calls waits for the longer") {
  auto one = call(1, 5, seconds{0});
  auto other = call(2, 6, seconds{0});
  one.listener_id = other.listener_id = 9;
  const Wallets wallets{{5, {.wallet_id = 1, .balance = 10}}, {6, {.wallet_id = 2, .balance = 90}}};
  CHECK(price({one, other}, wallets, tariff(), {.moment = T}).wait_times ==
        std::vector<std::pair<int, int>>{{5, 2}, {6, 10}, {9, 10}});
}

TEST_CASE("pricing: a type that nobody knows is left out") {
  CHECK(price({call(1, 5, seconds{600}, "hologram")}, wallet(5, 1000), tariff(), {.moment = T})
            .calls.empty());
}

TEST_CASE("pricing: more minutes than a pass may hold are left for the next, none is lost") {
  std::vector<Call> calls{call(1, 5, seconds{6000}), call(2, 6, seconds{6000})};
  Wallets wallets{{5, {.wallet_id = 1, .balance = 5000}}, {6, {.wallet_id = 2, .balance = 505}}};
  const Terms terms{.moment = T, .max_minutes = 30};
  int minutes = 0;
  bool is_complete = false;
  for (int passes = 0; passes < 20 && !is_complete; ++passes) {
    const auto bill = price(calls, wallets, tariff(), terms);
    is_complete = bill.is_complete;
    for (const auto& minute : bill.minutes) {
      minutes += minute.source == Source::saathiid ? 1 : 0;
      auto& ongoing = calls[static_cast<std::size_t>(minute.call_id - 1)];
      CHECK(minute.number == ongoing.charged_minutes.value_or(0) + 1);
      ongoing.charged_minutes = minute.number;
      wallets.at(*ongoing.user_id).balance -= minute.source == Source::api ? 0 : minute.coins;
    }
    CHECK(bill.minutes.size() <= 30);
    if (is_complete) {
      CHECK(of(bill, 2).is_short);
      CHECK_FALSE(of(bill, 1).is_short);
    }
  }
  CHECK(is_complete);
  CHECK(minutes == 150);
}

TEST_CASE("pricing: a sum that no ledger should hold is refused") {
  auto ongoing = call(1, 5, std::chrono::hours{24 * 365 * 30});
  ongoing.coins_spent = 100'000'000;
  CHECK_THROWS_WITH(price({ongoing}, wallet(5, 0), tariff(), {.moment = T}),
                    "call 1 claims 10000000 paid minutes");
}

TEST_CASE("pricing: not even a limit forgives what only a wrong start can owe") {
  auto ongoing = call(1, 5, std::chrono::hours{24 * 365 * 30});
  ongoing.charged_minutes = 1;
  CHECK_THROWS_WITH(
      price({ongoing}, wallet(5, 1000), tariff(), {.moment = T, .catch_up_limit = 5}),
      "call 1 has 15768000 unpaid minutes, too many to waive: its start_time is wrong");
}

TEST_CASE("pricing: a balance below 0 takes nothing from the minutes that are paid") {
  auto ongoing = call(1, 5, seconds{30});
  CHECK(price({ongoing}, wallet(5, -30), tariff(), {.moment = T}).wait_times ==
        std::vector<std::pair<int, int>>{{5, 1}, {1001, 1}});
}

TEST_CASE("pricing: no wallet pays more than it holds, and no minute is left out") {
  CHECK(rc::check([] {
    std::vector<Call> calls;
    const auto count = *rc::gen::inRange(1, 8);
    for (int id = 1; id <= count; ++id) {
      calls.push_back(call(id, *rc::gen::inRange(1, 4), seconds{*rc::gen::inRange(0, 900)},
                           *rc::gen::element<std::string>("audio", "video")));
    }
    Wallets wallets;
    for (int user = 1; user < 4; ++user) {
      wallets[user] = {.wallet_id = user, .balance = *rc::gen::inRange(0, 400)};
    }
    const auto bill = price(calls, wallets, tariff(), {.moment = T});
    std::map<int, std::int64_t> left;
    for (const auto& [user, wallet] : wallets) {
      left[user] = wallet.balance;
    }
    std::map<int, int> numbers;
    for (const auto& minute : bill.minutes) {
      RC_ASSERT(minute.number == ++numbers[minute.call_id]);
      left[minute.user_id] -= minute.source == Source::api ? 0 : minute.coins;
    }
    for (const auto& each : bill.calls) {
      RC_ASSERT(left[*each.user_id] >= 0);
      RC_ASSERT(each.balance == left[*each.user_id]);
      const auto started = (T - each.start_time) / std::chrono::minutes{1} + 1;
      const bool is_judged_again = std::ranges::any_of(bill.calls, [&](const Charged& other) {
        return other.user_id == each.user_id && other.is_short;
      });
      RC_ASSERT(is_judged_again || 1 + each.minutes == started);
    }
  }));
}
