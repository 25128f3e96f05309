#include <nlohmann/json.hpp>

#include "calls_fixture.hpp"
#include "saathii/jobs/call_projection.hpp"

// Redis is a projection of PostgreSQL: sections 3, 5 and 6 of the platform contract.

using namespace saathii;
using namespace saathii::test;

namespace {

class Projected : public Calls {
 public:
  Projected() : state_("redis") {
    use_redis(server.url());
    probe_ = std::make_unique<redis::Client>(server.settings(), state_);
  }
  redis::Reply ask(const redis::Command& command) { return probe_->command(command); }
  std::string field(int call_id, const std::string& name) {
    return ask({"HGET", "call:" + std::to_string(call_id), name}).text;
  }
  bool has(int call_id) { return ask({"EXISTS", "call:" + std::to_string(call_id)}).integer == 1; }

  RedisServer server;

 private:
  ServerState state_;
  std::unique_ptr<redis::Client> probe_;
};

}  // namespace

TEST_CASE("coins_spent is set and the TTL renewed on charge") {
  Projected calls;
  const int caller = calls.user(1000);
  const int listener = calls.user(0);
  const int call = calls.start(caller, listener, -60);
  calls.ask({"HSET", "call:" + std::to_string(call), "coins_spent", "10"});
  calls.ask({"EXPIRE", "call:" + std::to_string(call), "100"});
  calls.deduct(0);
  CHECK(calls.field(call, "coins_spent") == "20");
  CHECK(calls.field(call, "user_id") == std::to_string(caller));
  CHECK(calls.field(call, "listener_id") == std::to_string(listener));
  CHECK(calls.field(call, "call_type") == "audio");
  CHECK(calls.field(call, "start_time") == "1894701540");
  CHECK(calls.ask({"TTL", "call:" + std::to_string(call)}).integer > 7000);
}

TEST_CASE("a call's coins in Redis are raised, never lowered by what comes late") {
  Projected calls;
  std::vector<jobs::billing::Charged> charged;
  // More than are shown at once.
  for (int i = 0; i < 1100; ++i) {
    jobs::billing::Charged call;
    call.call_id = calls.start(calls.user(1000), calls.user(0), -30);
    call.coins = 10;
    call.coins_spent = 10;
    call.minutes = 1;
    charged.push_back(call);
    calls.ask({"HSET", "call:" + std::to_string(call.call_id), "coins_spent", "10"});
  }
  const int last = charged.back().call_id;
  calls.db.exec("UPDATE user_calls SET coins_spent = 30 WHERE call_id = " + std::to_string(last));
  const auto lease = calls.pool->lease({});
  const auto show = [&](std::int64_t coins_spent) {
    jobs::CallProjection::Memory memory;
    jobs::CallProjection projection(*calls.redis, memory, T);
    for (auto& call : charged) {
      call.coins_spent = call.call_id == last ? coins_spent : 10;
    }
    projection.charged(*lease, charged);
    CHECK(projection.complete());
  };
  show(30);
  CHECK(calls.field(last, "coins_spent") == "30");
  CHECK(calls.field(charged.front().call_id, "coins_spent") == "10");
  CHECK(calls.ask({"TTL", "call:" + std::to_string(charged.front().call_id)}).integer > 7000);
  show(20);
  CHECK(calls.field(last, "coins_spent") == "30");
  // A hash that is not there is written whole, one of a call that has ended is not.
  calls.ask({"DEL", "call:" + std::to_string(last)});
  show(30);
  CHECK(calls.field(last, "call_type") == "audio");
  calls.ask({"DEL", "call:" + std::to_string(last)});
  calls.db.exec("UPDATE user_calls SET status = 'dropped' WHERE call_id = " + std::to_string(last));
  show(30);
  CHECK_FALSE(calls.has(last));
}

TEST_CASE("on end the key is deleted") {
  Projected calls;
  const int call = calls.start(calls.user(10), calls.user(0), -60);
  calls.ask({"HSET", "call:" + std::to_string(call), "coins_spent", "10"});
  calls.deduct(0);
  CHECK_FALSE(calls.has(call));
}

TEST_CASE("Redis down never stops charging, when it is back the projection is repaired whole") {
  Projected calls;
  const int call = calls.start(calls.user(1000), calls.user(0), -60);
  const int other = calls.start(calls.user(1000), calls.user(0), -10);
  calls.server.stop();
  CHECK(count(calls.deduct(0), "charged") == 1);
  CHECK(calls.call(call, "coins_spent") == "20");
  calls.server.start();
  // A client that has just failed waits a little before it tries again.
  calls.use_redis(calls.server.url());
  CHECK(count(calls.deduct(1), "charged") == 0);
  CHECK(calls.field(call, "coins_spent") == "20");
  CHECK(calls.field(other, "coins_spent") == "10");
}

TEST_CASE("emptying Redis moves no money, and one run makes it right") {
  Projected calls;
  const int call = calls.start(calls.user(1000), calls.user(0), -60);
  calls.deduct(0);
  calls.ask({"FLUSHALL"});
  CHECK(count(calls.deduct(0), "charged") == 0);
  CHECK(calls.field(call, "coins_spent") == "20");
}

TEST_CASE("repair removes what PostgreSQL does not call ongoing, and only that") {
  Projected calls;
  const int call = calls.start(calls.user(1000), calls.user(0), -10);
  calls.ask({"HSET", "call:999999", "coins_spent", "1"});
  calls.ask({"SET", "call:notes", "somebody else's"});
  calls.deduct(0);
  CHECK(calls.has(call));
  CHECK_FALSE(calls.has(999999));
  CHECK(calls.ask({"GET", "call:notes"}).text == "somebody else's");
}

TEST_CASE(
    "after an outage of PostgreSQL Redis shows no more than the server that is there now has") {
  Projected calls;
  const int call = calls.start(calls.user(1000), calls.user(0), -10);
  calls.deduct(0);
  // What the lost server had committed last and shown, its successor knows nothing of.
  calls.ask({"HSET", "call:" + std::to_string(call), "coins_spent", "20"});
  calls.ask({"HSET", "call:999999", "coins_spent", "10"});
  calls.deduct(0);
  CHECK(calls.has(999999));
  calls.pool->state().report_down("the server closed the connection");
  calls.deduct(0);
  CHECK(calls.field(call, "coins_spent") == "10");
  CHECK_FALSE(calls.has(999999));
  // Once for each outage.
  calls.ask({"HSET", "call:999999", "coins_spent", "10"});
  calls.deduct(0);
  CHECK(calls.has(999999));
}

TEST_CASE("the hash of a call that went with its user goes within ten minutes") {
  Projected calls;
  const int call = calls.start(calls.user(1000), calls.user(0), -10);
  calls.deduct(0);
  const std::string gone = "call:999999";
  calls.ask({"HSET", gone, "coins_spent", "10"});
  calls.deduct(599);
  CHECK(calls.has(999999));
  calls.deduct(600);
  CHECK_FALSE(calls.has(999999));
  CHECK(calls.has(call));
  calls.ask({"HSET", gone, "coins_spent", "10"});
  calls.deduct(660);
  CHECK(calls.has(999999));
}

TEST_CASE("a low balance is published once, when the coming minute is the last") {
  Projected calls;
  const int caller = calls.user(40);
  const int call = calls.start(caller, calls.user(0), -60);
  CHECK(count(calls.deduct(0), "warned") == 0);   // 20 left: two more
  CHECK(count(calls.deduct(60), "warned") == 1);  // 10 left: the coming one is the last
  CHECK(count(calls.deduct(120), "warned") == 0);
  CHECK(count(calls.deduct(180), "ended") == 1);
  CHECK(calls.call(call, "coins_spent") == "40");
}
