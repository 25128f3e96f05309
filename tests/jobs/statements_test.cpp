#include <algorithm>
#include <filesystem>
#include <iterator>
#include <vector>

#include "catch.hpp"
#include "presence_cleanup.sql.hpp"
#include "support/platform_db.hpp"

namespace saathii::test {

namespace {

struct Named {
  std::string name;
  std::string text;
};

/// What cmake/embed_sql.awk makes of a file. Read from the files themselves, so
/// that a new one is tested without being listed here.
std::vector<Named> statements_of(const std::filesystem::path& file) {
  std::vector<Named> statements;
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    constexpr std::string_view marker = "-- name: ";
    if (line.starts_with(marker)) {
      statements.push_back({file.stem().string() + "." + line.substr(marker.size()), "\n"});
    } else if (!statements.empty()) {
      statements.back().text += line + "\n";
    }
  }
  return statements;
}

std::vector<std::filesystem::path> sql_files() {
  std::vector<std::filesystem::path> files;
  for (const char* room : {"audit", "jobs", "postgres"}) {
    const auto folder = std::filesystem::path{SAATHII_SOURCE_DIR} / "src" / room;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      // Migrations are the owner's, and run for each test's database.
      if (entry.path().extension() == ".sql" && entry.path().stem() != "migrations") {
        files.push_back(entry.path());
      }
    }
  }
  return files;
}

/// "NULL, NULL", or nothing.
std::string nulls(int count) {
  std::string list;
  for (int index = 0; index < count; ++index) {
    list += index == 0 ? "(NULL" : ", NULL";
  }
  return list.empty() ? list : list + ")";
}

}  // namespace

TEST_CASE("every statement fits the schema and the rights of the daemon's role") {
  PlatformDb db;
  pqxx::connection daemon(db.daemon_url());
  pqxx::nontransaction session(daemon);
  CHECK(std::string{session.exec("SELECT current_user")[0][0].c_str()} == "saathiid");
  int prepared = 0;
  for (const auto& file : sql_files()) {
    for (const auto& [name, text] : statements_of(file)) {
      CAPTURE(name, text);
      REQUIRE_NOTHROW(session.exec(fmt::format("PREPARE \"{}\" AS {}", name, text)));
      const int parameters =
          session
              .exec(fmt::format("SELECT cardinality(parameter_types) FROM pg_prepared_statements "
                                "WHERE name = '{}'",
                                name))[0][0]
              .as<int>();
      // Rights are looked at when a plan is opened, which EXPLAIN does too.
      CHECK_NOTHROW(
          session.exec(fmt::format("EXPLAIN EXECUTE \"{}\" {}", name, nulls(parameters))));
      ++prepared;
    }
  }
  CHECK(prepared > 0);
}

TEST_CASE("what is embedded is what the files say") {
  const auto statements = statements_of(std::filesystem::path{SAATHII_SOURCE_DIR} / "src" / "jobs" /
                                        "presence_cleanup.sql");
  REQUIRE(statements.size() == std::size(sql::presence_cleanup::all));
  for (std::size_t index = 0; index < statements.size(); ++index) {
    CHECK(statements[index].name == sql::presence_cleanup::all[index].name);
    CHECK(statements[index].text == "\n" + std::string{sql::presence_cleanup::all[index].text});
  }
}

TEST_CASE("the daemon's role can neither delete nor alter what is the platform's") {
  PlatformDb db;
  pqxx::connection daemon(db.daemon_url());
  const auto refused = [&](const std::string& sql) {
    try {
      pqxx::nontransaction(daemon).exec(sql);
      return false;
    } catch (const pqxx::insufficient_privilege&) {
      return true;
    }
  };
  for (const std::string table : {"users", "user_roles", "user_wallets", "user_transactions",
                                  "user_status", "user_calls", "listener_badges"}) {
    CAPTURE(table);
    CHECK(refused("DELETE FROM " + table));
    CHECK(refused("TRUNCATE " + table));
    CHECK(refused("ALTER TABLE " + table + " ADD COLUMN x int"));
  }
  CHECK(refused("UPDATE users SET username = 'x'"));
  CHECK(refused("UPDATE user_status SET last_seen = now()"));
  CHECK(refused("UPDATE user_transactions SET coins_change = 0"));
  CHECK(refused("INSERT INTO users (username, dob, phone) VALUES ('x', '1990-01-01', '1')"));
  CHECK(refused("DROP TABLE saathii_tasks.job_run"));
  CHECK(refused("CREATE TABLE saathii_tasks.x ()"));
}

}  // namespace saathii::test
