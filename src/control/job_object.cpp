#include "job_object.hpp"

#include <utility>

namespace saathii::control {

namespace {

using Properties = JobObject::Properties;

template <auto Member>
bool same(const Properties& one, const Properties& other) {
  return one.*Member == other.*Member;
}

/// Each property that may change, and whether it has.
constexpr std::pair<const char*, bool (*)(const Properties&, const Properties&)> changeable[] = {
    {"Kind", same<&Properties::kind>},
    {"Schedule", same<&Properties::schedule>},
    {"TimeZone", same<&Properties::time_zone>},
    {"State", same<&Properties::state>},
    {"Paused", same<&Properties::paused>},
    {"PausedBy", same<&Properties::paused_by>},
    {"PausedSince", same<&Properties::paused_since>},
    {"NextRun", same<&Properties::next_run>},
    {"RunId", same<&Properties::run_id>},
    {"RunScheduledAt", same<&Properties::run_scheduled_at>},
    {"RunStartedAt", same<&Properties::run_started_at>},
    {"RunAttempt", same<&Properties::run_attempt>},
    {"LastRunId", same<&Properties::last_run_id>},
    {"LastOutcome", same<&Properties::last_outcome>},
    {"LastReason", same<&Properties::last_reason>},
    {"LastScheduledAt", same<&Properties::last_scheduled_at>},
    {"LastStartedAt", same<&Properties::last_started_at>},
    {"LastFinishedAt", same<&Properties::last_finished_at>},
    {"LastAttempts", same<&Properties::last_attempts>},
    {"LastCounts", same<&Properties::last_counts>},
    {"LastSuccess", same<&Properties::last_success>},
    {"Timeout", same<&Properties::timeout>},
    {"SuccessDeadline", same<&Properties::success_deadline>},
};

}  // namespace

JobObject::Properties::Properties(const runner::JobView& job)
    : kind(job.kind),
      schedule(job.schedule),
      time_zone(job.zone == nullptr ? "" : std::string(job.zone->name())),
      state(to_string(job.state)),
      paused(job.paused.has_value()),
      next_run(wire::moment(job.next_run)),
      last_success(wire::moment(job.last_success)),
      timeout(wire::length(job.timeout)),
      success_deadline(wire::moment(job.success_deadline)) {
  if (job.paused) {
    paused_by = wire::text(job.paused->by);
    paused_since = wire::moment(job.paused->since);
  }
  if (job.run) {
    run_id = job.run->run_id;
    run_scheduled_at = wire::moment(job.run->scheduled_at);
    run_started_at = wire::moment(job.run->started_at);
    run_attempt = static_cast<std::uint32_t>(job.run->attempt);
  }
  if (job.last) {
    last_run_id = wire::text(job.last->run_id);
    last_outcome = schedule::to_string(job.last->outcome);
    last_reason = wire::text(job.last->reason);
    last_scheduled_at = wire::moment(job.last->scheduled_at);
    last_started_at = wire::moment(job.last->started_at);
    last_finished_at = wire::moment(job.last->finished_at);
    last_attempts = static_cast<std::uint32_t>(job.last->attempts);
    last_counts = wire::counts(job.last->counts);
  }
}

std::vector<std::string> JobObject::Properties::differing(const Properties& other) const {
  std::vector<std::string> names;
  for (const auto& [name, is_same] : changeable) {
    if (!is_same(*this, other)) {
      names.emplace_back(name);
    }
  }
  return names;
}

JobObject::JobObject(sdbus::IConnection& connection, Requests& requests, const runner::JobView& job)
    : AdaptorInterfaces(connection, wire::job_path(job.name)),
      requests_(requests),
      name_(job.name),
      now_(job) {
  registerAdaptor();
}

JobObject::~JobObject() { unregisterAdaptor(); }

bool JobObject::update(const runner::JobView& job) {
  Properties next(job);
  const auto names = next.differing(now_);
  now_ = std::move(next);
  if (names.empty()) {
    return false;
  }
  emit_changed(getObject(), INTERFACE_NAME, names);
  return true;
}

void JobObject::Run(sdbus::Result<std::string>&& result, std::uint64_t at) {
  guarded([&] { requests_.run(caller_of(getObject()), std::move(result), name_, at); });
}

void JobObject::Pause(sdbus::Result<>&& result) {
  guarded([&] { requests_.pause(caller_of(getObject()), std::move(result), name_); });
}

void JobObject::Resume(sdbus::Result<>&& result) {
  guarded([&] { requests_.resume(caller_of(getObject()), std::move(result), name_); });
}

}  // namespace saathii::control
