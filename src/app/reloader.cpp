#include "reloader.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <set>

#include "saathii/base/counted.hpp"
#include "saathii/jobs/executor.hpp"
#include "saathii/log/log.hpp"

namespace saathii::app {

namespace {

namespace asio = boost::asio;

/// Marks a reload from its beginning to its end, however it ends.
class Announced {
 public:
  Announced(runner::Runner& runner, bool& busy) : runner_(runner), busy_(busy) {
    busy_ = true;
    runner_.begin_reload();
  }
  ~Announced() {
    busy_ = false;
    runner_.end_reload();
  }
  Announced(const Announced&) = delete;
  Announced& operator=(const Announced&) = delete;

 private:
  runner::Runner& runner_;
  bool& busy_;
};

/// The jobs that no changed key concerns: those of other jobs' tables, and of
/// sections that jobs do not read, do not.
std::set<std::string> untouched(const config::Config& config, const config::Changes& changes) {
  static constexpr std::array<std::string_view, 5> read_by_jobs = {"timezone", "rates.", "badges.",
                                                                   "settlement.", "redis."};
  const auto concerns_all = [](const std::string& key) {
    return std::any_of(read_by_jobs.begin(), read_by_jobs.end(),
                       [&](std::string_view start) { return key.starts_with(start); });
  };
  std::set<std::string> names;
  if (std::any_of(changes.applied.begin(), changes.applied.end(), concerns_all)) {
    return names;
  }
  for (const config::Job& job : config.jobs) {
    const std::string path = "jobs." + job.name;
    const bool touched = std::any_of(
        changes.applied.begin(), changes.applied.end(),
        [&](const std::string& key) { return key == path || key.starts_with(path + "."); });
    if (!touched) {
      names.insert(job.name);
    }
  }
  return names;
}

void log_refused(const std::string& file, const std::vector<config::Problem>& problems) {
  for (const config::Problem& problem : problems) {
    log::error(problem.to_string());
  }
  log::error(log::Message::reload_refused,
             fmt::format("reload refused: {} in {}; the configuration that was in force stays",
                         counted(problems.size(), "error"), file),
             {{"FILE", file}});
}

void log_applied(const config::Changes& changes) {
  if (changes.applied.empty() && changes.needs_restart.empty()) {
    log::info(log::Message::reloaded, "reloaded: nothing has changed");
    return;
  }
  if (!changes.applied.empty()) {
    log::info(log::Message::reloaded,
              fmt::format("reloaded; now in force: {}", fmt::join(changes.applied, ", ")));
  }
  if (!changes.needs_restart.empty()) {
    log::warning(log::Message::restart_needed,
                 fmt::format("reloaded, but these need a restart of saathiid: {}",
                             fmt::join(changes.needs_restart, ", ")));
  }
}

}  // namespace

std::vector<runner::JobSpec> make_jobs(const config::Config& config, postgres::Pool& pool,
                                       ServerState& redis_state) {
  std::vector<runner::JobSpec> jobs;
  for (const config::Job& job : config.jobs) {
    if (job.enabled) {
      jobs.push_back(jobs::make_spec(job, config, pool, redis_state));
    }
  }
  return jobs;
}

Reloader::Reloader(Parts parts, std::string file, std::vector<config::KindInfo> kinds,
                   config::Config in_force)
    : parts_(parts),
      file_(std::move(file)),
      kinds_(std::move(kinds)),
      in_force_(std::move(in_force)) {}

asio::awaitable<config::Reloaded> Reloader::reload() {
  if (busy_) {
    throw runner::Overloaded("another reload is going on already");
  }
  const Announced announced(parts_.runner, busy_);
  auto read = [this](const std::stop_token&) {
    return config::load(file_, kinds_, config::process_environment());
  };
  config::Loaded loaded = co_await parts_.worker.run(read);
  config::Reloaded result;
  if (!loaded.config) {
    log_refused(file_, loaded.problems);
    result.problems = std::move(loaded.problems);
    co_return result;
  }
  result.changes = apply(*std::move(loaded.config));
  log_applied(result.changes);
  co_return result;
}

config::Changes Reloader::apply(config::Config wanted) {
  config::Changes changes = config::compare(in_force_, wanted, kinds_);
  config::Config next = config::adopt(in_force_, std::move(wanted));
  parts_.runner.replace_jobs(make_jobs(next, parts_.pool, parts_.redis_state),
                             untouched(next, changes));
  in_force_ = std::move(next);
  for (const auto& callback : callbacks_) {
    callback(in_force_);
  }
  return changes;
}

void Reloader::reload_in_background() {
  const auto task = [this]() -> asio::awaitable<void> {
    try {
      static_cast<void>(co_await reload());
    } catch (const std::exception& error) {
      log::error(log::Message::reload_refused, std::string{"not reloaded: "} + error.what(),
                 {{"FILE", file_}});
    }
  };
  asio::co_spawn(parts_.runner.loop(), task, asio::detached);
}

}  // namespace saathii::app
