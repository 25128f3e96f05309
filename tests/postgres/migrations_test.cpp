#include "saathii/postgres/migrations.hpp"

#include <thread>

#include "catch.hpp"
#include "saathii/postgres/session.hpp"
#include "support/platform_db.hpp"

namespace saathii::test {

namespace {

struct Fresh : PlatformDb {
  Fresh() : PlatformDb(Content::platform_only) {}

  std::vector<std::string> migrate() { return postgres::migrate(pool, {}); }
  int version() { return postgres::schema_version(pool, {}); }

  std::string locks() {
    return value(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())");
  }

  /// The backend of an interrupted session ends a moment later.
  void wait_until_unlocked() {
    while (locks() != "0") {
      std::this_thread::yield();
    }
  }

  ServerState state{"postgres"};
  postgres::Pool pool{owner_settings(), state};
};

/// All that a migration leaves behind.
const std::string shape =
    "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_class c "
    "JOIN pg_attribute a ON a.attrelid = c.oid AND attnum > 0 "
    "WHERE relnamespace = 'saathii_tasks'::regnamespace ORDER BY 1, 2";

}  // namespace

TEST_CASE("a database without the schema has version 0, and migrating brings it up to date") {
  Fresh db;
  CHECK(db.version() == 0);
  const auto done = db.migrate();
  CHECK(db.version() == postgres::known_schema_version);
  CHECK(done.size() >= 3);
  CHECK(done.front() == "version 1: ledgers of runs and charges");
  CHECK(db.value("SELECT count(*) FROM pg_index WHERE indisvalid AND indexrelid IN "
                 "('public.saathii_tasks_ongoing_calls'::regclass, "
                 "'public.saathii_tasks_calls_by_start'::regclass)") == "2");
  CHECK(db.value("SELECT count(*) FROM saathii_tasks.schema_version") ==
        std::to_string(postgres::known_schema_version));
}

TEST_CASE("migrating again does nothing") {
  Fresh db;
  db.migrate();
  const auto before = db.rows(shape);
  CHECK(db.migrate().empty());
  CHECK(db.rows(shape) == before);
  CHECK(db.version() == postgres::known_schema_version);
}

TEST_CASE("two that migrate at once leave one schema") {
  Fresh db;
  Fresh reference;
  reference.migrate();
  postgres::Pool other(db.owner_settings(), db.state);
  std::vector<std::string> done;
  std::thread second([&] { done = postgres::migrate(other, {}); });
  const auto mine = db.migrate();
  second.join();
  CHECK(mine.empty() != done.empty());
  CHECK(db.rows(shape) == reference.rows(shape));
}

TEST_CASE("a stop ends the wait for another's migration") {
  Fresh db;
  pqxx::connection other(db.owner_url());
  pqxx::nontransaction holder(other);
  holder.exec("SELECT pg_advisory_lock(7305817305)");
  std::stop_source stop;
  std::thread waiting([&] { CHECK_THROWS(postgres::migrate(db.pool, stop.get_token())); });
  while (db.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
                  "query LIKE '%pg_try_advisory_lock%' AND application_name = 'saathiid'") == "0") {
    std::this_thread::yield();
  }
  stop.request_stop();
  waiting.join();
  CHECK(db.version() == 0);
}

TEST_CASE("an index whose build was interrupted is built again") {
  Fresh db;
  db.migrate();
  db.exec(
      "UPDATE pg_index SET indisvalid = false "
      "WHERE indexrelid = 'public.saathii_tasks_ongoing_calls'::regclass");
  CHECK(db.migrate() == std::vector<std::string>{"index saathii_tasks_ongoing_calls"});
  CHECK(db.value("SELECT indisvalid FROM pg_index WHERE indexrelid = "
                 "'public.saathii_tasks_ongoing_calls'::regclass") == "t");
  db.exec("DROP INDEX public.saathii_tasks_calls_by_start");
  CHECK(db.migrate() == std::vector<std::string>{"index saathii_tasks_calls_by_start"});
}

TEST_CASE("a migration that was interrupted between its tables and its indexes is finished") {
  Fresh db;
  db.migrate();
  db.exec("DROP INDEX public.saathii_tasks_calls_by_start, public.saathii_tasks_ongoing_calls");
  CHECK(db.migrate().size() == 2);
}

TEST_CASE("a schema that is newer than the program is refused, and left alone") {
  Fresh db;
  db.migrate();
  db.exec(
      fmt::format("INSERT INTO saathii_tasks.schema_version (version, description) "
                  "VALUES ({}, 'of the future')",
                  postgres::known_schema_version + 1));
  CHECK_THROWS_WITH(db.migrate(), Catch::Matchers::ContainsSubstring("install the newer saathiid"));
  CHECK(db.version() == postgres::known_schema_version + 1);
  db.wait_until_unlocked();
  db.exec("DELETE FROM saathii_tasks.schema_version WHERE description = 'of the future'");
  CHECK(db.migrate().empty());
}

TEST_CASE("a schema that became newer is found out by the next session, and the server is up") {
  Fresh db;
  db.migrate();
  {
    const auto old = db.pool.lease({});
    db.exec("INSERT INTO saathii_tasks.schema_version VALUES (99, 'of the future')");
    CHECK_THROWS_WITH(db.pool.lease({}),
                      Catch::Matchers::ContainsSubstring("has version 99") &&
                          Catch::Matchers::ContainsSubstring("install the newer"));
    CHECK_THROWS_AS(db.pool.try_lease({}), postgres::NewerSchema);
    CHECK(db.state.snapshot().state == ServerState::State::up);
  }
  CHECK(db.version() == 99);
  postgres::Pool other(db.owner_settings(), db.state);
  CHECK(postgres::schema_version(other, {}) == 99);
  CHECK_THROWS_AS(other.lease({}), postgres::NewerSchema);  // the session that only looked
  db.exec("DELETE FROM saathii_tasks.schema_version WHERE version = 99");
  CHECK(other.lease({})->schema_is_known);
}

TEST_CASE("a schema that is missing, or not to be read, keeps no session from being used") {
  Fresh db;
  CHECK_FALSE(db.pool.lease({})->schema_is_known);
  db.exec("CREATE SCHEMA saathii_tasks");
  db.exec("CREATE TABLE saathii_tasks.schema_version (something int)");
  const auto lease = db.pool.lease({});
  CHECK(lease->autocommit([](auto& each) { return each.exec("SELECT 1").size(); }) == 1);
  CHECK(db.state.snapshot().state == ServerState::State::up);
}

TEST_CASE("a migration holds its lock no longer than it lasts, and spoils no session") {
  Fresh db;
  db.migrate();
  db.wait_until_unlocked();
  const auto lease = db.pool.lease({});
  CHECK(lease->autocommit([](auto& each) {
    return std::string{each.exec("SHOW statement_timeout")[0][0].c_str()};
  }) == "2min");
}

TEST_CASE("a platform that already has an index of that name keeps it") {
  Fresh db;
  db.exec(
      "CREATE INDEX saathii_tasks_ongoing_calls ON user_calls (call_id) "
      "WHERE status = 'ongoing'");
  const auto oid = db.value("SELECT 'public.saathii_tasks_ongoing_calls'::regclass::oid");
  db.migrate();
  CHECK(db.value("SELECT 'public.saathii_tasks_ongoing_calls'::regclass::oid") == oid);
}

TEST_CASE("a migration that fails leaves nothing half-done") {
  Fresh db;
  db.exec("CREATE SCHEMA saathii_tasks");
  db.exec("CREATE TABLE saathii_tasks.job_run ()");
  CHECK_THROWS_AS(db.migrate(), pqxx::sql_error);
  CHECK(db.version() == 0);
  CHECK(db.rows("SELECT relname FROM pg_class WHERE relkind = 'r' AND "
                "relnamespace = 'saathii_tasks'::regnamespace") == "job_run");
  db.exec("DROP TABLE saathii_tasks.job_run");
  CHECK_FALSE(db.migrate().empty());
}

TEST_CASE("the daemon's role reads the version but cannot migrate") {
  PlatformDb db;
  ServerState state("postgres");
  postgres::Pool pool(db.daemon_settings(), state);
  CHECK(postgres::schema_version(pool, {}) == postgres::known_schema_version);
  db.exec("DELETE FROM saathii_tasks.schema_version");
  CHECK_THROWS_WITH(postgres::migrate(pool, {}),
                    Catch::Matchers::ContainsSubstring("permission denied"));
}

}  // namespace saathii::test
