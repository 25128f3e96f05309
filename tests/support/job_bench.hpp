#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <vector>

#include "saathii/jobs/job.hpp"
#include "support/platform_db.hpp"
#include "support/redis_server.hpp"
#include "support/subscriber.hpp"

// Runs a job as the runner's workers do, on a platform of its own, as the
// daemon's least-privileged role.

namespace saathii::test {

/// The contract's defaults.
inline config::Platform default_platform() {
  using std::chrono::hours;
  config::Platform platform;
  platform.badges.tiers = {
      config::Badge{"basic", hours{0}, 100, 600}, config::Badge{"bronze", hours{3}, 125, 700},
      config::Badge{"silver", hours{6}, 150, 850}, config::Badge{"gold", hours{9}, 180, 1000}};
  return platform;
}

inline const jobs::Kind& kind_named(std::string_view name) {
  const auto& kinds = jobs::kinds();
  const auto found = std::find_if(kinds.begin(), kinds.end(),
                                  [&](const jobs::Kind& kind) { return kind.info.name == name; });
  if (found == kinds.end()) throw std::invalid_argument("no job kind " + std::string{name});
  return *found;
}

enum class Redis { real, dead };

struct JobBench {
  explicit JobBench(std::string_view kind, Redis redis_is = Redis::dead)
      : settings(kind_named(kind).info.settings),
        job(kind_named(kind).make()),
        redis_server(redis_is == Redis::real ? std::make_unique<RedisServer>() : nullptr),
        pool(db.daemon_settings(), postgres_state),
        redis(redis_settings(), redis_state) {}

  /// Runs the job as if at `moment`, or at the database's now.
  jobs::Report run(std::optional<Instant> moment, std::stop_token stop = {}) {
    return job->run({moment, settings, platform, pool, redis, std::move(stop)});
  }

  /// Runs the job at the database's now, for a tick by the daemon's clock.
  jobs::Report run_tick(Instant tick) {
    return job->run({std::nullopt, settings, platform, pool, redis, {}, tick});
  }

  [[nodiscard]] config::Redis redis_settings() const {
    return redis_server ? redis_server->settings()
                        : RedisServer::patient("unix:///nowhere/redis.sock");
  }

  /// What was published on the channels since `subscriber` began.
  std::vector<Subscriber::Message> published(Subscriber& subscriber) {
    return subscriber.drain([&](const std::string& channel) {
      redis.command({"PUBLISH", channel, "-"});
    });
  }

  PlatformDb db;
  config::Settings settings;
  config::Platform platform = default_platform();
  std::unique_ptr<jobs::Job> job;
  std::unique_ptr<RedisServer> redis_server;
  ServerState postgres_state{"postgres"};
  ServerState redis_state{"redis"};
  postgres::Pool pool;
  redis::Client redis;
};

/// The count of that name in a report.
inline std::int64_t count_of(const jobs::Report& report, std::string_view name) {
  for (const auto& [key, number] : report.counts) {
    if (key == name) return number;
  }
  throw std::invalid_argument("the report has no count " + std::string{name});
}

}  // namespace saathii::test
