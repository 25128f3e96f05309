#pragma once

#include <string>
#include <vector>

#include "requests.hpp"
#include "tasks1_adaptor.hpp"

namespace saathii::control {

/// A job on the bus. Its properties are those of the latest update().
class JobObject final : public sdbus::AdaptorInterfaces<com::saathiiapp::Tasks1::Job_adaptor> {
 public:
  /// What the properties are made of.
  struct Properties {
    explicit Properties(const runner::JobView& job);

    std::string kind, schedule, time_zone, state;
    bool paused = false;
    std::string paused_by;
    std::uint64_t paused_since = 0;
    std::uint64_t next_run = 0;
    std::string run_id;
    std::uint64_t run_scheduled_at = 0, run_started_at = 0;
    std::uint32_t run_attempt = 0;
    std::string last_run_id, last_outcome, last_reason;
    std::uint64_t last_scheduled_at = 0, last_started_at = 0, last_finished_at = 0;
    std::uint32_t last_attempts = 0;
    wire::Counts last_counts;
    std::uint64_t last_success = 0;
    std::uint64_t timeout = 0, success_deadline = 0;

    /// The names of those that differ.
    [[nodiscard]] std::vector<std::string> differing(const Properties& other) const;
  };

  JobObject(sdbus::IConnection& connection, Requests& requests, const runner::JobView& job);
  virtual ~JobObject();

  /// Tells the bus which properties have changed, if any. Returns whether it did.
  bool update(const runner::JobView& job);
  void announce() { getObject().emitInterfacesAddedSignal(); }
  void take_leave() { getObject().emitInterfacesRemovedSignal(); }

 private:
  void Run(sdbus::Result<std::string>&& result, std::uint64_t at) override;
  void Pause(sdbus::Result<>&& result) override;
  void Resume(sdbus::Result<>&& result) override;

  std::string Name() override { return name_; }
  std::string Kind() override { return now_.kind; }
  std::string Schedule() override { return now_.schedule; }
  std::string TimeZone() override { return now_.time_zone; }
  std::string State() override { return now_.state; }
  bool Paused() override { return now_.paused; }
  std::string PausedBy() override { return now_.paused_by; }
  std::uint64_t PausedSince() override { return now_.paused_since; }
  std::uint64_t NextRun() override { return now_.next_run; }
  std::string RunId() override { return now_.run_id; }
  std::uint64_t RunScheduledAt() override { return now_.run_scheduled_at; }
  std::uint64_t RunStartedAt() override { return now_.run_started_at; }
  std::uint32_t RunAttempt() override { return now_.run_attempt; }
  std::string LastRunId() override { return now_.last_run_id; }
  std::string LastOutcome() override { return now_.last_outcome; }
  std::string LastReason() override { return now_.last_reason; }
  std::uint64_t LastScheduledAt() override { return now_.last_scheduled_at; }
  std::uint64_t LastStartedAt() override { return now_.last_started_at; }
  std::uint64_t LastFinishedAt() override { return now_.last_finished_at; }
  std::uint32_t LastAttempts() override { return now_.last_attempts; }
  wire::Counts LastCounts() override { return now_.last_counts; }
  std::uint64_t LastSuccess() override { return now_.last_success; }
  std::uint64_t Timeout() override { return now_.timeout; }
  std::uint64_t SuccessDeadline() override { return now_.success_deadline; }

  Requests& requests_;
  const std::string name_;
  Properties now_;
};

}  // namespace saathii::control
