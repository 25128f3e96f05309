#include "saathii/jobs/shares.hpp"

#include <algorithm>
#include <atomic>
#include <thread>

#include "calls_fixture.hpp"
#include "support/watched.hpp"

namespace saathii::test {

namespace {

using jobs::Shares;

struct Platform : Calls {
  Platform() {
    db.exec("UPDATE saathii_tasks.leadership SET term = 3, lease = '1 hour'");
    db.exec(
        "INSERT INTO saathii_tasks.instance (id, name, backend_pid) VALUES "
        "('0d1c64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d', 'helper', 1)");
  }
};

/// The other instance, which looks for work all the time and reaches no Redis.
class Helper {
 public:
  explicit Helper(Platform& platform)
      : thread_([this, &platform] {
          const auto kind = std::ranges::find_if(
              jobs::kinds(), [](const auto& each) { return each.info.name == "coin_deduction"; });
          const auto job = kind->make();
          ServerState redis_state("redis");
          redis::Client redis(RedisServer::patient("unix:///nonexistent/redis.sock"), redis_state);
          config::Settings settings(kind->info.settings);
          settings.set("batch_size", std::int64_t{5});
          while (!ended_) {
            try {
              const auto report = job->help({{},
                                             settings,
                                             platform.platform,
                                             *platform.pool,
                                             redis,
                                             {},
                                             {},
                                             3,
                                             "coin_deduction"});
              has_charged_ = has_charged_ || (report.summary.ends_with(" charged") &&
                                              !report.summary.starts_with("0 "));
            } catch (const std::exception& error) {
              ended_ = true;
              failure_ = error.what();
            }
          }
        }) {}
  ~Helper() {
    ended_ = true;
    thread_.join();
    CHECK(failure_.empty());
  }
  Helper(const Helper&) = delete;
  Helper& operator=(const Helper&) = delete;

  [[nodiscard]] bool has_charged() const { return has_charged_; }

 private:
  std::atomic<bool> ended_ = false;
  std::atomic<bool> has_charged_ = false;
  std::string failure_;
  std::thread thread_;
};

}  // namespace

TEST_CASE("a slice is claimed once, and again if the session that claimed it is gone") {
  Platform platform;
  const auto leader = platform.pool->lease({});
  const auto shares = Shares::offer(*leader, "charge", 3, T, 2);
  {
    ServerState state("postgres");
    postgres::Session helper(platform.db.daemon_settings(), state);
    const auto found = Shares::find(helper, "charge");
    REQUIRE(found);
    CHECK(found->moment() == T);
    CHECK(found->slices() == 2);
    CHECK(found->claim(helper) == 0);
    CHECK(shares.claim(*leader) == 1);
    CHECK_FALSE(shares.claim(*leader));
    CHECK_FALSE(found->claim(helper));
    CHECK_FALSE(Shares::find(helper, "charge"));
    found->finish(helper, 0, {{"coins", 7}, {"charged", 1}});
    shares.finish(*leader, 1, {});
    CHECK(shares.left(*leader) == 0);
    CHECK(shares.sums(*leader) == Shares::Counts{{"charged", 1}, {"coins", 7}});

    const auto again = Shares::offer(*leader, "charge", 3, T, 1);
    CHECK(again.claim(helper) == 0);
    CHECK_FALSE(again.claim(*leader));
  }
  std::optional<int> claimed;
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!(claimed = shares.claim(*leader)) && std::chrono::steady_clock::now() < until) {
    std::this_thread::yield();  // until the server knows that the session has ended
  }
  CHECK(claimed == 0);
  shares.close(*leader);
  CHECK_FALSE(Shares::find(*leader, "charge"));
}

TEST_CASE("what is offered under an older term is nobody's work") {
  Platform platform;
  const auto session = platform.pool->lease({});
  static_cast<void>(Shares::offer(*session, "charge", 2, T, 4));
  CHECK_FALSE(Shares::find(*session, "charge"));
}

TEST_CASE("who gives a slice back, or is helped with it, has counted what it did") {
  Platform platform;
  const auto leader = platform.pool->lease({});
  const auto shares = Shares::offer(*leader, "charge", 3, T, 1);
  const auto helper = platform.pool->lease({});
  CHECK(shares.claim(*helper) == 0);
  shares.give_back(*helper, 0, {{"coins", 5}});
  CHECK(shares.left(*leader) == 1);
  CHECK_FALSE(Shares::find(*leader, "charge"));  // nobody is called to it
  CHECK(shares.claim(*helper) == 0);
  platform.db.exec("UPDATE saathii_tasks.share SET claimed_at = claimed_at - interval '1 min'");
  CHECK(shares.claim(*leader) == 0);
  shares.finish(*leader, 0, {});
  shares.finish(*helper, 0, {{"coins", 7}});
  CHECK(shares.left(*leader) == 0);
  CHECK(shares.sums(*leader) == Shares::Counts{{"coins", 12}});
}

TEST_CASE("what somebody could not do is tried again last") {
  Platform platform;
  const auto session = platform.pool->lease({});
  const auto shares = Shares::offer(*session, "charge", 3, T, 3);
  CHECK(shares.claim(*session) == 0);
  shares.give_back(*session, 0, {});
  CHECK(shares.claim(*session) == 1);
  CHECK(shares.claim(*session) == 2);
  CHECK(shares.claim(*session) == 0);
}

TEST_CASE("a helper that cannot show what it charged says so, and the leader shows it") {
  Platform platform;
  RedisServer server;
  platform.use_redis(server.url());
  std::vector<int> calls;
  for (int i = 0; i < 40; ++i) {
    calls.push_back(platform.start(platform.user(1000), platform.user(0), -30));
  }
  platform.term = 3;
  const std::vector<std::pair<std::string, config::Value>> sharing = {
      {"share_above", std::int64_t{10}}, {"batch_size", std::int64_t{5}}};
  platform.deduct(0, sharing);
  Helper helper(platform);
  for (int minute = 1; minute <= 5 || (!helper.has_charged() && minute <= 90); ++minute) {
    platform.db.exec("UPDATE user_status SET last_seen = '" + to_iso8601(after(minute * 60)) + "'");
    platform.deduct(minute * 60, sharing);
    for (const int call : calls) {
      const auto shown =
          platform.redis->command({"HGET", "call:" + std::to_string(call), "coins_spent"});
      REQUIRE(shown.text == std::to_string(10 + minute * 10));
    }
  }
  CHECK(helper.has_charged());
}

TEST_CASE("a run that is shared charges each call once, and counts what the others did") {
  Platform platform;
  constexpr int callers = 200;
  for (int i = 0; i < callers; ++i) {
    const int caller = platform.user(i % 10 == 0 ? 15 : 1000);
    platform.start(caller, platform.user(0), -90);
  }
  std::optional<Helper> helper(platform);
  platform.term = 3;
  const auto report =
      platform.deduct(0, {{"share_above", std::int64_t{10}}, {"batch_size", std::int64_t{5}}});
  helper.reset();
  std::map<std::string, std::int64_t> counts(report.counts.begin(), report.counts.end());
  CHECK(counts["charged"] == 180);
  CHECK(counts["coins"] == 1800);
  CHECK(counts["ended"] == 20);
  CHECK(platform.db.rows("SELECT count(*), count(DISTINCT call_id), min(term), max(term) FROM "
                         "saathii_tasks.call_charge WHERE source = 'saathiid'") == "180|180|3|3");
  CHECK(platform.db.rows("SELECT count(*) FROM saathii_tasks.share") == "0");
}

}  // namespace saathii::test
