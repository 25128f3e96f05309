#pragma once

#include <stop_token>
#include <string>

#include "saathii/postgres/pool.hpp"

namespace saathii::app {

/// What the schema of this program's own tables is to this program.
struct SchemaVerdict {
  enum class Fit { good, missing, older, newer } fit = Fit::good;
  std::string message;  ///< what is wrong and what to do; empty if good
};

/// Worker thread; throws Unavailable.
[[nodiscard]] SchemaVerdict check_schema(postgres::Pool& pool, const std::stop_token& stop);

/// For the daemon's start: returns once the schema fits, and migrates if that
/// is allowed. Throws runner::Refused for a newer schema, runner::Unprepared for one
/// that must be migrated, Unavailable, or what else is wrong.
void ensure_schema(postgres::Pool& pool, bool migrate, const std::stop_token& stop);

/// --migrate: applies what is missing and prints it. Returns the exit code.
int run_migrate(postgres::Pool& pool);

}  // namespace saathii::app
