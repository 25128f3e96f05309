#include "wiring.hpp"

#include <set>

#include "saathii/log/log.hpp"

namespace saathii::app {

void set_log_level(const config::Config& config) {
  log::Level level = log::Level::info;
  if (log::parse_level(config.log.level, level)) {
    log::set_level(level);
  }
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

std::string failing(const health::Report& report) {
  if (report.level != health::Level::failing) {
    return {};
  }
  const health::Finding& worst = report.findings.front();
  return worst.check + ": " + worst.message;
}

}  // namespace saathii::app
