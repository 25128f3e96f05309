#include "saathii/postgres/migrations.hpp"

#include <fmt/format.h>

#include "migrations.sql.hpp"
#include "saathii/postgres/session.hpp"

namespace saathii::postgres {

namespace {

/// An index on a table of the platform, built without blocking its writers.
struct PlatformIndex {
  const char* name;
  const Statement& create;
};

struct Migration {
  const char* what;
  const Statement& tables;  ///< one transaction
  std::vector<PlatformIndex> indexes;
};

/// In order; the first makes version 1.
const std::vector<Migration>& migrations() {
  static const std::vector<Migration> list = {
      {"ledgers of runs and charges",
       sql::migrations::v1_tables,
       {{"saathii_tasks_ongoing_calls", sql::migrations::v1_index_ongoing},
        {"saathii_tasks_calls_by_start", sql::migrations::v1_index_start}}},
  };
  return list;
}

/// Any number that nobody else takes; the same in every version of saathiid.
constexpr const char* migration_lock = "7305817305";
constexpr int max_lock_waits = 600;
constexpr std::chrono::milliseconds lock_wait{500};

int version_of(pqxx::transaction_base& transaction) {
  const auto table =
      transaction.exec("SELECT to_regclass('saathii_tasks.schema_version') IS NOT NULL");
  if (!table[0][0].as<bool>()) {
    return 0;
  }
  return transaction
      .exec("SELECT coalesce(max(version), 0) FROM saathii_tasks.schema_version")[0][0]
      .as<int>();
}

/// Polls, because a session that waits inside pg_advisory_lock() holds a
/// snapshot, for which CREATE INDEX CONCURRENTLY of the lock's holder waits.
void take_migration_lock(pqxx::transaction_base& session, const std::stop_token& stop) {
  for (int waits = 0; waits < max_lock_waits; ++waits) {
    const auto got = session.exec(fmt::format("SELECT pg_try_advisory_lock({})", migration_lock));
    if (got[0][0].as<bool>()) {
      return;
    }
    if (stop.stop_requested()) {
      throw Stopped("stopped while another saathiid migrates the schema");
    }
    std::this_thread::sleep_for(lock_wait);
  }
  throw std::runtime_error(
      "another saathiid has been migrating the schema for five minutes; "
      "look for its session in pg_stat_activity");
}

/// Returns whether the index had to be built.
bool create_index(pqxx::transaction_base& session, const PlatformIndex& index) {
  const auto found = session.exec(fmt::format(
      "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('public.{}')", index.name));
  if (!found.empty()) {
    if (found[0][0].as<bool>()) {
      return false;
    }
    // A build that was interrupted left it behind; IF NOT EXISTS would take it
    // for a good one.
    session.exec(fmt::format("DROP INDEX CONCURRENTLY public.{}", index.name));
  }
  session.exec(index.create.text);
  return true;
}

/// A session with settings and a lock of its own, both of which go with it.
class MigrationSession {
 public:
  MigrationSession(Pool& pool, const std::stop_token& stop)
      : lease_(pool.lease(stop, Pool::Schema::any)) {}
  ~MigrationSession() { lease_->interrupt(); }
  MigrationSession(const MigrationSession&) = delete;
  MigrationSession& operator=(const MigrationSession&) = delete;
  Session* operator->() const { return lease_.operator->(); }

 private:
  const Pool::Lease lease_;
};

}  // namespace

const int known_schema_version = static_cast<int>(migrations().size());

NewerSchema::NewerSchema(int found)
    : std::runtime_error(
          fmt::format("schema saathii_tasks has version {}, but this saathiid knows {} at most: "
                      "install the newer saathiid",
                      found, known_schema_version)) {}

void require_known_schema(Session& session) {
  if (session.schema_is_known) {
    return;
  }
  int found = 0;
  try {
    found = session.autocommit([](auto& each) { return version_of(each); });
  } catch (const pqxx::sql_error&) {
    return;
  }
  if (found > known_schema_version) {
    throw NewerSchema(found);
  }
  session.schema_is_known = found > 0;
}

int schema_version(Pool& pool, const std::stop_token& stop) {
  return pool.lease(stop, Pool::Schema::any)->autocommit([](auto& session) {
    return version_of(session);
  });
}

std::vector<std::string> migrate(Pool& pool, const std::stop_token& stop) {
  const MigrationSession lease(pool, stop);
  std::vector<std::string> done;
  lease->lift_limits();
  lease->autocommit([&](auto& session) {
    take_migration_lock(session, stop);
    return 0;
  });
  const int found = lease->autocommit([](auto& session) { return version_of(session); });
  if (found > known_schema_version) {
    throw NewerSchema(found);
  }
  for (int version = 1; version <= known_schema_version; ++version) {
    const Migration& migration = migrations()[static_cast<std::size_t>(version) - 1];
    if (version > found) {
      lease->transact([&](auto& transaction) {
        transaction.exec("CREATE SCHEMA IF NOT EXISTS saathii_tasks");
        transaction.exec(
            "CREATE TABLE IF NOT EXISTS saathii_tasks.schema_version (version integer PRIMARY KEY,"
            " description text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())");
        transaction.exec(migration.tables.text);
        transaction.exec(fmt::format(
            "INSERT INTO saathii_tasks.schema_version (version, description) VALUES ({}, {})",
            version, transaction.quote(migration.what)));
        return 0;
      });
      done.push_back(fmt::format("version {}: {}", version, migration.what));
    }
    for (const auto& index : migration.indexes) {
      if (lease->autocommit([&](auto& session) { return create_index(session, index); })) {
        done.push_back(fmt::format("index {}", index.name));
      }
    }
  }
  return done;
}

}  // namespace saathii::postgres
