#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <exception>

#include "app/alert_file.hpp"
#include "app/command_line.hpp"
#include "app/http_face.hpp"
#include "app/once.hpp"
#include "app/pause_file.hpp"
#include "app/reloader.hpp"
#include "app/schema.hpp"
#include "app/test_alert.hpp"
#include "app/wiring.hpp"
#include "saathii/alert/face.hpp"
#include "saathii/base/counted.hpp"
#include "saathii/base/server_state.hpp"
#include "saathii/config/loader.hpp"
#include "saathii/health/monitor.hpp"
#include "saathii/jobs/job.hpp"
#include "saathii/log/log.hpp"
#include "saathii/postgres/election.hpp"
#include "saathii/postgres/inquiry.hpp"
#include "saathii/postgres/run_ledger.hpp"
#include "saathii/runner/run_id.hpp"
#include "saathii/runner/runner.hpp"
#include "saathii/systemd/face.hpp"

namespace {

using namespace saathii;

constexpr Duration heartbeat = std::chrono::seconds{10};
constexpr std::chrono::seconds last_lines_grace{2};
/// The last alerts and lines of log files, and what a loaded machine adds.
constexpr Duration after_the_loop =
    alert::Face::shutdown_grace + last_lines_grace + std::chrono::seconds{10};

/// The loop's heartbeat watches over those who wait for PostgreSQL, on which a server
/// that stands still says nothing at all. While it lives the election may be in force.
class PostgresWatch final : public runner::Observer {
 public:
  PostgresWatch(postgres::Election& election, std::array<const postgres::Pool*, 2> pools)
      : election_(election), pools_(pools) {}
  ~PostgresWatch() override { election_.resign(); }
  PostgresWatch(const PostgresWatch&) = delete;
  PostgresWatch& operator=(const PostgresWatch&) = delete;
  void heartbeat() override {
    election_.break_off_if_stuck();
    for (const postgres::Pool* pool : pools_) {
      pool->interrupt_stuck();
    }
  }

 private:
  postgres::Election& election_;
  const std::array<const postgres::Pool*, 2> pools_;
};

/// Everything that the daemon is made of, in the order in which it is needed.
int serve(const config::Config& config, const std::string& file, ServerState& postgres_state,
          ServerState& redis_state, postgres::Pool& pool) {
  const std::vector<const ServerState*> servers = {&postgres_state, &redis_state};
  // Who only looks must not take the jobs' sessions: max_sessions may be 1.
  config::Postgres for_inquiries = config.postgres;
  for_inquiries.max_sessions = 1;
  for_inquiries.statement_timeout =
      std::max<Duration>(for_inquiries.statement_timeout, postgres::inquiry_patience);
  postgres::Pool inquiry_pool{std::move(for_inquiries), postgres_state};
  postgres::RunLedger ledger{pool, config.service};
  systemd::Notifier notifier;
  const app::PauseFile pauses = app::PauseFile::in_state_folder();
  runner::SystemClock clock;
  runner::Options options;
  options.drain_timeout = config.service.drain_timeout;
  systemd::Face face{notifier, servers, tz::locate_zone(config.platform.timezone),
                     runner::longest_stop(options) + after_the_loop};
  options.heartbeat = systemd::Face::heartbeat_interval(notifier, heartbeat);
  options.paused = pauses.load();
  std::optional<postgres::Election> election;
  options.ledger.prepare = [&](const std::stop_token& stop) {
    app::ensure_schema(pool, config.postgres.migrate_at_start, stop);
    election->begin();
  };
  options.instance = app::instance_name(config);
  options.leadership.leads = false;
  options.deposed = [&] { election->look_now(); };
  runner::Runner runner{options, app::make_jobs(config, pool, redis_state), ledger, clock, {&face}};

  runner::SideWorker& files = runner.add_side_worker(8);
  app::Reloader reloader{{runner, files, pool, redis_state}, file, jobs::kind_infos(), config};
  runner.on_hangup([&reloader] { reloader.reload_in_background(); });
  runner::SideWorker& disks = runner.add_side_worker(1);
  runner::SideWorker& inquiries = runner.add_side_worker(16);
  health::Monitor health{runner, servers, disks};
  runner.add_observer(health);
  app::AlertKeeper told{runner.loop(), files, app::AlertFile::in_state_folder()};
  alert::Face alerts{app::around_alerts(runner, told)};
  app::HttpFace http{{runner,
                      health,
                      pool,
                      alerts,
                      {{"files", &files}, {"disks", &disks}, {"inquiries", &inquiries}},
                      options.ledger.queue_limit}};
  runner.add_observer(http);
  control::Face bus{
      app::make_desk({runner, health, files, inquiries, inquiry_pool, reloader, pauses, file}),
      {.bus = config.control.bus}};
  runner.add_observer(bus);
  runner.add_observer(alerts);
  health.on_change([&](const health::Report& report) {
    face.set_failing(app::failing(report));
    alerts.health_changed(report);
  });
  const auto follow = [&](const config::Config& changed) {
    app::set_log_level(changed);
    face.set_zone(tz::locate_zone(changed.platform.timezone));
    log::write_files(changed.log.files);
    health.configure(changed.health, app::log_folders(changed),
                     tz::locate_zone(changed.platform.timezone));
    http.configure(changed.http);
    alerts.configure(changed);
  };
  follow(config);
  reloader.on_apply(follow);

  election.emplace(
      config.postgres, postgres_state,
      postgres::Election::Options{
          .id = runner::new_run_id(), .instance = options.instance, .lease = config.service.lease},
      [&](const runner::Leadership& now) { runner.set_leadership(now); },
      [&] { runner.help_wanted(); });
  PostgresWatch postgres_watch{*election, {&pool, &inquiry_pool}};
  runner.add_observer(postgres_watch);
  for (ServerState* server : {&postgres_state, &redis_state}) {
    server->on_change([&runner, server] {
      runner.server_changed(server->snapshot().state == ServerState::State::up);
    });
  }
  const runner::Ending ending = runner.run();
  if (!ending.stuck) {
    election->resign();
  }
  told.loop_has_ended();
  alerts.finish();
  if (ending.stuck) {
    log::finish_files(last_lines_grace);
    ::_exit(ending.exit_code);
  }
  return ending.exit_code;
}

int check(const config::Loaded& loaded, const app::CommandLine& command) {
  for (const config::Problem& problem : loaded.problems) {
    std::fprintf(stderr, "%s\n", problem.to_string().c_str());
  }
  if (!loaded.config) {
    const std::string summary = counted(loaded.problems.size(), "error") +
                                " in the configuration " + command.config_file +
                                "; nothing was done";
    if (command.action == app::Action::serve && log::is_journal()) {
      log::error(log::Message::configuration_refused, summary, {{"FILE", command.config_file}});
    } else {
      std::fprintf(stderr, "saathiid: %s\n", summary.c_str());
    }
    return app::exit_configuration;
  }
  return app::exit_ok;
}

int act(const app::CommandLine& command) {
  const auto kinds = jobs::kind_infos();
  const auto loaded = config::load(command.config_file, kinds, config::process_environment());
  if (const int code = check(loaded, command); code != app::exit_ok) {
    return code;
  }
  const config::Config& config = *loaded.config;
  app::set_log_level(config);
  ServerState postgres_state{"postgres"};
  ServerState redis_state{"redis"};
  postgres::Pool pool{config.postgres, postgres_state};
  switch (command.action) {
    case app::Action::check_config:
      std::printf("%s is valid: %s\n", command.config_file.c_str(),
                  counted(config.jobs.size(), "job").c_str());
      return app::exit_ok;
    case app::Action::print_config:
      std::fputs(config::print(config, kinds).c_str(), stdout);
      return app::exit_ok;
    case app::Action::migrate:
      return app::run_migrate(pool);
    case app::Action::once:
      return app::run_once(command, config, pool, redis_state);
    case app::Action::test_alert:
      return app::run_test_alert(command.channel, config);
    case app::Action::serve:
      break;
  }
  return serve(config, command.config_file, postgres_state, redis_state, pool);
}

}  // namespace

int main(int argc, char** argv) {
  // Few arenas: idle, the daemon has more threads than work for them.
  ::mallopt(M_ARENA_MAX, 2);
  std::signal(SIGPIPE, SIG_IGN);
  const app::Parsed parsed = app::parse_command_line(argc, argv);
  if (parsed.exit_code) {
    return *parsed.exit_code;
  }
  int code = app::exit_failure;
  try {
    code = act(parsed.command);
  } catch (const std::exception& error) {
    log::error(
        log::Message::fault,
        std::string{"saathiid ends because of a fault that it does not expect: "} + error.what());
  }
  log::finish_files(last_lines_grace);
  return code;
}
