#include "saathii/systemd/face.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "saathii/base/counted.hpp"
#include "saathii/log/log.hpp"

namespace saathii::systemd {

namespace {

constexpr std::size_t max_reason_bytes = 80;

/// At most `max_reason_bytes`, without cutting a UTF-8 character in two.
std::string shorten(const std::string& text) {
  if (text.size() <= max_reason_bytes) {
    return text;
  }
  std::size_t end = max_reason_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) {
    --end;
  }
  return text.substr(0, end) + "…";
}

std::string describe(const ServerState& server, Instant now) {
  const ServerState::Snapshot snapshot = server.snapshot();
  switch (snapshot.state) {
    case ServerState::State::up:
      return server.name() + " up";
    case ServerState::State::down:
      return fmt::format("{} down for {}", server.name(),
                         humanize(std::max(now - snapshot.since, Duration{0})));
    case ServerState::State::unknown:
      break;
  }
  return server.name() + " not asked yet";
}

}  // namespace

Face::Face(Notifier& notifier, std::vector<const ServerState*> servers, TimeZone zone,
           Duration stop_limit, std::function<Instant()> now)
    : notifier_(notifier),
      servers_(std::move(servers)),
      zone_(zone),
      stop_limit_(stop_limit),
      now_(std::move(now)) {}

void Face::set_zone(TimeZone zone) { zone_ = zone; }

Duration Face::heartbeat_interval(const Notifier& notifier, Duration usual) {
  const Duration timeout = notifier.watchdog_timeout();
  return timeout > Duration{0} ? std::clamp(timeout / 2, Duration{1}, usual) : usual;
}

std::string Face::clock_time(Instant moment) const {
  const auto local = zone_->to_local(std::chrono::floor<std::chrono::seconds>(moment));
  const std::chrono::hh_mm_ss time(local - std::chrono::floor<std::chrono::days>(local));
  return fmt::format("{:02}:{:02}:{:02}", time.hours().count(), time.minutes().count(),
                     time.seconds().count());
}

std::string Face::status() const {
  std::vector<std::string> parts;
  parts.push_back(stopping_ ? stopping_text_ : counted(jobs_, "job"));
  if (!standby_.empty()) {
    parts.push_back(standby_);
  }
  for (const std::string& job : wedged_) {
    parts.push_back(job + " is stuck");
  }
  if (!failing_.empty() && wedged_.empty()) {
    parts.push_back("failing: " + failing_);
  }
  if (!last_run_.empty()) {
    parts.push_back(last_run_);
  }
  for (const auto& [job, text] : failed_) {
    parts.push_back(text);
  }
  const Instant now = now_();
  for (const ServerState* server : servers_) {
    parts.push_back(describe(*server, now));
  }
  return fmt::format("{}", fmt::join(parts, "; "));
}

void Face::send_status() {
  std::string text = status();
  if (text != sent_) {
    notifier_.status(text);
    sent_ = std::move(text);
  }
}

void Face::armed(std::size_t jobs) {
  jobs_ = jobs;
  sent_ = status();
  notifier_.ready(sent_);
}

void Face::tick_ended(const runner::Record& record, Duration busy) {
  if (record.run_id.empty() || record.as_of) {
    return;
  }
  const std::string at = clock_time(record.started_at.value_or(record.scheduled_at));
  if (is_failure(record.outcome)) {
    failed_[record.job] =
        fmt::format("{} failed at {}: {}", record.job, at, shorten(record.reason));
  } else {
    failed_.erase(record.job);
    const bool worth_telling = std::any_of(record.counts.begin(), record.counts.end(),
                                           [](const auto& count) { return count.second != 0; });
    if (worth_telling && !record.reason.empty()) {
      last_run_ = fmt::format("{} at {} in {}", record.reason, at, humanize(busy));
    }
  }
  send_status();
}

void Face::wedged(const std::string& job) {
  if (wedged_.empty() && notifier_.watchdog_timeout() > Duration{0}) {
    log::error(log::Message::watchdog_unfed,
               fmt::format("the watchdog is not fed: unless {} comes back, the service manager "
                           "restarts saathiid within {}",
                           job, humanize(notifier_.watchdog_timeout())),
               {{"JOB", job}});
  }
  wedged_.insert(job);
  send_status();
}

void Face::released(const std::string& job) {
  wedged_.erase(job);
  send_status();
}

void Face::set_failing(const std::string& text) {
  failing_ = shorten(text);
  send_status();
}

void Face::jobs_changed(const std::vector<std::string>& jobs) {
  jobs_ = jobs.size();
  std::erase_if(failed_, [&](const auto& entry) {
    return std::find(jobs.begin(), jobs.end(), entry.first) == jobs.end();
  });
  send_status();
}

/// What an earlier time of leadership has left is another instance's now.
void Face::leadership_changed(const runner::Leadership& now) {
  standby_ =
      now.leads ? "" : "standing by" + (now.leader.empty() ? "" : ", " + now.leader + " leads");
  failed_.clear();
  last_run_.clear();
  send_status();
}

void Face::server_changed() { send_status(); }

void Face::reloading() { notifier_.reloading(); }

void Face::reloaded() {
  sent_ = status();
  notifier_.ready(sent_);
}

void Face::heartbeat() {
  wedged_.empty() ? notifier_.watchdog() : notifier_.retry();
  send_status();
}

void Face::stopping(const std::vector<std::string>& running) {
  stopping_ = true;
  stopping_text_ = running.empty()
                       ? "stopping"
                       : fmt::format("stopping, waiting for {}", fmt::join(running, ", "));
  sent_ = status();
  notifier_.stopping(sent_, stop_limit_);
}

}  // namespace saathii::systemd
