#pragma once

#include <optional>
#include <string>

#include "saathii/runner/types.hpp"

namespace saathii::runner {

/// Who set a job aside, and since when.
struct Pause {
  std::string by;  ///< "root", "uid 1000"
  Instant since;
};

/// A run in progress.
struct RunInProgress {
  std::string run_id;
  Instant scheduled_at;
  Instant started_at;
  int attempt = 1;
};

/// A job as it stands, for faces: a copy, taken on the loop thread.
struct JobView {
  enum class State {
    waiting,   ///< for its next tick
    running,   ///< a worker is busy with it
    retrying,  ///< a try failed or found a server down; the next one comes soon
    standby,   ///< another instance leads, or it is not known yet who does
    stuck,     ///< a run has not come back long after it was told to stop
  };

  std::string name;
  std::string kind;
  std::string schedule;  ///< "every 1m", "daily at 00:01 Asia/Kolkata"
  TimeZone zone = nullptr;
  State state = State::waiting;
  std::optional<Pause> paused;
  std::optional<Instant> next_run;   ///< none: paused, or no tick is to come
  std::optional<RunInProgress> run;  ///< while running, retrying or stuck
  std::optional<Record> last;        ///< the latest run that ended, also before this start
  std::optional<Instant> last_success;
  Instant armed_at;  ///< since when this daemon has had the job
  Duration timeout{0};
  /// When the next success must have come; none: no tick is to come.
  std::optional<Instant> success_deadline;
};

[[nodiscard]] std::string_view to_string(JobView::State state);

}  // namespace saathii::runner
