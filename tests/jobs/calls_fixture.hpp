#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "saathii/base/time.hpp"
#include "saathii/jobs/job.hpp"
#include "support/platform_db.hpp"
#include "support/redis_server.hpp"

namespace saathii::test {

/// T of most tests; moments are given in seconds relative to it.
inline const Instant T = *parse_iso8601("2030-01-15T10:00:00Z");

inline Instant after(int seconds) { return T + std::chrono::seconds{seconds}; }

/// A platform with calls: rows written as the API writes them, the jobs run as
/// the daemon's least-privileged role, and the money counted afterwards.
class Calls {
 public:
  Calls() : state_("postgres"), redis_state_("redis") {
    platform.timezone = "Asia/Kolkata";
    platform.badges.tiers = {{{"basic", {}, 100, 600},
                              {"bronze", std::chrono::hours{3}, 125, 700},
                              {"silver", std::chrono::hours{6}, 150, 850},
                              {"gold", std::chrono::hours{9}, 180, 1000}}};
    config::Postgres postgres;
    postgres.url = db.daemon_url();
    pool = std::make_unique<postgres::Pool>(postgres, state_);
    use_redis("unix:///nonexistent/redis.sock");
  }

  /// Until it is called there is no Redis: nothing may depend on it.
  void use_redis(const std::string& url) {
    redis = std::make_unique<redis::Client>(RedisServer::patient(url), redis_state_);
  }

  /// A user with a status row, last seen at T unless told, and a wallet.
  int user(std::int64_t balance, int seen_s = 0) {
    const int id = ++users_;
    db.exec("INSERT INTO users (user_id, username, dob, phone) VALUES (" + std::to_string(id) +
            ", 'u" + std::to_string(id) + "', '1990-01-01', '" + std::to_string(id) + "')");
    db.exec("INSERT INTO user_wallets (user_id, balance_coins) VALUES (" + std::to_string(id) +
            ", " + std::to_string(balance) + ")");
    db.exec("INSERT INTO user_status (user_id, is_online, last_seen) VALUES (" +
            std::to_string(id) + ", true, '" + to_iso8601(after(seen_s)) + "')");
    openings_.emplace_back(id, balance);
    return id;
  }

  /// An ongoing call as the API starts it, its first minute paid; `balance` is
  /// what the caller had before. `start_s` relative to T.
  int start(int caller, int listener, int start_s, const std::string& type = "audio") {
    const std::int64_t rate = type == "audio" ? platform.rates.audio : platform.rates.video;
    const std::string r = std::to_string(rate);
    const std::string c = std::to_string(caller);
    const std::string expected =
        text("SELECT balance_coins / " + r + " FROM user_wallets WHERE user_id = " + c);
    db.exec("UPDATE user_wallets SET balance_coins = balance_coins - " + r +
            " WHERE user_id = " + c);
    db.exec(
        "INSERT INTO user_transactions (wallet_id, tx_type, coins_change) SELECT wallet_id, "
        "'spend', -" +
        r + " FROM user_wallets WHERE user_id = " + c);
    db.exec("UPDATE user_status SET is_busy = true, wait_time = " + expected +
            " WHERE user_id IN (" + c + ", " + std::to_string(listener) + ")");
    return raw_call(c, std::to_string(listener), type, start_s, r);
  }

  /// A call row with just these values (SQL text, so that NULL can be given).
  int raw_call(const std::string& caller, const std::string& listener, const std::string& type,
               int start_s, const std::string& coins_spent) {
    return std::stoi(
        text("INSERT INTO user_calls (user_id, listener_id, call_type, start_time, coins_spent) "
             "VALUES (" +
             caller + ", " + listener + ", " + (type == "NULL" ? type : "'" + type + "'") + ", '" +
             to_iso8601(after(start_s)) + "', " + coins_spent + ") RETURNING call_id"));
  }

  void top_up(int caller, std::int64_t coins) {
    const std::string c = std::to_string(caller);
    db.exec("UPDATE user_wallets SET balance_coins = balance_coins + " + std::to_string(coins) +
            " WHERE user_id = " + c);
    db.exec(
        "INSERT INTO user_transactions (wallet_id, tx_type, coins_change) SELECT wallet_id, "
        "'purchase', " +
        std::to_string(coins) + " FROM user_wallets WHERE user_id = " + c);
  }

  /// Both parties' heartbeat.
  void seen(int user_id, int at_s) {
    db.exec("UPDATE user_status SET last_seen = '" + to_iso8601(after(at_s)) +
            "' WHERE user_id = " + std::to_string(user_id));
  }

  void badge(int listener, const std::string& date, const std::string& name,
             const std::string& audio, const std::string& video) {
    db.exec(
        "INSERT INTO listener_badges (listener_id, date, badge, audio_rate_per_minute, "
        "video_rate_per_minute) VALUES (" +
        std::to_string(listener) + ", '" + date + "', '" + name + "', " + audio + ", " + video +
        ")");
  }

  /// Runs one job as if at T + `at_s`; settings other than the defaults are given.
  jobs::Report run(const std::string& kind_name, int at_s,
                   const std::vector<std::pair<std::string, config::Value>>& changed = {}) {
    for (const auto& kind : jobs::kinds()) {
      if (kind.info.name == kind_name) {
        auto& job = instances_[kind_name];
        if (job == nullptr) {
          job = kind.make();
        }
        config::Settings settings(kind.info.settings);
        for (const auto& [name, value] : changed) {
          settings.set(name, value);
        }
        return job->run({after(at_s), settings, platform, *pool, *redis, {}, {}, term, kind_name});
      }
    }
    throw std::logic_error("no job kind " + kind_name);
  }
  using Instances = std::map<std::string, std::shared_ptr<jobs::Job>>;
  /// Goes on with other instances of the jobs, new ones where none are given;
  /// returns those before, with all that they remember.
  Instances exchange_instances(Instances others = {}) {
    return std::exchange(instances_, std::move(others));
  }
  jobs::Report deduct(int at_s,
                      const std::vector<std::pair<std::string, config::Value>>& changed = {}) {
    return run("coin_deduction", at_s, changed);
  }
  jobs::Report clean(int at_s,
                     const std::vector<std::pair<std::string, config::Value>>& changed = {}) {
    return run("call_cleanup", at_s, changed);
  }

  /// What a query gives, as text; "t" and "f" for booleans.
  std::string text(const std::string& sql) { return db.rows(sql); }

  std::string call(int id, const std::string& column) {
    return text("SELECT " + column + " FROM user_calls WHERE call_id = " + std::to_string(id));
  }
  std::string wallet(int user_id, const std::string& column = "balance_coins") {
    return text("SELECT " + column +
                " FROM user_wallets WHERE user_id = " + std::to_string(user_id));
  }
  std::string status(int user_id, const std::string& column) {
    return text("SELECT " + column +
                " FROM user_status WHERE user_id = " + std::to_string(user_id));
  }
  /// The ledger of a call: "1:10:api 2:10:saathiid"; refunded ones end in "!".
  std::string ledger(int call_id) {
    return text(
        "SELECT coalesce(string_agg(minute || ':' || coins || ':' || source || "
        "CASE WHEN refunded_at IS NULL THEN '' ELSE '!' END, ' ' ORDER BY minute), '') "
        "FROM saathii_tasks.call_charge WHERE call_id = " +
        std::to_string(call_id));
  }

  /// Section 6 of the contract, as far as one database shows it.
  void check_invariants() {
    for (const auto& [user_id, opening] : openings_) {
      INFO("wallet of user " << user_id);
      const std::string u = std::to_string(user_id);
      CHECK(text("SELECT coalesce((SELECT balance_coins - coalesce(sum(t.coins_change), 0) "
                 "FROM user_wallets w LEFT JOIN user_transactions t USING (wallet_id) "
                 "WHERE user_id = " +
                 u + " GROUP BY wallet_id), " + std::to_string(opening) + ")") ==
            std::to_string(opening));
      CHECK(text("SELECT count(*) FROM (SELECT withdrawable_money - "
                 "coalesce(sum(t.money_change), 0) AS rest FROM user_wallets w "
                 "LEFT JOIN user_transactions t USING (wallet_id) WHERE user_id = " +
                 u + " GROUP BY wallet_id) x WHERE rest <> 0") == "0");
    }
    CHECK(text("SELECT count(*) FROM user_wallets WHERE balance_coins < 0") == "0");
    CHECK(text("SELECT count(*) FROM (SELECT call_id FROM saathii_tasks.call_charge GROUP BY "
               "call_id HAVING max(minute) <> count(*)) gaps") == "0");
    CHECK(text("SELECT count(*) FROM user_calls c JOIN (SELECT call_id, sum(coins) FILTER "
               "(WHERE refunded_at IS NULL) AS coins FROM saathii_tasks.call_charge GROUP BY "
               "call_id) l USING (call_id) WHERE c.coins_spent <> l.coins") == "0");
    CHECK(text("SELECT count(*) FROM saathii_tasks.call_charge l JOIN user_calls c USING "
               "(call_id) WHERE c.status <> 'ongoing' AND l.minute_start > c.end_time AND "
               "l.refunded_at IS NULL") == "0");
    CHECK(text("SELECT count(*) FROM user_calls c FULL JOIN saathii_tasks.call_settlement s "
               "USING (call_id) WHERE (c.status = 'dropped') <> (s.call_id IS NOT NULL)") == "0");
  }

  PlatformDb db;
  config::Platform platform;
  std::unique_ptr<postgres::Pool> pool;
  std::unique_ptr<redis::Client> redis;
  std::int64_t term = 0;  ///< of leadership, under which runs work; 0: any

 private:
  ServerState state_;
  ServerState redis_state_;
  int users_ = 0;
  std::vector<std::pair<int, std::int64_t>> openings_;
  Instances instances_;
};

inline std::int64_t count(const jobs::Report& report, std::string_view name) {
  for (const auto& [key, number] : report.counts) {
    if (key == name) {
      return number;
    }
  }
  throw std::logic_error("no count " + std::string{name});
}

}  // namespace saathii::test
