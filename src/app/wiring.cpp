#include "wiring.hpp"

#include <unistd.h>

#include <climits>

#include <boost/asio/post.hpp>
#include <set>

#include "saathii/postgres/inquiry.hpp"

#include "saathii/log/log.hpp"

namespace saathii::app {

void set_log_level(const config::Config& config) {
  log::Level level = log::Level::info;
  if (log::parse_level(config.log.level, level)) {
    log::set_level(level);
  }
}

std::string instance_name(const config::Config& config) {
  if (!config.service.instance.empty()) {
    return config.service.instance;
  }
  char host[HOST_NAME_MAX + 1] = {};
  return ::gethostname(host, sizeof host - 1) == 0 && host[0] != '\0' ? host : "localhost";
}

std::vector<std::string> log_folders(const config::Config& config) {
  std::set<std::string> folders;
  if (!config.log.files.empty()) {
    folders.insert(config.log.files);
  }
  for (const config::Job& job : config.jobs) {
    const auto setting = job.settings.all().find("folders");
    if (!job.enabled || setting == job.settings.all().end()) {
      continue;
    }
    const auto& list = std::get<std::vector<std::string>>(setting->second);
    folders.insert(list.begin(), list.end());
  }
  return {folders.begin(), folders.end()};
}

control::Desk make_desk(const DeskParts& parts) {
  const auto save_pauses = [parts]() -> boost::asio::awaitable<void> {
    PauseFile::Pauses paused;
    for (const runner::JobView& job : parts.runner.jobs()) {
      if (job.paused) {
        paused[job.name] = *job.paused;
      }
    }
    auto save = [&paused, &parts](const std::stop_token&) { parts.pauses.save(paused); };
    co_await parts.files.run(save);
  };
  postgres::Pool& pool = parts.inquiry_pool;
  return {
      .runner = parts.runner,
      .health = parts.health,
      .dialler = parts.files,
      .worker = parts.inquiries,
      .inquiries =
          {.history = [&pool](const auto& query,
                              const auto& stop) { return postgres::history(pool, query, stop); },
           .receipt = [&pool](std::int64_t call_id,
                              const auto& stop) { return postgres::receipt(pool, call_id, stop); },
           .wallet =
               [&pool](std::int64_t user_id, std::size_t entries, const auto& stop) {
                 return postgres::wallet(pool, user_id, entries, stop);
               }},
      .reload = [&reloader = parts.reloader] { return reloader.reload(); },
      .set_log_level = [](log::Level level) { log::set_level(level); },
      .save_pauses = save_pauses,
      .log_level = [] { return std::string{log::to_string(log::level())}; },
      .time_zone = [&reloader = parts.reloader] { return reloader.in_force().platform.timezone; },
      .version = SAATHIID_VERSION,
      .config_file = parts.config_file,
      .started_at = wall_now()};
}

std::string failing(const health::Report& report) {
  if (report.level != health::Level::failing) {
    return {};
  }
  const health::Finding& worst = report.findings.front();
  return worst.check + ": " + worst.message;
}

alert::Face::Around around_alerts(runner::Runner& runner, AlertKeeper& keeper) {
  return {.now =
              [&runner] {
                return alert::Time{runner.clock().now(), runner.clock().steady_now()};
              },
          .soon =
              [&runner](std::function<void()> call) {
                boost::asio::post(runner.loop(), std::move(call));
              },
          .jobs = [&runner] { return runner.jobs(); },
          .keep = [&keeper](std::vector<alert::Told> told) { keeper.keep(std::move(told)); },
          .kept = keeper.load()};
}

}  // namespace saathii::app
