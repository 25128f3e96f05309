#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "saathii/base/count_metric.hpp"
#include "saathii/config/config.hpp"
#include "saathii/jobs/pricing.hpp"
#include "saathii/postgres/session.hpp"

// Charging minutes and settling calls: what coin_deduction and call_cleanup
// share. Every function is a few statements, however many calls there are,
// inside the caller's transaction; statements are in billing.sql. Locks are
// always taken in the same order: calls by call_id, then wallets by user_id,
// then status rows by user_id. Worker threads.

namespace saathii::jobs::billing {

/// Settings that both jobs have; each in its own table.
[[nodiscard]] config::Setting stale_after_setting();
[[nodiscard]] config::Setting catch_up_setting();

/// Metrics that both jobs have: of the counts "minutes", "coins", "earned_paise", "failed".
[[nodiscard]] std::vector<CountMetric> shared_metrics();
/// Of a count of calls that ended for this reason.
[[nodiscard]] CountMetric dropped_metric(std::string_view count, std::string_view reason);

/// A call that is to end.
struct Ending {
  int call_id = 0;
  Instant end_time;
  std::string reason;  ///< a lower-case word or words_joined: "balance", "not_seen", …
};

/// A call that settle() has ended.
struct Ended {
  int call_id = 0;
  std::optional<int> user_id;
  std::optional<int> listener_id;
  std::string reason;
  Instant end_time;
  int minutes = 0;         ///< paid
  std::int64_t coins = 0;  ///< paid
  std::string earned;      ///< rupees, two decimals
  std::int64_t earned_paise = 0;
};

/// All rates and increments that ever held.
[[nodiscard]] Tariff read_tariff(postgres::Session& session, pqxx::transaction_base& transaction);

/// Makes the configured rates hold for minutes, and the configured increment for
/// calls, that start from T on, if they differ from those known, and returns all
/// that ever held.
[[nodiscard]] Tariff record_tariff(postgres::Session& session, Instant moment,
                                   const config::Rates& configured);

/// Calls of rows that hold: call_id, user_id, listener_id, call_type, the start in
/// microseconds since 1970, coins_spent.
[[nodiscard]] std::vector<Call> calls_of(const pqxx::result& rows);

/// Locks those of the calls that are ongoing and that nobody else holds, and
/// returns them.
[[nodiscard]] std::vector<Call> lock_calls(postgres::Session& session,
                                           pqxx::transaction_base& transaction,
                                           const std::vector<int>& call_ids);

/// The same with the wallets and status rows of callers and listeners; missing
/// listeners' wallets are created first.
[[nodiscard]] std::vector<Call> lock_calls_to_end(postgres::Session& session,
                                                  pqxx::transaction_base& transaction,
                                                  const std::vector<int>& call_ids);

struct Charges {
  std::vector<Charged> calls;
  /// False if there was more to charge than one transaction should hold: charge
  /// the same calls again.
  bool is_complete = true;
};

/// By user, as last read.
using WaitTimes = std::unordered_map<int, int>;

/// Charges locked calls what is due, as price() says, from their callers'
/// wallets, which it locks; asks the ledger where a call's charged minutes are
/// not given. A party's wait_time that is not the known one is
/// made to be what it should. Throws std::runtime_error if a wallet would fall
/// below 0 because something else took its coins, for all its locks.
[[nodiscard]] Charges charge(postgres::Session& session, pqxx::transaction_base& transaction,
                             std::vector<Call> calls, const Tariff& tariff, const Terms& terms,
                             const WaitTimes& known_wait_times = {});

/// Writes down what the API had taken for calls that are about to end and were
/// never charged here.
void open(postgres::Session& session, pqxx::transaction_base& transaction,
          const std::vector<Ending>& endings, Instant moment);

struct Taken {
  std::int64_t minutes = 0;
  std::int64_t coins = 0;
};

/// Charges those locked calls that are about to end for what is unpaid before
/// each one's end, as far as the balance goes. Returns what was charged.
Taken charge_until_end(postgres::Session& session, pqxx::transaction_base& transaction,
                       const std::vector<Call>& calls, const std::vector<Ending>& endings,
                       const Tariff& tariff, const Terms& terms);

/// Gives back what was charged for minutes that start after the end; returns the coins.
std::int64_t refund(postgres::Session& session, pqxx::transaction_base& transaction,
                    const std::vector<Ending>& endings);

/// Ends locked calls: status, durations, earnings, both parties' status rows.
std::vector<Ended> settle(postgres::Session& session, pqxx::transaction_base& transaction,
                          const std::vector<Ending>& endings, const config::Platform& platform);

}  // namespace saathii::jobs::billing
