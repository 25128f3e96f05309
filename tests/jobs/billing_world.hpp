#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "billing_model.hpp"
#include "calls_fixture.hpp"

// A platform twice: in PostgreSQL and as the model. What happens happens to
// both, and differences() tells where they differ.

namespace saathii::test {

/// Kept from history to history: the database, the pool, and the API's session.
struct Stage : Calls {
  void clear() {
    // Much faster than TRUNCATE, which makes new files; foreign keys need no look.
    std::string sql = "SET LOCAL session_replication_role = replica;";
    for (const char* table :
         {"users", "user_wallets", "user_transactions", "user_status", "user_calls",
          "listener_badges", "saathii_tasks.call_charge", "saathii_tasks.call_settlement",
          "saathii_tasks.coin_rate", "saathii_tasks.minute_length"}) {
      sql += fmt::format("DELETE FROM {};", table);
    }
    db.exec(sql);
    platform.rates = {};
    platform.earnings_in = config::EarningsIn::rupees;
  }
};

class World {
 public:
  World(Stage& stage, Instant begin, const std::string& zone, bool earns_coins)
      : stage_(stage), now_(begin) {
    stage_.clear();
    stage_.platform.timezone = zone;
    stage_.platform.earnings_in =
        earns_coins ? config::EarningsIn::coins : config::EarningsIn::rupees;
    model_.zone = tz::locate_zone(zone);
    model_.earns_coins = earns_coins;
  }

  model::Platform& expected() { return model_; }
  [[nodiscard]] Instant now() const { return now_; }
  void pass(Duration length) { now_ += length; }

  void add_user(const model::User& user) {
    const int id = ++users_;
    model_.users[id] = user;
    openings_[id] = user.coins.value_or(0);
    const auto as_sql = [](const auto& value) { return PlatformDb::literal(value); };
    std::string sql = fmt::format(
        "INSERT INTO users (user_id, username, dob, phone) VALUES ({0}, 'u{0}', '1990-01-01', "
        "'{0}');",
        id);
    if (user.has_wallet) {
      sql += fmt::format(
          "INSERT INTO user_wallets (user_id, balance_coins, withdrawable_money) VALUES ({}, {}, "
          "{});",
          id, as_sql(user.coins), user.coins ? "0" : "NULL");
    }
    if (user.has_status) {
      sql += fmt::format(
          "INSERT INTO user_status (user_id, last_seen, is_busy, wait_time) VALUES ({}, {}, {}, "
          "{});",
          id, as_sql(user.last_seen), user.is_busy, as_sql(user.wait_time));
    }
    stage_.db.exec(sql);
  }

  /// A row as somebody may have left it, with no coins taken by anybody here.
  void add_call(int caller, int listener, const std::string& type, Instant start,
                std::optional<std::int64_t> coins_spent) {
    const int id = ++calls_;
    model::Call call;
    call.id = id;
    call.caller = caller;
    call.listener = listener;
    call.type = type;
    call.start = start;
    call.coins_spent = coins_spent.value_or(0);
    model_.calls[id] = call;
    const auto or_null = [](int user) { return user == 0 ? "NULL" : std::to_string(user); };
    stage_.db.exec(fmt::format(
        "INSERT INTO user_calls (call_id, user_id, listener_id, call_type, start_time, "
        "coins_spent) VALUES ({}, {}, {}, {}, {}, {})",
        id, or_null(caller), or_null(listener), type.empty() ? "NULL" : "'" + type + "'",
        PlatformDb::literal(start), PlatformDb::literal(coins_spent)));
  }

  void add_badge(int listener, const std::string& day, model::Badge badge) {
    if (model_.badges.emplace(std::pair(listener, day), badge).second) {
      stage_.badge(listener, day, "gold", paise(badge.audio_paise), paise(badge.video_paise));
    }
  }

  // What the API does; nothing where there is no such user or call.

  void top_up(int user, std::int64_t coins) {
    if (!model_.users.contains(user) || !model_.users[user].has_wallet) return;
    model_.move(user, "purchase", coins);
    stage_.db.exec(fmt::format(
        "WITH w AS (UPDATE user_wallets SET balance_coins = coalesce(balance_coins, 0) + {1} "
        "WHERE user_id = {0} RETURNING wallet_id) INSERT INTO user_transactions (wallet_id, "
        "tx_type, coins_change) SELECT wallet_id, 'purchase', {1} FROM w",
        user, coins));
  }

  void heartbeat(int user) { set_last_seen(user, now_); }

  void set_last_seen(int user, Instant moment) {
    if (!model_.users.contains(user) || !model_.users[user].has_status) return;
    model_.users[user].last_seen = moment;
    stage_.db.exec(fmt::format("UPDATE user_status SET last_seen = {} WHERE user_id = {}",
                               PlatformDb::literal(moment), user));
  }

  void set_wait_time(int user, int wait_time) {
    if (!model_.users.contains(user) || !model_.users[user].has_status) return;
    model_.users[user].wait_time = wait_time;
    stage_.db.exec(
        fmt::format("UPDATE user_status SET wait_time = {} WHERE user_id = {}", wait_time, user));
  }

  void end(int call_id) {
    if (!model_.calls.contains(call_id) || !model_.calls[call_id].is_ongoing()) return;
    model::Call& call = model_.calls[call_id];
    call.status = "completed";
    call.end = std::max(now_, call.start);
    for (const int party : {call.caller, call.listener}) {
      if (model_.users.contains(party)) {
        model_.users[party].is_busy = false;
        model_.users[party].wait_time.reset();
      }
    }
    stage_.db.exec(fmt::format(
        "UPDATE user_status SET is_busy = false, wait_time = NULL WHERE user_id IN ({1}, {2}); "
        "UPDATE user_calls SET status = 'completed', end_time = {3} WHERE call_id = {0}",
        call_id, call.caller, call.listener, PlatformDb::literal(*call.end)));
  }

  void remove_user(int user) {
    model_.users.erase(user);
    std::erase_if(model_.calls, [&](const auto& entry) {
      return entry.second.caller == user || entry.second.listener == user;
    });
    stage_.db.delete_user(user);
  }

  void set_rate(const std::string& type, std::int64_t coins) {
    model_.configured[type] = coins;
    (type == "video" ? stage_.platform.rates.video : stage_.platform.rates.audio) = coins;
  }

  void set_increment(Duration increment) {
    model_.increment = stage_.platform.rates.increment = increment;
  }

  // Runs, as if at `moment`.

  void deduct(Instant moment, const model::Limits& limits);
  void clean(Instant moment, const model::Limits& limits);

  /// The lines that differ, and the invariants of section 6 that do not
  /// hold; empty if all is well.
  std::string differences();

 private:
  static std::string paise(std::int64_t amount) {
    return fmt::format("{}.{:02}", amount / 100, amount % 100);
  }

  void run(const std::string& kind_name, Instant moment, const model::Limits& limits);
  void take_wait_times(const std::map<int, model::User>& before,
                       const std::map<int, std::size_t>& ongoing_before, Instant moment,
                       bool may_set);
  [[nodiscard]] std::map<int, std::size_t> count_ongoing() const;
  [[nodiscard]] std::string model_text() const;
  std::string wrong_sums();

  Stage& stage_;
  Instant now_;
  model::Platform model_;
  std::map<int, std::int64_t> openings_;
  int users_ = 0;
  int calls_ = 0;
  std::string wrong_waits_;
};

}  // namespace saathii::test
