#include "audited.hpp"

using namespace saathii;
using namespace saathii::test;
using audit::Result;
using Catch::Matchers::ContainsSubstring;

namespace {

/// An ongoing call that coin_deduction has shown.
struct Shown : Audited {
  Shown() {
    use_redis(server.url());
    caller = user(1000);
    listener = user(0);
    call_id = start(caller, listener, -150);
    deduct(0);
  }
  void command(const redis::Command& words) { redis->command(words); }
  audit::Report look() { return audit(0, nullptr, redis.get()); }
  [[nodiscard]] std::string key() const { return "call:" + std::to_string(call_id); }

  RedisServer server;
  int caller = 0;
  int listener = 0;
  int call_id = 0;
};

}  // namespace

TEST_CASE("10: Redis as the jobs leave it") {
  Shown p;
  const auto report = p.look();
  CHECK(Audited::violations(report).empty());
  CHECK(finding(report, 10).result == Result::holds);
  CHECK(report.looked_at.back() == std::pair<std::string, std::int64_t>{"hashes", 1});
}

TEST_CASE("10: what Redis shows otherwise") {
  Shown p;
  const auto only = [&](const std::string& kind) {
    const auto report = p.look();
    CHECK(Audited::violations(report) == "10 " + kind);
    return finding(report, 10).offenders.at(0);
  };
  const std::string of_call =
      " call " + std::to_string(p.call_id) + " user " + std::to_string(p.caller);
  SECTION("missing") {
    p.command({"DEL", p.key()});
    only("missing" + of_call);
  }
  SECTION("no hash") {
    p.command({"SET", p.key(), "1"});
    CHECK(only("missing" + of_call).found == "no hash");
  }
  SECTION("coins") {
    p.command({"HSET", p.key(), "coins_spent", "29"});
    const auto offender = only("differs" + of_call);
    CHECK(offender.expected == "coins_spent 30");
    CHECK(offender.found == "29");
  }
  SECTION("a start") {
    p.command({"HSET", p.key(), "start_time", "soon"});
    CHECK_THAT(only("differs" + of_call).expected, ContainsSubstring("start_time"));
  }
  SECTION("a life without end") {
    p.command({"PERSIST", p.key()});
    CHECK(only("lives_too_long" + of_call).found == "for ever");
  }
  SECTION("a stranger") {
    p.command({"HSET", "call:4711", "user_id", "1"});
    p.command({"HSET", "call:of-nobody", "user_id", "1"});
    only("stranger call 4711");
  }
  SECTION("a start with a fraction is right, and so is what is not about calls") {
    p.command({"HINCRBYFLOAT", p.key(), "start_time", "0.4"});
    p.command({"SET", "call", "1"});
    CHECK(Audited::violations(p.look()).empty());
  }
}

TEST_CASE("10: a call that has just begun may not be shown yet") {
  Shown p;
  const int young = p.start(p.user(100), p.user(0), -59);
  CHECK(Audited::violations(p.look()).empty());
  CHECK(p.call(young, "status") == "ongoing");
}

TEST_CASE("10: without Redis it is not checked, and the rest is") {
  Shown p;
  p.db.exec("UPDATE user_calls SET coins_spent = 29");
  p.server.stop();
  const auto report = p.look();
  CHECK(finding(report, 10).result == Result::not_checked);
  CHECK_THAT(finding(report, 10).notes.at(0), ContainsSubstring("Redis cannot be asked"));
  CHECK(Audited::violations(report) == words("4 coins_spent", p.call_id, p.caller));
}
