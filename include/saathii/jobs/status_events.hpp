#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "saathii/base/time.hpp"
#include "saathii/jobs/job.hpp"
#include "saathii/postgres/session.hpp"
#include "saathii/redis/client.hpp"

// The one place that knows the channel `status_updates`. Worker threads.

namespace saathii::jobs {

/// At most so many users are read and published at a time.
inline constexpr std::size_t max_status_updates = 1000;

/// "2026-11-22T02:14:00.123456+00:00", as Python's isoformat() writes it: what
/// the platform's API puts into its own messages.
[[nodiscard]] std::string to_isoformat(Instant moment);

/// One PUBLISH for each user of `user_ids` that exists, in the order of ids, of
/// what the database says of them now; `moment` is the messages' timestamp. One
/// statement outside of any transaction. A user without a status row is
/// offline. Throws Unavailable when PostgreSQL is lost.
[[nodiscard]] std::vector<redis::Command> status_updates(postgres::Session& session,
                                                         const std::vector<int>& user_ids,
                                                         Instant moment);

/// Reads and publishes, max_status_updates at a time, and returns how many
/// users' updates could not be delivered to Redis. A Redis that is down fails
/// nothing here; a PostgreSQL that is lost throws Unavailable, a requested stop
/// Stopped.
[[nodiscard]] std::int64_t publish_status(const Context& context, postgres::Session& session,
                                          const std::vector<int>& user_ids, Instant moment);

}  // namespace saathii::jobs
