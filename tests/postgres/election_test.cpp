#include "saathii/postgres/election.hpp"

#include <fmt/format.h>

#include <atomic>
#include <future>
#include <thread>

#include "catch.hpp"
#include "saathii/base/errors.hpp"
#include "saathii/postgres/pool.hpp"
#include "saathii/postgres/run_ledger.hpp"
#include "saathii/postgres/session.hpp"
#include "support/platform_db.hpp"
#include "support/watched.hpp"

namespace saathii::test {

namespace {

using postgres::Election;
using runner::Leadership;
using namespace std::chrono_literals;

struct Setup : PlatformDb {
  std::string leader() {
    return rows(
        "SELECT name FROM saathii_tasks.instance JOIN saathii_tasks.leadership ON holder = id");
  }
  std::string term() { return rows("SELECT term FROM saathii_tasks.leadership"); }

  ServerState state{"postgres"};
  postgres::Pool pool{daemon_settings(), state};
};

std::string new_id() {
  static std::atomic<int> count = 0;
  return fmt::format("6d1c64c8-5a7c-4b1e-9f0f-{:012}", ++count);
}

/// An instance, as far as the election is concerned.
struct Candidate {
  Candidate(Setup& setup, std::string name, Duration lease = 1h)
      : election(setup.daemon_settings(), setup.state,
                 {.id = new_id(), .instance = std::move(name), .lease = lease},
                 [this](const Leadership& now) {
                   said.change([&](auto& all) { all.push_back(now); });
                 }) {
    election.begin();
  }

  [[nodiscard]] bool leads(std::int64_t term) {
    return said.wait([&](const auto& all) {
      return !all.empty() && all.back().leads && all.back().term == term;
    });
  }
  [[nodiscard]] bool stands_by(const std::string& leader, std::int64_t term) {
    return said.wait([&](const auto& all) {
      return !all.empty() && !all.back().leads && all.back().leader == leader &&
             all.back().term == term;
    });
  }

  Watched<std::vector<Leadership>> said;
  Election election;
};

}  // namespace

TEST_CASE("the first instance leads, the next one stands by, and succeeds it when it resigns") {
  Setup setup;
  Candidate first(setup, "node-1");
  REQUIRE(first.leads(1));
  CHECK(first.said.get().back().leader == "node-1");
  Candidate second(setup, "node-2");
  REQUIRE(second.stands_by("node-1", 1));
  first.election.resign();
  REQUIRE(second.leads(2));
  CHECK(setup.leader() == "node-2");
  CHECK(setup.rows("SELECT term, instance FROM saathii_tasks.leadership_term ORDER BY term") ==
        "1|node-1;2|node-2");
  CHECK(first.said.get().size() == 1);
}

TEST_CASE("of many that start at once one leads, and a term has one leader") {
  Setup setup;
  std::vector<std::unique_ptr<Candidate>> all;
  for (int i = 0; i < 6; ++i) {
    all.push_back(std::make_unique<Candidate>(setup, "node-" + std::to_string(i)));
  }
  for (const auto& one : all) {
    REQUIRE(one->said.wait(
        [](const auto& said) { return !said.empty() && !said.back().leader.empty(); }));
  }
  CHECK(setup.term() == "1");
  CHECK(std::count_if(all.begin(), all.end(),
                      [](const auto& one) { return one->said.get().back().leads; }) == 1);
}

TEST_CASE("a leader whose session was ended goes on leading under its term") {
  Setup setup;
  Candidate first(setup, "node-1");
  REQUIRE(first.leads(1));
  setup.exec("SELECT pg_terminate_backend(backend_pid) FROM saathii_tasks.instance");
  Candidate second(setup, "node-2");
  REQUIRE(second.stands_by("node-1", 1));
  CHECK(setup.term() == "1");
}

TEST_CASE("one whose session is gone for two looks is taken for dead, long before its lease ends") {
  Setup setup;
  // As a process leaves it behind that was killed.
  setup.exec(
      "INSERT INTO saathii_tasks.instance (id, name, backend_pid, backend_start) VALUES "
      "('0d1c64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d', 'dead', 1, now())");
  setup.exec(
      "UPDATE saathii_tasks.leadership SET term = 7, lease = '1 hour', renewed_at = now(), "
      "holder = '0d1c64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d'");
  Candidate next(setup, "node-2", 50ms);
  REQUIRE(next.leads(8));
  CHECK(next.said.get().front().leader == "dead");
}

TEST_CASE("one that is silent is succeeded when its lease has run out, and learns of it") {
  Setup setup;
  // Stands still: its session is there, and nothing comes from it.
  setup.exec(
      "INSERT INTO saathii_tasks.instance (id, name, backend_pid, backend_start) "
      "SELECT '0d1c64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d', 'silent', pid, backend_start "
      "FROM pg_stat_get_activity(pg_backend_pid())");
  setup.exec(
      "UPDATE saathii_tasks.leadership SET term = 7, lease = '100 ms', renewed_at = now(), "
      "holder = '0d1c64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d'");
  Candidate next(setup, "node-2", 100ms);
  REQUIRE(next.leads(8));
}

TEST_CASE("who was deposed learns of it when it looks, and stands by") {
  Setup setup;
  Candidate first(setup, "node-1");
  REQUIRE(first.leads(1));
  setup.exec(
      "INSERT INTO saathii_tasks.instance (id, name, backend_pid, backend_start) "
      "SELECT '0d1c64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d', 'other', pid, backend_start "
      "FROM pg_stat_get_activity(pg_backend_pid())");
  setup.exec(
      "UPDATE saathii_tasks.leadership SET term = 2, holder = "
      "'0d1c64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d', since = now(), renewed_at = now()");
  first.election.look_now();
  REQUIRE(first.stands_by("other", 2));
}

TEST_CASE(
    "what is begun under an older term changes nothing, and what began before is waited for") {
  Setup setup;
  setup.exec(
      "CREATE TABLE effect (n int, term bigint DEFAULT saathii_tasks.present_term(), "
      "at timestamptz DEFAULT clock_timestamp())");
  setup.exec("GRANT INSERT ON effect TO PUBLIC");
  Candidate first(setup, "node-1", 50ms);
  REQUIRE(first.leads(1));
  std::promise<void> began;
  std::promise<void> may_commit;
  std::thread late([&] {
    const auto lease = setup.pool.lease({}, postgres::Pool::Schema::known, 1);
    lease->transact([&](auto& transaction) {
      transaction.exec("INSERT INTO effect VALUES (1)");
      began.set_value();
      may_commit.get_future().wait();
      return 0;
    });
  });
  began.get_future().wait();
  first.election.resign();
  Candidate second(setup, "node-2", 2s);
  REQUIRE(second.said.wait([](const auto& said) { return !said.empty(); }));
  CHECK_FALSE(second.said.get().back().leads);
  CHECK(setup.term() == "1");
  may_commit.set_value();
  late.join();
  REQUIRE(second.leads(2));

  const auto lease = setup.pool.lease({}, postgres::Pool::Schema::known, 1);
  CHECK_THROWS_AS(lease->transact([](auto& transaction) {
    transaction.exec("INSERT INTO effect VALUES (2)");
    return 0;
  }),
                  Deposed);
  CHECK(setup.rows("SELECT n, term FROM effect") == "1|1");
  CHECK(setup.rows("SELECT since > at FROM effect, saathii_tasks.leadership_term AS t "
                   "WHERE t.term = 2") == "t");
}

TEST_CASE("outcomes of a term that is over are left out, those of a host are not") {
  Setup setup;
  setup.exec("UPDATE saathii_tasks.leadership SET term = 4");
  postgres::RunLedger ledger(setup.pool, {});
  std::vector<runner::Record> records;
  for (const std::int64_t term : {3, 4, 0}) {
    runner::Record record;
    record.job = term == 0 ? "of_host" : "of_term_" + std::to_string(term);
    record.host = term == 0 ? "node-1" : "";
    record.term = term;
    record.scheduled_at = record.last_scheduled_at = at("2030-01-15T10:00:00Z");
    records.push_back(record);
  }
  ledger.record(records);
  CHECK(setup.rows("SELECT job, term FROM saathii_tasks.job_run ORDER BY job") ==
        "of_host@node-1|;of_term_4|4");
}

}  // namespace saathii::test
