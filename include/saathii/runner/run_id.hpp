#pragma once

#include <string>

namespace saathii::runner {

/// A random UUID, which joins a run's log, its row in the ledger and its faces.
[[nodiscard]] std::string new_run_id();

}  // namespace saathii::runner
