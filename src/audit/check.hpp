#pragma once

#include <map>
#include <string>
#include <utility>

#include "saathii/audit/audit.hpp"
#include "saathii/postgres/session.hpp"

// What the checks have in common.

namespace saathii::audit {

/// Gathers what the checks find into the findings of a report.
class Gatherer {
 public:
  Gatherer(Report& report, std::int64_t limit);

  /// Rows of invariant, kind, call, user, expected, found and how many there are
  /// of that kind; of invariant 0 how many were looked at.
  void add(const pqxx::result& rows);
  /// One more.
  void add(int invariant, Offender offender);
  void looked_at(const std::string& what, std::int64_t count);

  Finding& finding(int invariant);

 private:
  void count(int invariant, const std::string& kind, std::int64_t violations);

  Report& report_;
  const std::int64_t limit_;
  std::map<std::pair<int, std::string>, std::int64_t> listed_;
};

/// Invariant 10, as of now. Throws Unavailable for PostgreSQL, not for Redis.
void check_redis(postgres::Session& session, redis::Client& redis, const Options& options,
                 Gatherer& gatherer, Instant as_of, const std::stop_token& stop);

}  // namespace saathii::audit
