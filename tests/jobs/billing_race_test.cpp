#include <atomic>
#include <random>
#include <thread>

#include "calls_fixture.hpp"
#include "saathii/base/errors.hpp"

// Two daemons charge and clean up at once while the API ends, starts, tops up
// and deletes, and sessions are killed. Counts are bounded, nothing sleeps; what
// must hold afterwards is section 6 of the platform contract.

using namespace saathii;
using namespace saathii::test;

namespace {

constexpr int callers = 40;  ///< users 1 to 40; 41 to 80 listen
constexpr int rich = 5;      ///< the first so many callers: rich, and always there
constexpr int deduct_runs = 25;
constexpr int clean_runs = 15;
constexpr int requests_a_run = 8;
constexpr int kills = 25;

/// What all threads share. Time is what the runs make of it.
struct Arena {
  Calls calls;
  RedisServer redis;
  std::atomic<int> clock_s = 0;
  std::atomic<int> progress = 0;
  std::atomic<int> broken_off = 0;
  std::atomic<int> daemons = 0;  ///< threads that still run jobs
  std::atomic<int> runs = 0;

  void step() {
    ++progress;
    progress.notify_all();
  }
  void step_run() {
    ++runs;
    runs.notify_all();
    step();
  }
  [[nodiscard]] Instant now() const { return after(clock_s); }
};

/// A daemon's pool, Redis connection and instance of one job.
class Daemon {
 public:
  Daemon(Arena& arena, const std::string& kind_name)
      : arena_(arena), pool_(settings(arena), state_), redis_(redis_settings(arena), redis_state_) {
    for (const auto& kind : jobs::kinds()) {
      if (kind.info.name == kind_name) {
        settings_.emplace(kind.info.settings);
        job_ = kind.make();
      }
    }
    settings_->set("batch_size", std::int64_t{7});
  }

  void run(Instant moment) {
    job_->run({moment, *settings_, arena_.calls.platform, pool_, redis_, {}});
  }

  /// Again where a session dies of the last kill.
  void run_for_sure(Instant moment) {
    for (int tries = 0; tries < kills; ++tries) {
      try {
        return run(moment);
      } catch (const Unavailable&) {
        ++arena_.broken_off;
      }
    }
    FAIL("no run in " << kills << " tries");
  }

  void run_often(int runs, int step_s) {
    for (int i = 0; i < runs; ++i) {
      try {
        run(after(arena_.clock_s += step_s));
      } catch (const Unavailable&) {
        ++arena_.broken_off;
      }
      arena_.step_run();
    }
  }

 private:
  static config::Postgres settings(const Arena& arena) {
    config::Postgres postgres;
    postgres.url = arena.calls.db.daemon_url();
    return postgres;
  }
  static config::Redis redis_settings(const Arena& arena) { return arena.redis.settings(); }

  Arena& arena_;
  ServerState state_{"postgres"};
  ServerState redis_state_{"redis"};
  postgres::Pool pool_;
  redis::Client redis_;
  std::optional<config::Settings> settings_;
  std::unique_ptr<jobs::Job> job_;
};

/// The platform's API: each request one transaction, Redis after the commit.
class Api {
 public:
  Api(Arena& arena, unsigned seed)
      : arena_(arena), random_(seed), connection_(arena.calls.db.owner_url()) {
    redis_ = std::make_unique<redis::Client>(arena.redis.settings(), state_);
  }

  /// A few requests for every run, until there are no more.
  void serve() {
    for (int i = 0; arena_.daemons > 0; ++i) {
      const int runs = arena_.runs;
      if (i % requests_a_run == 0 && arena_.daemons > 0) arena_.runs.wait(runs);
      try {
        pqxx::work transaction(connection_);
        const auto after_commit = request(transaction);
        transaction.commit();
        if (!after_commit.empty()) redis_->command(after_commit);
      } catch (const pqxx::sql_error& error) {
        if (error.sqlstate() != "40P01") throw;
      }
      arena_.step();
    }
  }

  redis::Command start(pqxx::work& sql, int caller, int listener) {
    const auto rows = sql.exec(fmt::format(
        "WITH allowed AS (SELECT wallet_id, balance_coins / 10 AS minutes FROM user_wallets w "
        "WHERE user_id = {0} AND balance_coins >= 10 AND EXISTS (SELECT FROM users WHERE user_id "
        "= {1}) AND NOT EXISTS (SELECT FROM user_calls WHERE status = 'ongoing' AND (user_id IN "
        "({0}, {1}) OR listener_id IN ({0}, {1}))) FOR UPDATE), paid AS (UPDATE user_wallets w "
        "SET balance_coins = balance_coins - 10 FROM allowed WHERE w.wallet_id = "
        "allowed.wallet_id), noted AS (INSERT INTO user_transactions (wallet_id, tx_type, "
        "coins_change) SELECT wallet_id, 'spend', -10 FROM allowed), busy AS (UPDATE user_status "
        "SET is_busy = true, wait_time = minutes, last_seen = greatest(last_seen, '{2}') FROM "
        "allowed WHERE user_id IN ({0}, {1})) INSERT INTO user_calls (user_id, listener_id, "
        "call_type, start_time, coins_spent) SELECT {0}, {1}, 'audio', '{2}', 10 FROM allowed "
        "RETURNING call_id",
        caller, listener, to_iso8601(arena_.now())));
    if (rows.empty()) return {};
    return {"HSET", std::string{"call:"} + rows[0][0].c_str(), "coins_spent", "10"};
  }

 private:
  redis::Command request(pqxx::work& sql) {
    const int caller = draw(1, callers);
    const int kind = draw(0, 99);
    if (kind < 8) return end(sql, caller);
    if (kind < 35) return start(sql, caller, draw(callers + 1, 2 * callers));
    if (kind < 45) {
      sql.exec(fmt::format(
          "WITH w AS (UPDATE user_wallets SET balance_coins = balance_coins + {1} WHERE user_id = "
          "{0} RETURNING wallet_id) INSERT INTO user_transactions (wallet_id, tx_type, "
          "coins_change) SELECT wallet_id, 'purchase', {1} FROM w",
          caller, draw(1, 50)));
    } else if (kind < 97) {
      sql.exec(fmt::format(
          "UPDATE user_status SET last_seen = greatest(last_seen, '{}') WHERE user_id = {}",
          to_iso8601(arena_.now()), draw(1, 2 * callers)));
    } else if (caller > rich && deleted_++ < 5) {
      return remove(sql, caller);
    }
    return {};
  }

  redis::Command end(pqxx::work& sql, int caller) {
    const auto ended = sql.exec(
        fmt::format("UPDATE user_calls SET status = 'completed' WHERE user_id = {} AND status = "
                    "'ongoing' RETURNING call_id, listener_id",
                    caller));
    if (ended.empty()) return {};
    // Its moment is read under the row's lock, so that no charge of a later run precedes it.
    sql.exec(fmt::format(
        "UPDATE user_calls SET end_time = greatest(start_time, '{}') WHERE call_id = {}",
        to_iso8601(arena_.now()), ended[0][0].c_str()));
    const std::string listener = ended[0][1].c_str();
    sql.exec(
        "WITH w AS (UPDATE user_wallets SET withdrawable_money = withdrawable_money + 1 WHERE "
        "user_id = " +
        listener +
        " RETURNING wallet_id) INSERT INTO user_transactions (wallet_id, tx_type, money_change) "
        "SELECT wallet_id, 'bonus', 1 FROM w");
    sql.exec(fmt::format(
        "UPDATE user_status SET is_busy = false, wait_time = NULL WHERE user_id IN ({}, {})",
        caller, listener));
    return {"DEL", std::string{"call:"} + ended[0][0].c_str()};
  }

  /// The call goes with its caller.
  redis::Command remove(pqxx::work& sql, int caller) {
    redis::Command after_commit = {"DEL", "call:0"};
    for (const auto& row : sql.exec(fmt::format(
             "SELECT call_id FROM user_calls WHERE user_id = {} AND status = 'ongoing'", caller))) {
      after_commit.push_back(std::string{"call:"} + row[0].c_str());
    }
    sql.exec(fmt::format("DELETE FROM users WHERE user_id = {}", caller));
    return after_commit;
  }

  int draw(int from, int to) { return std::uniform_int_distribution<int>(from, to)(random_); }

  Arena& arena_;
  std::minstd_rand random_;
  pqxx::connection connection_;
  ServerState state_{"redis"};
  std::unique_ptr<redis::Client> redis_;
  int deleted_ = 0;
};

/// Kills a session of a daemon each time that the others have done some more.
void kill_sessions(Arena& arena, unsigned seed) {
  std::minstd_rand random(seed);
  pqxx::connection connection(arena.calls.db.owner_url());
  pqxx::nontransaction each(connection);
  for (int i = 0; i < kills && arena.daemons > 0; ++i) {
    const int wanted = arena.progress + std::uniform_int_distribution<int>(1, 20)(random);
    for (int seen = arena.progress; seen < wanted && arena.daemons > 0; seen = arena.progress) {
      arena.progress.wait(seen);
    }
    each.exec(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'saathiid' AND "
        "datname = current_database() ORDER BY random() LIMIT 1");
  }
}

void populate(Arena& arena, Api& api) {
  arena.calls.db.exec("ALTER DATABASE " +
                      arena.calls.text("SELECT quote_ident(current_database())") +
                      " SET deadlock_timeout = '20ms'");
  for (int user = 1; user <= 2 * callers; ++user) {
    arena.calls.user(user <= rich ? 1'000'000 : user <= callers ? 20 + 7 * user : 0);
  }
  arena.calls.db.exec(
      fmt::format("UPDATE user_status SET last_seen = 'infinity' WHERE user_id <= {}", rich));
  pqxx::connection connection(arena.calls.db.owner_url());
  pqxx::work transaction(connection);
  for (int caller = 1; caller <= callers; ++caller) {
    api.start(transaction, caller, caller + callers);
  }
  transaction.commit();
}

void check_what_must_hold(Arena& arena, const Instant& end) {
  Calls& calls = arena.calls;
  calls.check_invariants();
  INFO("caught up: every started minute of every ongoing call is paid");
  CHECK(calls.text(fmt::format(
            "SELECT count(*) FROM user_calls c WHERE status = 'ongoing' AND (SELECT max(minute) "
            "FROM saathii_tasks.call_charge l WHERE l.call_id = c.call_id) IS DISTINCT FROM CASE "
            "WHEN start_time + interval '1 minute' <= '{0}' THEN floor(extract(epoch FROM '{0}' - "
            "start_time) / 60) + 1 END AND start_time + interval '1 minute' <= '{0}'",
            to_iso8601(end))) == "0");
  CHECK(calls.text(fmt::format("SELECT count(*) FROM user_calls WHERE user_id <= {} AND status = "
                               "'dropped'",
                               rich)) == "0");
  CHECK(calls.text("SELECT count(*) FROM user_status s WHERE is_busy <> EXISTS (SELECT FROM "
                   "user_calls c WHERE c.status = 'ongoing' AND s.user_id IN (c.user_id, "
                   "c.listener_id))") == "0");
  CHECK(calls.text("SELECT count(*) FROM (SELECT user_id, sum(money_change) AS earned FROM "
                   "user_transactions JOIN user_wallets USING (wallet_id) WHERE tx_type = 'earn' "
                   "GROUP BY 1) t FULL JOIN (SELECT listener_id, sum(earned) AS earned FROM "
                   "saathii_tasks.call_settlement WHERE earned > 0 GROUP BY 1) s ON listener_id "
                   "= user_id WHERE t.earned IS DISTINCT FROM s.earned") == "0");
}

void check_redis(Arena& arena) {
  ServerState state("redis");
  redis::Client client(arena.redis.settings(), state);
  std::map<std::string, std::string> shown;
  for (const auto& key : client.command({"KEYS", "call:*"}).list) {
    shown[key.text] = client.command({"HGET", key.text, "coins_spent"}).text;
  }
  std::map<std::string, std::string> held;
  for (const auto& row : arena.calls.db.exec(
           "SELECT 'call:' || call_id, coins_spent FROM user_calls WHERE status = 'ongoing'")) {
    held[row[0].c_str()] = row[1].c_str();
  }
  CHECK(shown == held);
}

}  // namespace

TEST_CASE("two daemons beside the API and with killed sessions leave every invariant true") {
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  Arena arena;
  Api api(arena, seed);
  populate(arena, api);
  Daemon deducts[] = {{arena, "coin_deduction"}, {arena, "coin_deduction"}};
  Daemon cleans[] = {{arena, "call_cleanup"}, {arena, "call_cleanup"}};
  std::mutex mutex;
  std::vector<std::string> errors;
  {
    std::vector<std::jthread> threads;
    const auto work = [&](int daemons, auto&& body) {
      arena.daemons += daemons;
      threads.emplace_back([&, daemons, body] {
        try {
          body();
        } catch (const std::exception& error) {
          const std::scoped_lock lock(mutex);
          errors.emplace_back(error.what());
        }
        arena.daemons -= daemons;
        arena.step_run();
      });
    };
    for (auto& daemon : deducts) work(1, [&] { daemon.run_often(deduct_runs, 11); });
    for (auto& daemon : cleans) work(1, [&] { daemon.run_often(clean_runs, 5); });
    work(0, [&] { api.serve(); });
    threads.emplace_back([&] { kill_sessions(arena, seed); });
  }
  for (const auto& error : errors) FAIL_CHECK(error);
  arena.calls.db.exec("UPDATE user_status SET last_seen = 'infinity'");
  const Instant end = after(arena.clock_s += 1);
  for (auto& daemon : deducts) daemon.run_for_sure(end);
  for (auto& daemon : cleans) daemon.run_for_sure(end);
  // Whose partner was deleted is busy until this job looks.
  arena.calls.run("presence_cleanup", arena.clock_s);
  INFO(arena.broken_off << " runs broken off");
  check_what_must_hold(arena, end);
  check_redis(arena);
}
