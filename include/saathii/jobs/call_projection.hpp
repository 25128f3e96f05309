#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "saathii/jobs/billing.hpp"
#include "saathii/postgres/session.hpp"
#include "saathii/redis/client.hpp"

namespace saathii::jobs {

/// What Redis shows of calls: the hashes "call:ID" and the channels
/// call_events and status_updates. It follows what PostgreSQL has committed and
/// moves no money; while Redis is down every function does nothing but count,
/// and once it is back repair() makes the whole right. Worker threads; several
/// may use one projection.
class CallProjection {
 public:
  /// What a job remembers from run to run: the connection on which Redis was
  /// made whole.
  struct Memory {
    std::optional<std::uint64_t> repaired_generation;
  };

  /// For one run at `moment`. `client` and `memory` outlive the projection,
  /// which is the client's only user meanwhile.
  CallProjection(redis::Client& client, Memory& memory, Instant moment)
      : client_(client), memory_(memory), moment_(moment) {}

  /// Writes the charged calls' hashes, renews their TTL and warns callers whose
  /// coming minute is the last. A call that the API has ended in between is
  /// removed again.
  void charged(postgres::Session& session, const std::vector<billing::Charged>& calls);

  /// Removes the hashes of ended calls and publishes their end and the status
  /// of both parties.
  void ended(postgres::Session& session, const std::vector<billing::Ended>& calls);

  /// Rewrites every ongoing call's hash and removes all others, if Redis may
  /// have lost something since the last repair: a new connection, or its
  /// marker key is gone. Call it after the run's charges.
  void repair(postgres::Session& session);

  /// Warnings of a low balance that were published.
  [[nodiscard]] std::int64_t warned() const;
  /// False if Redis was down at any time since the projection was made.
  [[nodiscard]] bool complete() const;

 private:
  /// Sends the commands; false, remembered, if Redis is down.
  bool send(const std::vector<redis::Command>& commands);
  void remove_ended(postgres::Session& session, const std::vector<int>& call_ids);
  bool write_ongoing(postgres::Session& session);
  bool remove_strangers(postgres::Session& session);
  [[nodiscard]] bool is_marked();

  mutable std::mutex mutex_;
  redis::Client& client_;
  Memory& memory_;
  const Instant moment_;
  std::int64_t warned_ = 0;
  bool complete_ = true;
};

}  // namespace saathii::jobs
