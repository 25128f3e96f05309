#include "schema.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "command_line.hpp"
#include "saathii/base/errors.hpp"
#include "saathii/log/log.hpp"
#include "saathii/postgres/migrations.hpp"
#include "saathii/runner/foreground.hpp"
#include "saathii/runner/ledger_keeper.hpp"

namespace saathii::app {

SchemaVerdict check_schema(postgres::Pool& pool, const std::stop_token& stop) {
  using Fit = SchemaVerdict::Fit;
  const int found = postgres::schema_version(pool, stop);
  const int known = postgres::known_schema_version;
  if (found > known) {
    return {Fit::newer, postgres::NewerSchema(found).what()};
  }
  if (found == 0) {
    return {Fit::missing,
            "schema saathii_tasks is missing: run 'saathiid --migrate' as the owner of the "
            "platform's tables; until then no job that uses the database can work"};
  }
  if (found < known) {
    return {Fit::older, fmt::format("schema saathii_tasks has version {}, but this saathiid needs "
                                    "{}: run 'saathiid --migrate' as the owner of the platform's "
                                    "tables; until then jobs may fail",
                                    found, known)};
  }
  return {};
}

void ensure_schema(postgres::Pool& pool, bool migrate, const std::stop_token& stop) {
  const SchemaVerdict verdict = check_schema(pool, stop);
  switch (verdict.fit) {
    case SchemaVerdict::Fit::good:
      return;
    case SchemaVerdict::Fit::newer:
      throw runner::Refused(verdict.message);
    case SchemaVerdict::Fit::missing:
    case SchemaVerdict::Fit::older:
      break;
  }
  if (!migrate) {
    throw runner::Unprepared(verdict.fit == SchemaVerdict::Fit::missing
                                 ? log::Message::schema_missing
                                 : log::Message::schema_older,
                             verdict.message);
  }
  for (const std::string& line : postgres::migrate(pool, stop)) {
    log::info(log::Message::schema_migrated, "schema saathii_tasks migrated: " + line);
  }
}

int run_migrate(postgres::Pool& pool) {
  runner::Foreground foreground;
  try {
    const auto lines = postgres::migrate(pool, foreground.token());
    for (const std::string& line : lines) {
      std::printf("migrated: %s\n", line.c_str());
    }
    if (lines.empty()) {
      std::printf("schema saathii_tasks has version %d already: nothing to do\n",
                  postgres::known_schema_version);
    }
    return exit_ok;
  } catch (const Unavailable& error) {
    std::fprintf(stderr,
                 "saathiid: PostgreSQL cannot be reached: %s. Check [postgres] url or "
                 "DATABASE_URL, then run --migrate again\n",
                 error.what());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "saathiid: the migration stopped: %s\n", error.what());
  }
  return exit_failure;
}

}  // namespace saathii::app
