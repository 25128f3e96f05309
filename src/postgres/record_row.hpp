#pragma once

#include <optional>
#include <pqxx/pqxx>

#include "saathii/runner/types.hpp"

namespace saathii::postgres {

/// A timestamptz of a session, whose TimeZone is UTC. Throws for anything else.
[[nodiscard]] Instant to_moment(const pqxx::field& field);
[[nodiscard]] std::optional<Instant> to_optional_moment(const pqxx::field& field);

/// A row with these columns of job_run: job, scheduled_at, last_scheduled_at,
/// ticks, outcome, reason, run_id, started_at, finished_at, attempts, counts.
[[nodiscard]] runner::Record to_record(const pqxx::row& row);

}  // namespace saathii::postgres
