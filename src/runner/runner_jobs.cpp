#include <fmt/format.h>

#include <algorithm>

#include "saathii/config/nearest.hpp"
#include "saathii/log/log.hpp"
#include "saathii/runner/runner.hpp"

// What others ask of the jobs, and the jobs that a reload brings.

namespace saathii::runner {

std::vector<JobView> Runner::jobs() const {
  std::vector<JobView> views;
  for (const auto& job : jobs_) {
    if (!job->retired()) {
      views.push_back(job->view());
    }
  }
  return views;
}

std::vector<std::string> Runner::job_names() const {
  std::vector<std::string> names;
  for (const auto& job : jobs_) {
    if (!job->retired()) {
      names.push_back(job->name());
    }
  }
  return names;
}

JobLoop& Runner::find(const std::string& name) const {
  for (const auto& job : jobs_) {
    if (!job->retired() && job->name() == name) {
      return *job;
    }
  }
  const auto names = job_names();
  throw JobError(JobError::Why::unknown_job,
                 config::no_such_job(name, {names.begin(), names.end()}));
}

std::string Runner::name_in_ledger(const std::string& name) const {
  for (const auto& job : jobs_) {
    if (!job->retired() && job->name() == name) {
      return job->name_in_ledger();
    }
  }
  return name;
}

JobView Runner::job(const std::string& name) const { return find(name).view(); }

schedule::Trigger Runner::trigger(const std::string& name) const { return find(name).trigger(); }

void Runner::refuse_while_stopping() const {
  if (shared_.stopping) {
    throw JobError(JobError::Why::stopping, "saathiid is shutting down");
  }
}

std::string Runner::run_now(const std::string& name, std::optional<Instant> at,
                            const std::string& by) {
  JobLoop& job = find(name);
  refuse_while_stopping();
  if (job.stands_by()) {
    const std::string& leader = shared_.leadership.leader;
    throw JobError(JobError::Why::standby,
                   fmt::format("{} is run by the instance that leads, {}: ask there", name,
                               leader.empty() ? "which is not known yet" : leader));
  }
  const auto run_id = job.run_now(at);
  if (!run_id) {
    throw JobError(
        JobError::Why::busy,
        fmt::format("a run of {} that was asked for is still waiting for its turn", name));
  }
  log::info(log::Message::run_requested, "a run was asked for",
            {{"JOB", name}, {"RUN_ID", *run_id}, {"BY", by}});
  return *run_id;
}

bool Runner::pause(const std::string& name, const Pause& pause) {
  if (!find(name).pause(pause)) {
    return false;
  }
  log::warning(log::Message::job_paused, "paused: its ticks are skipped until it is resumed",
               {{"JOB", name}, {"BY", pause.by}});
  return true;
}

bool Runner::resume(const std::string& name, const std::string& by) {
  if (!find(name).resume()) {
    return false;
  }
  log::info(log::Message::job_resumed, "resumed", {{"JOB", name}, {"BY", by}});
  return true;
}

/// Their threads and timers may fail to start: before anything else is changed.
std::map<std::string, std::unique_ptr<JobLoop>> Runner::make_unknown_jobs(
    const std::vector<JobSpec>& jobs) {
  const SignalBlock block;
  std::map<std::string, std::unique_ptr<JobLoop>> fresh;
  for (const JobSpec& spec : jobs) {
    if (std::none_of(jobs_.begin(), jobs_.end(),
                     [&](const auto& job) { return job->name() == spec.job.name; })) {
      fresh[spec.job.name] = make_job(spec);
    }
  }
  return fresh;
}

void Runner::replace_jobs(std::vector<JobSpec> jobs, const std::set<std::string>& unchanged) {
  refuse_while_stopping();
  const auto before = job_names();
  auto fresh = make_unknown_jobs(jobs);
  std::vector<std::unique_ptr<JobLoop>> others = std::exchange(jobs_, {});
  for (JobSpec& spec : jobs) {
    const auto known = std::find_if(others.begin(), others.end(),
                                    [&](const auto& job) { return job->name() == spec.job.name; });
    if (known == others.end()) {
      jobs_.push_back(std::move(fresh.at(spec.job.name)));
      jobs_.back()->arm();
      spawn(jobs_.back()->run());
      continue;
    }
    jobs_.push_back(std::move(*known));
    others.erase(known);
    JobLoop& job = *jobs_.back();
    if (job.finished()) {
      job.revive(std::move(spec));
      spawn(job.run());
    } else if (job.retired() || !unchanged.contains(job.name())) {
      job.replace(std::move(spec));
    }
  }
  // A job that is gone stays, at rest: its run may go on, and it may come back.
  for (auto& job : others) {
    job->retire();
    jobs_.push_back(std::move(job));
  }
  if (const auto now = job_names(); now != before) {
    for (Observer* observer : shared_.observers) {
      observer->jobs_changed(now);
    }
  }
}

}  // namespace saathii::runner
