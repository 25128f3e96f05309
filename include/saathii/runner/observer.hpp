#pragma once

#include <string>
#include <vector>

#include "saathii/runner/job_view.hpp"
#include "saathii/runner/types.hpp"

namespace saathii::runner {

/// A face of the daemon: the runner tells it what happens, always on the loop
/// thread. A face never blocks and never throws.
class Observer {
 public:
  virtual ~Observer() = default;
  /// The loop runs and so many jobs wait for their ticks.
  virtual void armed(std::size_t /*jobs*/) {}
  virtual void run_started(const std::string& /*job*/, const RunInProgress& /*run*/) {}
  /// Every tick ends here once, also those that never ran. `busy` is the time
  /// from the start of the first try to the end of the last.
  virtual void tick_ended(const Record& /*record*/, Duration /*busy*/) {}
  /// A tick's run was broken off, because another instance leads: it ends there.
  virtual void handed_over(const std::string& /*job*/) {}
  /// Another instance leads and runs the job from now on.
  virtual void standing_by(const std::string& /*job*/) {}
  /// A run has not come back long after it was told to stop.
  virtual void wedged(const std::string& /*job*/) {}
  /// It came back after all.
  virtual void released(const std::string& /*job*/) {}
  /// Something else of its JobView is new: a try began or failed, its past
  /// became known, it was paused, resumed, or got other settings.
  virtual void job_changed(const std::string& /*job*/) {}
  /// A reload added jobs or took some away: now it is these.
  virtual void jobs_changed(const std::vector<std::string>& /*jobs*/) {}
  /// This instance leads or no longer does, or another one leads.
  virtual void leadership_changed(const Leadership& /*now*/) {}
  /// A server went down or came up.
  virtual void server_changed() {}
  /// A reload of the configuration begins; reloaded() follows, whatever comes of it.
  virtual void reloading() {}
  virtual void reloaded() {}
  /// Every Options::heartbeat while the loop runs.
  virtual void heartbeat() {}
  /// Shutdown began; these jobs are still running.
  virtual void stopping(const std::vector<std::string>& /*running*/) {}
  /// All is done: end what still holds the loop, within two seconds.
  virtual void ending() {}
};

}  // namespace saathii::runner
