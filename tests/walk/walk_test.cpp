#include <algorithm>

#include "catch.hpp"
#include "low_balances.sql.hpp"
#include "saathii/config/loader.hpp"
#include "saathii/jobs/executor.hpp"
#include "support/platform_db.hpp"

// The job that CONTRIBUTING.md adds, compiled from its text.

using namespace saathii;

TEST_CASE("the job that CONTRIBUTING.md walks through is registered, configured and run") {
  test::PlatformDb db;
  for (const std::int64_t balance : {5, 50, 500}) {
    const int caller = db.add_user();
    db.add_wallet(caller, balance);
    db.add_call({.user_id = caller,
                 .listener_id = db.add_user("listener"),
                 .start_time = test::at("2030-01-15T10:00:00Z")});
  }
  const auto loaded = config::parse("[postgres]\nurl = \"" + db.daemon_url() +
                                        "\"\n"
                                        "[jobs.low_balances]\n"
                                        "every = \"5m\"\n"
                                        "coins = 51\n",
                                    "walk.toml", jobs::kind_infos(),
                                    [](auto) { return std::optional<std::string>{}; });
  for (const auto& problem : loaded.problems) {
    UNSCOPED_INFO(problem.to_string());
  }
  REQUIRE(loaded.config.has_value());
  const auto job = std::ranges::find(loaded.config->jobs, "low_balances", &config::Job::name);
  REQUIRE(job != loaded.config->jobs.end());

  ServerState postgres_state("postgres");
  ServerState redis_state("redis");
  postgres::Pool pool(loaded.config->postgres, postgres_state);
  const auto work = jobs::make_work(*job, *loaded.config, pool, redis_state);
  const auto result = work({.run_id = "00000000-0000-0000-0000-000000000000",
                            .scheduled_at = test::at("2030-01-15T10:00:00Z"),
                            .attempt = 1,
                            .at = std::nullopt,
                            .stop = {}});
  CHECK(result.status == runner::Result::Status::succeeded);
  CHECK(result.summary == "2 callers are low on coins");
  CHECK(result.counts == runner::Counts{{"low", 2}});
}

TEST_CASE("an invalid setting of the walked job is refused like any other") {
  const auto loaded = config::parse(
      "[postgres]\nurl = \"postgresql:///x\"\n"
      "[jobs.low_balances]\nevery = \"5m\"\ncoins = 0\n",
      "walk.toml", jobs::kind_infos(), [](auto) { return std::optional<std::string>{}; });
  REQUIRE(loaded.problems.size() == 1);
  CHECK(loaded.problems.front().line == 5);
}
