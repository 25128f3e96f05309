#include "saathii/jobs/charge_memory.hpp"

#include "calls_fixture.hpp"

// What a run remembers of the ledger must never decide what a call costs.

using namespace saathii;
using namespace saathii::jobs;
using namespace saathii::test;
using std::chrono::minutes;

namespace {

billing::Charged charged(int call_id, std::int64_t coins_spent, int paid_minutes) {
  billing::Charged call;
  call.call_id = call_id;
  call.coins_spent = coins_spent;
  call.minutes = 1;
  call.paid_minutes = paid_minutes;
  return call;
}

std::optional<int> recalled(ChargeMemory& memory, int call_id, std::int64_t coins_spent,
                            Instant moment = T) {
  std::vector<billing::Call> calls(1);
  calls.front().call_id = call_id;
  calls.front().coins_spent = coins_spent;
  memory.recall(calls, moment);
  return calls.front().charged_minutes;
}

}  // namespace

TEST_CASE("a memory is believed only where the sum is what it left") {
  ChargeMemory memory;
  memory.remember({charged(1, 20, 2)}, T);
  CHECK(recalled(memory, 1, 20) == 2);
  CHECK_FALSE(recalled(memory, 1, 30));
  CHECK_FALSE(recalled(memory, 2, 20));
  memory.remember({charged(1, 30, 3)}, T);
  CHECK(recalled(memory, 1, 30) == 3);
  memory.forget({1});
  CHECK_FALSE(recalled(memory, 1, 30));
}

TEST_CASE("a memory holds no call for long that nobody charges any more") {
  ChargeMemory memory;
  memory.remember({charged(1, 20, 2), charged(2, 20, 2)}, T);
  memory.sweep(T + minutes{10});
  CHECK(memory.size() == 2);
  CHECK(recalled(memory, 1, 20, T + minutes{10}) == 2);
  memory.sweep(T + minutes{11});
  CHECK(memory.size() == 1);
  SECTION("and is not swept at every run") {
    memory.sweep(T + minutes{30});
    CHECK(memory.size() == 0);
    memory.remember({charged(3, 20, 2)}, T);
    memory.sweep(T + minutes{30} + std::chrono::seconds{59});
    CHECK(memory.size() == 1);
  }
  SECTION("nor of a future, when the clock was set back") {
    memory.sweep(T - minutes{60});
    CHECK(memory.size() == 0);
  }
}

TEST_CASE("what another instance has charged is not charged again from memory") {
  Calls calls;
  const int call = calls.start(calls.user(1000), calls.user(0), -60);
  calls.deduct(0);
  const auto first = calls.exchange_instances();
  calls.deduct(60);
  calls.exchange_instances(first);
  calls.deduct(120);
  CHECK(calls.ledger(call) == "1:10:api 2:10:saathiid 3:10:saathiid 4:10:saathiid");
  calls.check_invariants();
}

TEST_CASE("a memory that the ledger refuses is dropped within the same run") {
  Calls calls;
  const int call = calls.start(calls.user(1000), calls.user(0), -60);
  calls.deduct(0);
  // Another instance has waived a minute: no coins moved, so that the sum still fits.
  calls.db.exec(fmt::format(
      "INSERT INTO saathii_tasks.call_charge (call_id, minute, user_id, coins, minute_start, "
      "source, balance_after) VALUES ({}, 3, 1, 0, '{}', 'waived', 0)",
      call, to_iso8601(T + minutes{1})));
  const auto report = calls.deduct(120);
  CHECK(count(report, "failed") == 0);
  CHECK(count(report, "charged") == 1);
  CHECK(calls.ledger(call) == "1:10:api 2:10:saathiid 3:0:waived 4:10:saathiid");
}
