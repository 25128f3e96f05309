#include "saathii/audit/desk.hpp"

#include <unistd.h>

#include "saathii/config/url.hpp"
#include "saathii/jobs/job.hpp"
#include "saathii/postgres/pool.hpp"
#include "saathii/postgres/session.hpp"
#include "saathii/redis/client.hpp"

namespace saathii::audit {

namespace {

/// Of the unit's LoadCredential=.
constexpr const char* credentials = "/etc/saathii/credentials";

/// As pg_stat_activity shows it, so that nobody takes it for the daemon.
config::Postgres own_session(config::Postgres settings) {
  if (settings.url.find("application_name=") == std::string::npos) {
    settings.url =
        config::with_parameter(std::move(settings.url), "application_name", "saathiictl audit");
  }
  settings.max_sessions = 1;
  // A standby, too, can be audited; what is to be written it refuses by itself.
  settings.only_reads = true;
  return settings;
}

}  // namespace

config::Loaded load_config(const std::string& file) {
  const auto environment = [given = config::process_environment()](std::string_view name) {
    auto value = given(name);
    // What systemd would hand over to the daemon, if we may look.
    if (!value && name == "CREDENTIALS_DIRECTORY" && ::access(credentials, R_OK | X_OK) == 0) {
      value = credentials;
    }
    return value;
  };
  return config::load(file, jobs::kind_infos(), environment);
}

struct Desk::Connections {
  Connections(const config::Config& config, const std::stop_token& stop)
      : pool(own_session(config.postgres), postgres_state),
        redis(config.redis, redis_state),
        lease(pool.lease(stop)) {}

  ServerState postgres_state{"postgres"};
  ServerState redis_state{"redis"};
  postgres::Pool pool;
  redis::Client redis;
  postgres::Pool::Lease lease;
};

Desk::Desk(const config::Config& config, std::stop_token stop)
    : terms_(terms_of(config)),
      stop_(std::move(stop)),
      connections_(std::make_unique<Connections>(config, stop_)) {}

Desk::~Desk() = default;

/// What fails because the session was shut down under it, was stopped.
template <typename Body>
auto Desk::unless_stopped(Body&& body) {
  try {
    return body();
  } catch (const std::exception&) {
    if (stop_.stop_requested()) {
      throw Stopped("interrupted");
    }
    throw;
  }
}

Report Desk::run(const Options& options, const Progress& progress) {
  return unless_stopped([&] {
    return audit::run(*connections_->lease, &connections_->redis, terms_, options, progress, stop_);
  });
}

Plan Desk::plan(const Report& report) {
  return unless_stopped([&] { return audit::plan(*connections_->lease, terms_, report); });
}

bool Desk::apply(const Repair& repair) {
  return unless_stopped([&] { return audit::apply(*connections_->lease, terms_, repair); });
}

Baseline Desk::take_baseline() {
  return unless_stopped([&] { return audit::take_baseline(*connections_->lease); });
}

}  // namespace saathii::audit
