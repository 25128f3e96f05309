#pragma once

#include "saathii/base/time.hpp"
#include "saathii/jobs/job.hpp"
#include "saathii/postgres/session.hpp"

namespace saathii::jobs {

/// T, the moment of the run: the one asked for, else now by the database's
/// clock. Worker thread; throws Unavailable.
[[nodiscard]] Instant moment_of_run(const Context& context, postgres::Session& session);

}  // namespace saathii::jobs
