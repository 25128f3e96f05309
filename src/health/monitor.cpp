#include "saathii/health/monitor.hpp"

#include <fmt/format.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <system_error>

#include "saathii/log/log.hpp"

namespace saathii::health {

namespace {

namespace asio = boost::asio;

constexpr auto disk_interval = std::chrono::minutes{1};

DiskSpace look_at(const std::string& folder) {
  DiskSpace space;
  space.folder = folder;
  struct statvfs found {};
  if (::statvfs(folder.c_str(), &found) != 0) {
    space.error = "cannot be looked at: " + std::generic_category().message(errno);
    return space;
  }
  space.free_bytes = std::uint64_t{found.f_bavail} * found.f_frsize;
  space.size_bytes = std::uint64_t{found.f_blocks} * found.f_frsize;
  return space;
}

bool same_kind(const Finding& one, const Finding& other) {
  return one.level == other.level && one.check == other.check;
}

bool same(const Report& one, const Report& other) {
  return std::equal(one.findings.begin(), one.findings.end(), other.findings.begin(),
                    other.findings.end(), same_kind);
}

/// What the log says of one check, and by which event: a disk has its own.
void log_check(log::Level level, Level health, const std::string& check, const std::string& text) {
  const log::Field now{"HEALTH", std::string{to_string(health)}};
  if (const auto folder = disk_of(check)) {
    log::write_unfolded(level, log::Message::log_folder_low, text,
                        {now, {"CHECK", check}, {"FOLDER", std::string{*folder}}});
  } else {
    log::write_unfolded(level, log::Message::health_changed, text, {now, {"CHECK", check}});
  }
}

/// Each thing that became wrong, or wrong in another degree, and each that is well again.
void log_changes(const Report& before, const Report& now) {
  const auto in = [](const Report& report, auto&& matches) {
    return std::any_of(report.findings.begin(), report.findings.end(), matches);
  };
  for (const Finding& finding : now.findings) {
    if (!in(before, [&](const Finding& other) { return same_kind(finding, other); })) {
      log_check(
          finding.level == Level::failing ? log::Level::error : log::Level::warning, now.level,
          finding.check,
          fmt::format("{}: {}: {}", to_string(finding.level), finding.check, finding.message));
    }
  }
  for (const Finding& finding : before.findings) {
    if (!in(now, [&](const Finding& other) { return finding.check == other.check; })) {
      log_check(log::Level::info, now.level, finding.check, finding.check + " is well again");
    }
  }
}

}  // namespace

Monitor::Monitor(runner::Runner& runner, std::vector<const ServerState*> servers,
                 runner::SideWorker& worker, Duration patience)
    : runner_(runner), servers_(std::move(servers)), worker_(worker), patience_(patience) {}

void Monitor::configure(const config::Health& limits, std::vector<std::string> folders,
                        TimeZone zone) {
  limits_ = limits;
  zone_ = zone;
  folders_ = std::move(folders);
  // What is known of the others stays: a reload mends no disk.
  std::erase_if(disks_, [&](const DiskSpace& disk) {
    return std::find(folders_.begin(), folders_.end(), disk.folder) == folders_.end();
  });
  next_look_ = {};
  judge_soon();
}

std::vector<Server> Monitor::servers() const {
  std::vector<Server> servers;
  for (const ServerState* server : servers_) {
    servers.push_back({server->name(), server->snapshot()});
  }
  return servers;
}

void Monitor::armed(std::size_t /*jobs*/) {
  armed_ = true;
  note_leadership(runner_.leadership());
  judge_soon();
}
void Monitor::tick_ended(const runner::Record& /*record*/, Duration /*busy*/) { judge_soon(); }
void Monitor::wedged(const std::string& /*job*/) { judge_soon(); }
void Monitor::released(const std::string& /*job*/) { judge_soon(); }
void Monitor::job_changed(const std::string& /*job*/) { judge_soon(); }
void Monitor::jobs_changed(const std::vector<std::string>& /*jobs*/) { judge_soon(); }
void Monitor::leadership_changed(const runner::Leadership& now) {
  note_leadership(now);
  judge_soon();
}
void Monitor::server_changed() { judge_soon(); }
void Monitor::heartbeat() { judge_soon(); }

void Monitor::note_leadership(const runner::Leadership& now) {
  if (now.leads || !now.leader.empty()) {
    leaderless_since_.reset();
  } else if (!leaderless_since_) {
    leaderless_since_ = runner_.clock().now();
  }
}

/// Many things happen in one turn of the loop: one judgement after them is enough.
void Monitor::judge_soon() {
  if (!armed_) {
    return;
  }
  if (!std::exchange(judging_, true)) {
    asio::post(runner_.loop(), [this] {
      judging_ = false;
      judge_now();
    });
  }
  if (!looking_since_ && !folders_.empty() && std::chrono::steady_clock::now() >= next_look_) {
    looking_since_ = std::chrono::steady_clock::now();
    next_look_ = std::chrono::steady_clock::now() + disk_interval;
    asio::co_spawn(runner_.loop(), look_at_disks(), asio::detached);
  }
}

std::vector<DiskSpace> Monitor::disks() const {
  const auto waited = looking_since_ ? std::chrono::steady_clock::now() - *looking_since_
                                     : std::chrono::steady_clock::duration{0};
  if (waited < patience_) {
    return disks_;
  }
  // One of them hangs, and with it the worker that looks at all.
  std::vector<DiskSpace> disks;
  for (const std::string& folder : folders_) {
    DiskSpace& disk = disks.emplace_back();
    disk.folder = folder;
    disk.error = fmt::format("this file system or another log folder's has not answered for {}",
                             humanize(std::chrono::duration_cast<Duration>(waited)));
  }
  return disks;
}

void Monitor::judge_now() {
  Report report =
      judge({runner_.jobs(), servers(), disks(), runner_.outcomes_waiting(),
             runner_.outcomes_waiting_for(), runner_.clock().now(), zone_, leaderless_since_},
            limits_);
  const bool changed = !same(report_, report);
  if (changed) {
    log_changes(report_, report);
  }
  report_ = std::move(report);
  if (changed) {
    for (const auto& callback : callbacks_) {
      callback(report_);
    }
  }
}

asio::awaitable<void> Monitor::look_at_disks() {
  const std::vector<std::string> folders = folders_;
  auto look = [&folders](const std::stop_token&) {
    std::vector<DiskSpace> disks;
    std::transform(folders.begin(), folders.end(), std::back_inserter(disks), look_at);
    return disks;
  };
  try {
    std::vector<DiskSpace> disks = co_await worker_.run(look);
    if (folders == folders_) {
      disks_ = std::move(disks);
      judge_soon();
    }
  } catch (const runner::Overloaded&) {
    // The end, or many requests at once: the next look tries again.
  }
  looking_since_.reset();
}

}  // namespace saathii::health
