#pragma once

#include <string>
#include <vector>

#include "saathii/runner/job_view.hpp"
#include "saathii/runner/types.hpp"

// What the log says of runs. Texts do not vary from tick to tick, so that
// repeated ones are folded; what varies is in the fields.

namespace saathii::runner {

void log_finished(const Record& record, const Result& result, Duration busy);
/// A try failed or ran out of time and there will be another.
void log_retry(const Record& record);
/// A try found a server down: the server's state has said so already.
void log_server_lost(const Record& record);
/// Shutdown ended a tick before it was done; it gets no outcome.
void log_interrupted(const Record& record, bool by_shutdown);
/// A run that was asked for will not come.
void log_dropped(const Record& record);
void log_written_off(const std::string& job, const std::vector<schedule::WrittenOff>& ticks);
void log_wedged(const std::string& job, const RunInProgress& run, Duration after);
void log_released(const std::string& job, const RunInProgress& run);
/// Shutdown does not wait for this run any longer.
void log_left_behind(const std::string& job, const RunInProgress& run);

/// Why a run that was told to stop has ended as timed out.
[[nodiscard]] std::string timeout_reason(Duration timeout, const Result& result);

/// Whether a run changed or found anything worth a line.
[[nodiscard]] bool did_something(const Counts& counts);

}  // namespace saathii::runner
