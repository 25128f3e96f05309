#include "saathii/alert/face.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "saathii/base/time_zone.hpp"

namespace saathii::alert {

namespace {

constexpr std::size_t max_host_bytes = 255;

/// When a run of the job is long-running: its own setting, or part of its timeout.
Duration limit_of(const config::Job& job, const config::Alerts& settings) {
  if (job.run.long_running_after > Duration{0}) {
    return job.run.long_running_after;
  }
  return job.run.timeout * settings.long_running_percent / 100;
}

std::vector<std::string> enabled_jobs(const config::Config& config) {
  std::vector<std::string> names;
  for (const config::Job& job : config.jobs) {
    if (job.enabled) {
      names.push_back(job.name);
    }
  }
  return names;
}

bool same_channel(std::string_view name, const config::Alerts& one, const config::Alerts& other) {
  if (name == "command") {
    return one.command == other.command;
  }
  const bool same = name == "mail" ? one.mail == other.mail : one.webhook == other.webhook;
  return same && one.ca_file == other.ca_file;
}

}  // namespace

std::string host_name() {
  std::array<char, max_host_bytes + 1> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

Face::Face(Around around, CourierOptions options)
    : around_(std::move(around)), rules_(config::Alerts{}) {
  for (std::size_t i = 0; i < couriers_.size(); ++i) {
    couriers_[i] = std::make_unique<Courier>(std::string(channel_names[i]), options);
  }
}

void Face::configure(const config::Config& config) {
  sender_ = {host_name(), tz::locate_zone(config.platform.timezone)};
  limits_.clear();
  for (const config::Job& job : config.jobs) {
    limits_[job.name] = limit_of(job, config.alerts);
  }
  rules_.configure(config.alerts);
  if (!settings_) {
    rules_.restore(around_.kept, around_.now());
    rules_.keep_jobs(enabled_jobs(config), around_.now());
  }
  enabled_ = false;
  for (std::size_t i = 0; i < couriers_.size(); ++i) {
    // What is on its way is not to be broken off for another's sake.
    if (!settings_ || !same_channel(channel_names[i], *settings_, config.alerts)) {
      channels_[i] = make_channel(channel_names[i], config.alerts);
    }
    enabled_ = enabled_ || channels_[i] != nullptr;
    couriers_[i]->use(channels_[i], config.alerts.give_up_after);
  }
  settings_ = config.alerts;
}

void Face::health_changed(const health::Report& report) {
  rules_.health_changed(report, around_.now());
  look_soon();
}

void Face::armed(std::size_t /*jobs*/) {
  rules_.armed(around_.now());
  look_soon();
}

void Face::run_started(const std::string& job, const runner::RunInProgress& run) {
  const auto limit = limits_.find(job);
  if (limit != limits_.end()) {
    rules_.run_started(job, run, limit->second, around_.now());
  }
}

void Face::tick_ended(const runner::Record& record, Duration /*busy*/) {
  known_.insert(record.job);
  rules_.tick_ended(record, around_.now());
  look_soon();
}

void Face::handed_over(const std::string& job) { rules_.handed_over(job); }

void Face::standing_by(const std::string& job) {
  rules_.standing_by(job, around_.now());
  look_soon();
}

void Face::wedged(const std::string& job) {
  rules_.wedged(job, around_.now());
  look_soon();
}

void Face::released(const std::string& job) {
  rules_.released(job, around_.now());
  look_soon();
}

/// The job's past may have become known: how its last run ended, before this start.
void Face::job_changed(const std::string& job) {
  if (known_.contains(job)) {
    return;
  }
  const auto view = find(job);
  if (view && view->last) {
    known_.insert(job);
    rules_.remember(*view->last, around_.now());
  }
}

void Face::jobs_changed(const std::vector<std::string>& jobs) {
  std::erase_if(known_, [&](const std::string& job) {
    return std::find(jobs.begin(), jobs.end(), job) == jobs.end();
  });
  rules_.keep_jobs(jobs, around_.now());
  look_soon();
}

void Face::heartbeat() { look(); }

/// Once for all that happens in one turn of the loop: ten thousand ticks that were
/// missed are one alert.
void Face::look_soon() {
  if (looking_) {
    return;
  }
  looking_ = true;
  around_.soon([this] {
    looking_ = false;
    look();
  });
}

void Face::look() {
  if (!enabled_) {
    return;  // what is open then is told once there is a way
  }
  std::vector<Message> messages = rules_.look(around_.now());
  for (Message& message : messages) {
    if (const auto view = find(message.subject)) {
      message.next_run = view->next_run;
    }
    const auto letter = std::make_shared<const Letter>(write_letter(std::move(message), sender_));
    for (const auto& courier : couriers_) {
      courier->post(letter);
    }
  }
  if (around_.keep) {
    around_.keep(rules_.told());
  }
}

std::optional<runner::JobView> Face::find(const std::string& job) const {
  for (runner::JobView& view : around_.jobs()) {
    if (view.name == job) {
      return std::move(view);
    }
  }
  return std::nullopt;
}

void Face::finish(Duration grace) {
  look();
  const auto deadline = std::chrono::steady_clock::now() + grace;
  for (const auto& courier : couriers_) {
    courier->begin_finish(deadline);
  }
  for (const auto& courier : couriers_) {
    courier->finish();
  }
}

std::vector<std::pair<std::string, ChannelCounts>> Face::counts() const {
  std::vector<std::pair<std::string, ChannelCounts>> all;
  for (const auto& courier : couriers_) {
    all.emplace_back(courier->name(), courier->counts());
  }
  return all;
}

}  // namespace saathii::alert
