#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
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
  /// made whole. Nothing while a run is under way, so that one that breaks off
  /// between a commit and its showing leaves the next one to repair it.
  struct Memory {
    std::optional<std::uint64_t> repaired_generation;
    /// The outages of PostgreSQL that there had been: who takes over from a lost
    /// primary may lack the last commits, and Redis shows them still.
    std::uint64_t outages_of_postgres = 0;
    std::int64_t term = 0;  ///< of leadership: another instance led between two
    Instant reviewed_at;    ///< when strangers were looked for
    std::string instances;  ///< that there were: one that died may have shown half of something
  };

  /// For one run at `moment` under a term of leadership. `client` and `memory` outlive
  /// the projection, which is the client's only user meanwhile.
  CallProjection(redis::Client& client, Memory& memory, Instant moment, std::int64_t term = 0)
      : client_(client),
        memory_(memory),
        moment_(moment),
        term_(term),
        repaired_generation_(std::exchange(memory.repaired_generation, std::nullopt)) {}
  /// A run that broke off has the marker key removed: whoever leads repairs.
  ~CallProjection();
  CallProjection(const CallProjection&) = delete;
  CallProjection& operator=(const CallProjection&) = delete;

  /// Raises the coins of the charged calls' hashes, renews their TTL and warns
  /// callers whose coming minute is the last. A hash that is not what it should
  /// be then is made what PostgreSQL says: that of a call which the API has ended
  /// meanwhile is removed again.
  void charged(postgres::Session& session, const std::vector<billing::Charged>& calls);

  /// Removes the hashes of ended calls and publishes their end and the status
  /// of both parties.
  void ended(postgres::Session& session, const std::vector<billing::Ended>& calls);

  /// Rewrites every ongoing call's hash and removes all others, if Redis may
  /// lack something since the last repair: a new connection, its marker key is
  /// gone, a run broke off, PostgreSQL was away, another instance led, came or went.
  /// Else, once every `review_every`, only removes the others: those of calls that the
  /// API has deleted with a user. Call it after the run's charges.
  void repair(postgres::Session& session, Duration review_every = Duration::max());
  /// Redis may lack what somebody else charged: repair() looks through it all.
  void doubt();
  /// Instead of repair(), by who took a share of another's run: all is shown.
  void leave_repair_to_leader() { is_whole_ = complete(); }

  /// Warnings of a low balance that were published.
  [[nodiscard]] std::int64_t warned() const;
  /// False if Redis was down at any time since the projection was made, or could
  /// not be brought up to date.
  [[nodiscard]] bool complete() const;

 private:
  void needs_repair();  ///< under the mutex
  template <typename Show>
  void repaired_if_it_fails(const Show& show);
  /// Sends the commands; nothing, remembered, if Redis is down.
  std::optional<std::vector<redis::Reply>> send(const std::vector<redis::Command>& commands);
  void remove_ended(postgres::Session& session, const std::vector<int>& call_ids);
  /// Makes these calls' hashes what PostgreSQL says.
  void rewrite(postgres::Session& session, const std::vector<int>& call_ids);
  /// Writes these calls' whole hashes; false, remembered, if they are not right then.
  bool write(postgres::Session& session, std::vector<billing::Call> calls);
  bool write_ongoing(postgres::Session& session);
  bool remove_strangers(postgres::Session& session);
  enum class Marker { set, renew };
  /// Notes in Redis that what it holds was looked through.
  [[nodiscard]] bool mark(Marker how);
  [[nodiscard]] bool is_marked();

  mutable std::mutex mutex_;
  redis::Client& client_;
  Memory& memory_;
  const Instant moment_;
  const std::int64_t term_;
  std::optional<std::uint64_t> repaired_generation_;
  std::int64_t warned_ = 0;
  bool complete_ = true;
  bool is_whole_ = false;  ///< what was committed is shown, or this instance will repair it
};

}  // namespace saathii::jobs
