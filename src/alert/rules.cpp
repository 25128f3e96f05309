#include "saathii/alert/rules.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace saathii::alert {

namespace {

using schedule::Outcome;

/// What a job's ticks can suffer, and a success is the end of.
constexpr std::array of_ticks = {Kind::failed, Kind::missed, Kind::long_running};

constexpr std::chrono::hours rate_window{1};
constexpr std::size_t max_listed = 20;
constexpr std::size_t max_subject_bytes = 100;

/// The job that one of health's checks is about; empty: none.
std::string job_of(std::string_view check) {
  constexpr std::string_view start = "job ";
  return check.starts_with(start) ? std::string(check.substr(start.size())) : "";
}

/// An id that can stand in a mail's Message-ID.
std::string make_id(const std::string& subject, Kind kind, Instant since) {
  std::string id = subject.substr(0, max_subject_bytes);
  for (char& c : id) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain) {
      c = '_';
    }
  }
  return fmt::format("{}.{}.{}", id, to_string(kind), since.time_since_epoch().count());
}

}  // namespace

std::string_view to_string(Kind kind) {
  switch (kind) {
    case Kind::failed:
      return "failed";
    case Kind::missed:
      return "missed";
    case Kind::long_running:
      return "long_running";
    case Kind::stuck:
      return "stuck";
    case Kind::unhealthy:
      break;
  }
  return "unhealthy";
}

std::optional<Kind> parse_kind(std::string_view text) {
  for (const Kind kind :
       {Kind::failed, Kind::missed, Kind::long_running, Kind::stuck, Kind::unhealthy}) {
    if (text == to_string(kind)) {
      return kind;
    }
  }
  return std::nullopt;
}

bool Rules::wants(std::string_view word) const {
  return std::find(settings_.on.begin(), settings_.on.end(), word) != settings_.on.end();
}

bool Rules::wants(const Key& key) const {
  const auto& jobs = settings_.jobs;
  const std::string job = key.kind == Kind::unhealthy ? job_of(key.subject) : key.subject;
  const bool watched =
      job.empty() || jobs.empty() || std::find(jobs.begin(), jobs.end(), job) != jobs.end();
  return watched && wants(to_string(key.kind));
}

/// Also while its recovery is not sent: health may not have seen that yet.
bool Rules::is_known_to_suffer(const std::string& job) const {
  return std::any_of(alerts_.begin(), alerts_.end(), [&](const auto& entry) {
    return entry.first.subject == job && entry.first.kind != Kind::unhealthy &&
           (entry.second.open || entry.second.told);
  });
}

void Rules::configure(config::Alerts settings) {
  settings_ = std::move(settings);
  std::erase_if(alerts_, [&](const auto& entry) { return !wants(entry.first); });
}

void Rules::happened(const Key& key, std::uint64_t times, Detail detail, Time now) {
  if (!wants(key)) {
    return;
  }
  if (!alerts_.contains(key) && alerts_.size() >= max_alerts) {
    forget_closed(now);
    if (alerts_.size() >= max_alerts) {
      remember_untold(key);
      return;
    }
  }
  Alert& alert = alerts_[key];
  if (alert.before) {
    alert.before = false;
    alert.told = false;
  } else if (!alert.open && !alert.told) {
    alert.id = make_id(key.subject, key.kind, now.wall);
    alert.since = now.wall;
    alert.times = 0;
    alert.times_new = 0;
    alert.messages = 0;
  }
  alert.open = true;
  alert.times += times;
  alert.times_new += times;
  alert.detail = std::move(detail);
}

void Rules::over(const Key& key, const Detail& detail) {
  const auto found = alerts_.find(key);
  if (found == alerts_.end() || !found->second.open) {
    return;
  }
  Alert& alert = found->second;
  alert.open = false;
  alert.detail = detail;
  if (!alert.told) {
    ++alert.flaps;
    if (std::exchange(alert.held, false)) {
      remember_untold(key);
    }
  }
}

void Rules::remember_untold(const Key& key) {
  ++untold_;
  if (untold_names_.size() < max_listed) {
    untold_names_.push_back(fmt::format("{} {}", key.subject, to_string(key.kind)));
  }
}

void Rules::run_started(const std::string& job, const runner::RunInProgress& run, Duration limit,
                        Time now) {
  if (limit > Duration{0} && runs_.size() < max_alerts) {
    runs_[job] = {run.run_id, run.scheduled_at, run.started_at, now.steady, limit};
  }
}

void Rules::tick_ended(const runner::Record& record, Time now) {
  const Detail detail{.at = record.finished_at.value_or(now.wall),
                      .reason = record.reason,
                      .outcome = record.outcome,
                      .run_id = record.run_id,
                      .scheduled_at = record.last_scheduled_at};
  const auto run = runs_.find(record.job);
  if (run != runs_.end() && run->second.run_id == record.run_id) {
    runs_.erase(run);
  }
  if (record.as_of) {
    return;  // whoever asked for it hears of it, and it mends nothing of now
  }
  switch (record.outcome) {
    case Outcome::succeeded:
      for (const Kind kind : of_ticks) {
        over({record.job, kind}, detail);
      }
      break;
    case Outcome::failed:
    case Outcome::timed_out:
      // The failure says it; else nothing would until the next success.
      if (!wants({record.job, Kind::failed})) {
        over({record.job, Kind::long_running}, detail);
      }
      happened({record.job, Kind::failed}, 1, detail, now);
      break;
    case Outcome::missed:
      happened({record.job, Kind::missed}, static_cast<std::uint64_t>(record.ticks), detail, now);
      break;
    // Both give way to a run of the same job, whose outcome counts.
    case Outcome::skipped:
    case Outcome::coalesced:
      break;
  }
}

void Rules::standing_by(const std::string& job, Time now) {
  runs_.erase(job);
  for (const Kind kind : of_ticks) {
    over({job, kind}, {.at = now.wall, .reason = "another instance leads and runs it now"});
  }
}

void Rules::wedged(const std::string& job, Time now) {
  happened({job, Kind::stuck}, 1,
           {.at = now.wall, .reason = "its run has not come back although it was told to stop"},
           now);
}

void Rules::released(const std::string& job, Time now) {
  over({job, Kind::stuck}, {.at = now.wall, .reason = "its run has come back"});
}

bool Rules::is_failing(const std::string& check) const {
  return std::any_of(report_.findings.begin(), report_.findings.end(), [&](const auto& finding) {
    return finding.level == health::Level::failing && finding.check == check;
  });
}

void Rules::health_changed(const health::Report& report, Time now) {
  report_ = report;
  judge_health(now, true);
}

/// No news: what was passed over before may count now, by other settings or
/// because what hid it is over.
void Rules::judge_health(Time now, bool is_news) {
  const bool settled = armed_ && now.steady - *armed_ >= settling;
  for (const auto& [key, alert] : alerts_) {
    if (key.kind == Kind::unhealthy && alert.open && (!alert.before || settled) &&
        !is_failing(key.subject)) {
      over(key, {.at = now.wall, .reason = "it is no longer failing"});
    }
  }
  for (const health::Finding& finding : report_.findings) {
    if (finding.level != health::Level::failing) {
      continue;
    }
    const Key key{finding.check, Kind::unhealthy};
    const auto known = alerts_.find(key);
    const bool is_new = known == alerts_.end() || !known->second.open;
    if (!is_new && known->second.before) {
      known->second.before = false;  // it goes on, as people know
      known->second.detail = {.at = now.wall, .reason = finding.message};
      continue;
    }
    const std::string job = job_of(key.subject);
    if (is_new &&
        ((!job.empty() && is_known_to_suffer(job)) || (!is_news && alerts_.size() >= max_alerts))) {
      continue;
    }
    if (is_new || is_news) {
      happened(key, is_new ? 1 : 0, {.at = now.wall, .reason = finding.message}, now);
    }
  }
}

std::vector<Told> Rules::told() const {
  std::vector<Told> all;
  for (const auto& [key, alert] : alerts_) {
    if (alert.told) {
      all.push_back({key.subject, key.kind, alert.id, alert.since});
    }
  }
  return all;
}

void Rules::restore(const std::vector<Told>& told, Time now) {
  for (const Told& each : told) {
    const Key key{each.subject, each.kind};
    if (!wants(key) || alerts_.contains(key) || alerts_.size() >= max_alerts) {
      continue;
    }
    Alert alert;
    alert.id = each.id;
    alert.since = each.since;
    alert.open = true;
    alert.told = true;
    alert.before = true;
    alert.messages = 1;
    alert.last_sent = now.steady;
    alert.detail.at = each.since;
    alerts_.emplace(key, std::move(alert));
    if (key.kind == Kind::stuck) {
      over(key, {.at = now.wall, .reason = "its run is gone, since saathiid was started anew"});
    }
  }
}

void Rules::remember(const runner::Record& last_run, Time now) {
  if (last_run.outcome == Outcome::succeeded) {
    const Detail detail{.at = last_run.finished_at.value_or(last_run.scheduled_at),
                        .reason = last_run.reason,
                        .outcome = last_run.outcome,
                        .run_id = last_run.run_id,
                        .scheduled_at = last_run.last_scheduled_at};
    for (const Kind kind : of_ticks) {
      const auto known = alerts_.find({last_run.job, kind});
      if (known != alerts_.end() && known->second.before && known->second.since <= detail.at) {
        over(known->first, detail);
      }
    }
    return;
  }
  const Key key{last_run.job, Kind::failed};
  if (!schedule::is_failure(last_run.outcome) || !wants(key) || alerts_.contains(key) ||
      alerts_.size() >= max_alerts) {
    return;
  }
  Alert alert;
  alert.since = last_run.finished_at.value_or(last_run.scheduled_at);
  alert.id = make_id(key.subject, key.kind, alert.since);
  alert.open = true;
  alert.told = true;
  alert.before = true;
  alert.last_sent = now.steady;
  alert.detail = {.at = alert.since, .reason = last_run.reason};
  alerts_.emplace(key, std::move(alert));
}

void Rules::keep_jobs(const std::vector<std::string>& jobs, Time now) {
  const auto is_gone = [&](const std::string& job) {
    return std::find(jobs.begin(), jobs.end(), job) == jobs.end();
  };
  for (const auto& [key, alert] : alerts_) {
    if (key.kind != Kind::unhealthy && is_gone(key.subject)) {
      over(key, {.at = now.wall, .reason = "the job is no longer configured"});
    }
  }
  std::erase_if(runs_, [&](const auto& run) { return is_gone(run.first); });
}

void Rules::find_long_running(Time now) {
  for (auto run = runs_.begin(); run != runs_.end();) {
    const auto& [job, begun] = *run;
    if (now.steady - begun.began < begun.limit) {
      ++run;
      continue;
    }
    Detail detail{.at = now.wall,
                  .reason = fmt::format(
                      "a run goes on for {} already",
                      humanize(std::chrono::duration_cast<Duration>(now.steady - begun.began))),
                  .run_id = begun.run_id,
                  .scheduled_at = begun.scheduled_at,
                  .limit = begun.limit};
    happened({job, Kind::long_running}, 1, std::move(detail), now);
    run = runs_.erase(run);
  }
}

Message Rules::describe(Message::Event event, const Key& key, const Alert& alert) {
  Message message;
  message.event = event;
  message.alerts = {alert.id};
  message.number = alert.messages + 1;
  message.kinds = {key.kind};
  message.subject = key.subject;
  message.reason = alert.detail.reason;
  message.at = alert.detail.at;
  message.since = alert.since;
  message.times = alert.times;
  message.times_new = alert.times_new;
  message.flaps = alert.flaps;
  message.outcome = alert.detail.outcome;
  message.run_id = alert.detail.run_id;
  message.scheduled_at = alert.detail.scheduled_at;
  message.limit = alert.detail.limit;
  return message;
}

std::vector<Rules::Candidate> Rules::openings(Time now) {
  std::vector<Candidate> found;
  for (const auto& [key, alert] : alerts_) {
    const bool too_soon = alert.opened && now.steady - *alert.opened < settings_.min_gap;
    if (alert.open && !alert.told && !too_soon) {
      found.push_back({describe(Message::Event::opened, key, alert), {key}});
    }
  }
  std::stable_sort(found.begin(), found.end(), [](const Candidate& a, const Candidate& b) {
    return a.message.since < b.message.since;
  });
  return found;
}

/// One message for all of a job that is over at once.
std::vector<Rules::Candidate> Rules::recoveries() {
  std::vector<Candidate> found;
  for (auto& [key, alert] : alerts_) {
    if (alert.open || !alert.told) {
      continue;
    }
    if (!wants("recovered")) {
      alert.told = false;
      continue;
    }
    // By the map's order alerts of one subject follow each other.
    if (!found.empty() && found.back().message.subject == key.subject &&
        key.kind != Kind::unhealthy) {
      Candidate& same = found.back();
      same.message.alerts.push_back(alert.id);
      same.message.kinds.push_back(key.kind);
      same.message.since = std::min(same.message.since, alert.since);
      same.keys.push_back(key);
    } else {
      found.push_back({describe(Message::Event::recovered, key, alert), {key}});
    }
  }
  return found;
}

std::vector<Rules::Candidate> Rules::repetitions(Time now) {
  std::vector<Candidate> found;
  for (const auto& [key, alert] : alerts_) {
    const auto failed = alerts_.find({key.subject, Kind::failed});
    const bool failure_says_it =
        key.kind == Kind::long_running && failed != alerts_.end() && failed->second.open;
    if (settings_.repeat_after > Duration{0} && alert.open && alert.told && !alert.before &&
        !failure_says_it && now.steady - *alert.last_sent >= settings_.repeat_after) {
      found.push_back({describe(Message::Event::repeated, key, alert), {key}});
    }
  }
  return found;
}

void Rules::mark_sent(const Candidate& candidate, Time now) {
  sent_.push_back(now.steady);
  for (const Key& key : candidate.keys) {
    Alert& alert = alerts_.at(key);
    ++alert.messages;
    alert.held = false;
    alert.times_new = 0;
    alert.flaps = 0;
    switch (candidate.message.event) {
      case Message::Event::recovered:
        alert.told = false;
        break;
      case Message::Event::opened:
        alert.told = true;
        alert.opened = now.steady;
        [[fallthrough]];
      default:
        alert.last_sent = now.steady;
    }
  }
}

/// Tells, once an hour at most and beyond what may be sent, that there is more.
void Rules::hold(const std::vector<Candidate>& candidates, Time now, std::vector<Message>& out) {
  for (const Candidate& candidate : candidates) {
    for (const Key& key : candidate.keys) {
      alerts_.at(key).held = true;
    }
  }
  const std::uint64_t count = candidates.size() + untold_;
  if (count == 0 || (noticed_ && now.steady - *noticed_ < rate_window)) {
    return;
  }
  Message notice;
  notice.event = Message::Event::held_back;
  notice.at = now.wall;
  notice.since = now.wall;
  notice.alerts = {fmt::format("held_back.{}", now.wall.time_since_epoch().count())};
  notice.reason = fmt::format("more than {} alerts within an hour", settings_.max_per_hour);
  notice.times = count;
  notice.held = std::exchange(untold_names_, {});
  for (const Candidate& candidate : candidates) {
    if (notice.held.size() < max_listed) {
      const Message& held = candidate.message;
      notice.held.push_back(fmt::format(
          "{} {}", held.subject,
          held.event == Message::Event::recovered ? "recovered" : to_string(held.kinds.front())));
    }
  }
  untold_ = 0;
  noticed_ = now.steady;
  out.push_back(std::move(notice));
}

void Rules::forget_closed(Time now) {
  std::erase_if(alerts_, [&](const auto& entry) {
    const Alert& alert = entry.second;
    const bool in_gap = alert.opened && now.steady - *alert.opened < settings_.min_gap;
    return !alert.open && !alert.told && !in_gap;
  });
}

std::vector<Message> Rules::look(Time now) {
  find_long_running(now);
  judge_health(now, false);
  while (!sent_.empty() && now.steady - sent_.front() >= rate_window) {
    sent_.pop_front();
  }
  std::vector<Candidate> candidates = openings(now);
  for (auto&& more : {recoveries(), repetitions(now)}) {
    candidates.insert(candidates.end(), more.begin(), more.end());
  }
  const auto limit = static_cast<std::size_t>(settings_.max_per_hour);
  const std::size_t room = limit - std::min(limit, sent_.size());
  const auto sendable = static_cast<std::ptrdiff_t>(std::min(room, candidates.size()));
  std::vector<Message> out;
  for (auto candidate = candidates.begin(); candidate != candidates.begin() + sendable;
       ++candidate) {
    mark_sent(*candidate, now);
    out.push_back(std::move(candidate->message));
  }
  candidates.erase(candidates.begin(), candidates.begin() + sendable);
  hold(candidates, now, out);
  forget_closed(now);
  return out;
}

std::size_t Rules::open() const {
  return static_cast<std::size_t>(std::count_if(
      alerts_.begin(), alerts_.end(), [](const auto& entry) { return entry.second.open; }));
}

}  // namespace saathii::alert
