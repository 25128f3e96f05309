#pragma once

#include <functional>
#include <stop_token>

#include "saathii/audit/report.hpp"
#include "saathii/config/config.hpp"

// Recounts the contract's invariants from the tables, with no statement of the
// jobs'. One thread at a time.

namespace saathii::postgres {
class Session;
}
namespace saathii::redis {
class Client;
}

namespace saathii::audit {

struct Options {
  std::optional<Instant> as_of = {};  ///< else now, by the database's clock
  /// What is younger is in flight: a minute that waits for its run, a flag that a
  /// job is about to clear.
  Duration grace = std::chrono::minutes{10};
  std::optional<Instant> since = {};  ///< ended calls that started before are left out
  std::int64_t limit = 100;           ///< offenders listed of each kind; at least 1
  std::int32_t calls_in_slice = 20'000;
  std::int32_t wallets_in_slice = 200'000;
  std::int32_t statuses_in_slice = 100'000;
  /// What differs in Redis is looked at again after so long.
  Duration redis_settles_in = std::chrono::seconds{2};
};

/// What of the configuration the invariants depend on.
struct Terms {
  std::string charging_job = "coin_deduction";
  std::string timezone;
  std::string basic_audio;  ///< rupees a minute: "1.00"
  std::string basic_video;
  bool earns_coins = false;
  Duration charge_retention{0};
};
[[nodiscard]] Terms terms_of(const config::Config& config);

/// Told of each slice: which check, and what share of the audit is done (0 to 1).
using Progress = std::function<void(std::string_view what, double share)>;

/// Reads the tables in one read-only snapshot, slice by slice, and holds no more
/// of them than the offenders that it lists; then compares Redis, as of now.
/// Without `redis` invariant 10 is not checked. Throws Unavailable, Stopped, or
/// the server's error.
[[nodiscard]] Report run(postgres::Session& session, redis::Client* redis, const Terms& terms,
                         const Options& options, const Progress& progress,
                         const std::stop_token& stop);

/// What would make good the violations of a report, at most 1000 rows at once.
/// Reads only.
[[nodiscard]] Plan plan(postgres::Session& session, const Terms& terms, const Report& report);

/// Writes one repair, in one transaction, if under the locks it is still needed
/// as planned. Returns whether it was.
[[nodiscard]] bool apply(postgres::Session& session, const Terms& terms, const Repair& repair);

/// Records what each wallet had before its first transaction, in place of any
/// baseline before: from then on invariant 3 is checked.
Baseline take_baseline(postgres::Session& session);

}  // namespace saathii::audit
