#pragma once

#include "saathii/base/time.hpp"
#include "saathii/jobs/job.hpp"
#include "saathii/postgres/session.hpp"

namespace saathii::jobs {

/// T, the moment of the run: the one asked for, else now by the database's
/// clock. Worker thread; throws Unavailable.
[[nodiscard]] Instant moment_of_run(const Context& context, postgres::Session& session);

/// The same for a job whose tick stands for a day: the tick's own moment where
/// the database's clock has not reached it yet (see not_before_tick()).
[[nodiscard]] Instant moment_of_tick(const Context& context, postgres::Session& session);

/// `tick` where `now`, by another clock, is earlier than that by at most an
/// hour; else `now`: two clocks that are further apart are not both right.
[[nodiscard]] Instant not_before_tick(Instant now, Instant tick);

}  // namespace saathii::jobs
