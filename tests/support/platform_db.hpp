#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include "saathii/base/server_state.hpp"
#include "saathii/base/time.hpp"
#include "saathii/config/config.hpp"
#include "saathii/postgres/migrations.hpp"
#include "saathii/postgres/pool.hpp"
#include "saathii/postgres/pqxx.hpp"

// A platform's database of a test's own, on the server of
// SAATHII_TEST_DATABASE_URL. Tests may run in parallel.

namespace saathii::test {

/// A moment in RFC 3339: "2030-01-15T10:00:00Z".
inline Instant at(std::string_view text) {
  const auto moment = parse_iso8601(text);
  if (!moment) throw std::invalid_argument(fmt::format("'{}' is no moment", text));
  return *moment;
}

/// The server's URL with another database and user:
/// "postgresql:///postgres?host=DIR&port=N&user=postgres" is the form it needs.
class ServerUrl {
 public:
  ServerUrl() {
    const char* url = std::getenv("SAATHII_TEST_DATABASE_URL");
    if (url == nullptr || *url == '\0') {
      throw std::runtime_error(
          "SAATHII_TEST_DATABASE_URL is not set: run the tests with scripts/test, or name a "
          "PostgreSQL to make databases in: postgresql:///postgres?host=DIR&port=N&user=postgres");
    }
    text_ = url;
    const auto path = text_.find("///");
    const auto query = text_.find('?');
    const auto user = text_.find("user=");
    if (path == std::string::npos || query == std::string::npos || user == std::string::npos) {
      throw std::runtime_error(
          "SAATHII_TEST_DATABASE_URL must have the form "
          "postgresql:///postgres?host=DIR&port=N&user=postgres");
    }
  }

  [[nodiscard]] std::string maintenance() const { return text_; }

  [[nodiscard]] std::string database(std::string_view name) const {
    std::string url = text_;
    const auto begin = url.find("///") + 3;
    return url.replace(begin, url.find('?') - begin, name);
  }

  [[nodiscard]] std::string database_as(std::string_view name, std::string_view user) const {
    std::string url = database(name);
    const auto begin = url.find("user=") + 5;
    return url.replace(begin, url.find('&', begin) - begin, user);
  }

 private:
  std::string text_;
};

inline std::string read_source_file(const std::string& path) {
  std::ifstream file(std::string{SAATHII_SOURCE_DIR} + "/" + path);
  if (!file) throw std::runtime_error("cannot read " + path);
  return (std::ostringstream{} << file.rdbuf()).str();
}

/// A database with the platform's tables, saathiid's own, and the role
/// saathiid, but no rows. Copied from a template that is built once for all.
class PlatformDb {
 public:
  enum class Content {
    migrated,      ///< everything
    platform_only  ///< without saathiid's own schema and role
  };

  explicit PlatformDb(Content content = Content::migrated) {
    static std::atomic<int> count = 0;
    name_ = fmt::format("saathii_test_{}_{}", getpid(), ++count);
    pqxx::connection server(url_.maintenance());
    pqxx::nontransaction each(server);
    const std::string source = make_template(each, content);
    each.exec(fmt::format("DROP DATABASE IF EXISTS {} WITH (FORCE)", name_));
    each.exec(fmt::format("CREATE DATABASE {} TEMPLATE {}", name_, source));
    owner_ = std::make_unique<pqxx::connection>(owner_url());
    exec("SET TimeZone = 'UTC'");
  }

  ~PlatformDb() {
    owner_.reset();
    try {
      pqxx::connection server(url_.maintenance());
      pqxx::nontransaction(server).exec(
          fmt::format("DROP DATABASE IF EXISTS {} WITH (FORCE)", name_));
    } catch (const std::exception&) {
      // A database left behind harms nobody.
    }
  }

  PlatformDb(const PlatformDb&) = delete;
  PlatformDb& operator=(const PlatformDb&) = delete;

  [[nodiscard]] std::string owner_url() const { return url_.database(name_); }

  /// As the daemon's least-privileged role.
  [[nodiscard]] std::string daemon_url() const { return url_.database_as(name_, "saathiid"); }

  [[nodiscard]] config::Postgres owner_settings() const { return settings(owner_url()); }
  [[nodiscard]] config::Postgres daemon_settings() const { return settings(daemon_url()); }

  /// One statement as the owner, committed at once.
  pqxx::result exec(const std::string& sql) { return pqxx::nontransaction(*owner_).exec(sql); }

  /// The one value that `sql` gives; as text NULL is empty.
  template <typename Value = std::string>
  Value value(const std::string& sql) {
    const auto rows = exec(sql);
    const auto field = rows.at(0).at(0);
    if constexpr (std::is_same_v<Value, std::string>) {
      return field.c_str();
    } else {
      return field.template as<Value>();
    }
  }

  /// The rows as text, for people and CHECK: "1|t|;2|f|7".
  std::string rows(const std::string& sql) {
    std::string text;
    for (const auto& row : exec(sql)) {
      if (!text.empty()) text += ';';
      bool first = true;
      for (const auto& field : row) {
        if (!first) text += '|';
        first = false;
        text += field.c_str();
      }
    }
    return text;
  }

  /// `role` is "customer", "listener" or "" for none.
  int add_user(std::string_view role = "customer",
               const std::optional<std::string>& username = {}) {
    const int number = ++users_;
    const auto name = username.value_or(fmt::format("user{}", number));
    const int user_id = value<int>(
        fmt::format("INSERT INTO users (username, sex, dob, phone) VALUES ({}, 'female', "
                    "'1990-01-01', '+91{:08}') RETURNING user_id",
                    literal(name), number));
    if (!role.empty()) {
      exec(fmt::format("INSERT INTO user_roles (user_id, role) VALUES ({}, '{}')", user_id, role));
    }
    return user_id;
  }

  void delete_user(int user_id) {
    exec(fmt::format("DELETE FROM users WHERE user_id = {}", user_id));
  }

  int add_wallet(int user_id, std::optional<std::int64_t> balance_coins,
                 const std::string& money = "0") {
    return value<int>(
        fmt::format("INSERT INTO user_wallets (user_id, balance_coins, withdrawable_money) "
                    "VALUES ({}, {}, {}) RETURNING wallet_id",
                    user_id, literal(balance_coins), money));
  }

  /// What is left out is NULL.
  struct Status {
    std::optional<bool> is_online = {};
    std::optional<Instant> last_seen = {};
    std::optional<bool> is_busy = {};
    std::optional<int> wait_time = {};
    std::optional<Instant> updated_at = {};
  };

  void add_status(int user_id, const Status& status) {
    exec(fmt::format(
        "INSERT INTO user_status (user_id, is_online, last_seen, is_busy, wait_time, "
        "updated_at) VALUES ({}, {}, {}, {}, {}, {})",
        user_id, literal(status.is_online), literal(status.last_seen), literal(status.is_busy),
        literal(status.wait_time), literal(status.updated_at)));
  }

  /// What is left out is NULL, but for the type and the status.
  struct Call {
    int user_id;
    int listener_id;
    Instant start_time;
    std::string call_type = "audio";
    std::optional<std::int64_t> coins_spent = {};
    std::optional<std::string> status = "ongoing";
    std::optional<Instant> end_time = {};
    std::optional<int> duration_minutes = {};
  };

  int add_call(const Call& call) {
    return value<int>(fmt::format(
        "INSERT INTO user_calls (user_id, listener_id, start_time, call_type, "
        "coins_spent, status, end_time, duration_minutes, duration_seconds) "
        "VALUES ({}, {}, {}, {}, {}, {}, {}, {}, {}) RETURNING call_id",
        call.user_id, call.listener_id, literal(call.start_time), literal(call.call_type),
        literal(call.coins_spent), literal(call.status), literal(call.end_time),
        literal(call.duration_minutes), duration_seconds(call)));
  }

  // SQL literals; nothing is NULL.
  static std::string literal(bool value) { return value ? "true" : "false"; }
  static std::string literal(std::int64_t value) { return std::to_string(value); }
  static std::string literal(int value) { return std::to_string(value); }
  static std::string literal(Instant moment) { return "'" + to_iso8601(moment) + "'"; }
  static std::string literal(const std::string& text) {
    std::string quoted = "'";
    for (const char letter : text) {
      quoted.append(letter == '\'' ? 2 : 1, letter);
    }
    return quoted + "'";
  }
  template <typename Value>
  static std::string literal(const std::optional<Value>& value) {
    return value ? literal(*value) : "NULL";
  }

 private:
  static config::Postgres settings(const std::string& url) {
    config::Postgres postgres;
    postgres.url = url;
    return postgres;
  }

  static std::string duration_seconds(const Call& call) {
    if (!call.end_time) return "NULL";
    const auto length = *call.end_time - call.start_time;
    return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(length).count());
  }

  /// Named by what it is built from, so that no older one is taken for it.
  std::string make_template(pqxx::transaction_base& server, Content content) const {
    const std::string schema = read_source_file("tests/platform/schema.sql");
    // But for psql's own command.
    const std::string for_psql = "\\set ON_ERROR_STOP on\n";
    std::string role = read_source_file("deploy/saathiid-role.sql");
    role.erase(role.find(for_psql), for_psql.size());
    const std::string migrations = read_source_file("src/postgres/migrations.sql");
    const bool migrated = content == Content::migrated;
    std::string name =
        fmt::format("saathii_template_{:016x}",
                    std::hash<std::string>{}(migrated ? schema + migrations + role : schema));
    // Concurrent tests build it once.
    server.exec("SELECT pg_advisory_lock(7305817306)");
    if (server.exec(fmt::format("SELECT FROM pg_database WHERE datname = '{}'", name)).empty()) {
      const std::string draft = name + "_draft";
      server.exec(fmt::format("DROP DATABASE IF EXISTS {} WITH (FORCE)", draft));
      server.exec(fmt::format("CREATE DATABASE {}", draft));
      run_script(draft, schema);
      if (migrated) {
        migrate(draft);
        run_script(draft, role);
      }
      server.exec(fmt::format("ALTER DATABASE {} RENAME TO {}", draft, name));
    }
    server.exec("SELECT pg_advisory_unlock(7305817306)");
    return name;
  }

  void run_script(const std::string& database, const std::string& sql) const {
    pqxx::connection connection(url_.database(database));
    pqxx::nontransaction(connection).exec(sql);
  }

  void migrate(const std::string& database) const {
    ServerState state("postgres");
    postgres::Pool pool(settings(url_.database(database)), state);
    postgres::migrate(pool, {});
  }

  const ServerUrl url_;
  std::string name_;
  std::unique_ptr<pqxx::connection> owner_;
  int users_ = 0;
};

}  // namespace saathii::test
