#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "saathii/config/config.hpp"
#include "saathii/postgres/session.hpp"

// Charging minutes and settling calls: what coin_deduction and call_cleanup
// share. Every function is one statement, or a few, inside the caller's
// transaction; statements are in billing.sql. Worker threads.

namespace saathii::jobs::billing {

/// How long the "minute" of a charge is.
inline constexpr std::chrono::seconds minute_length{60};

/// The same as a parameter for PostgreSQL.
[[nodiscard]] std::string minute_interval();

/// A length of time as a parameter for PostgreSQL, exact.
[[nodiscard]] std::string interval(Duration length);

/// A call after charge() has looked at it.
struct Charged {
  int call_id = 0;
  std::optional<int> user_id;  ///< the caller
  std::optional<int> listener_id;
  std::string call_type;
  std::int64_t start_epoch_s = 0;
  std::int64_t coins_spent = 0;   ///< in all
  int minutes = 0;                ///< newly charged or waived
  std::int64_t coins = 0;         ///< newly charged
  int waived = 0;                 ///< of `minutes`
  bool is_short = false;          ///< the balance does not cover its next started minute
  std::int64_t balance = 0;       ///< left in the wallet, coins
  std::int64_t minutes_left = 0;  ///< that it still pays for
  bool had_more = false;  ///< before, more than one minute was affordable or nobody had looked
};

/// A call that is to end.
struct Ending {
  int call_id = 0;
  std::string end_time;  ///< as PostgreSQL reads it
  std::string reason;    ///< a lower-case word or words_joined: "balance", "not_seen", …
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
};

/// Bounds that find calls which cannot be due without reading the ledger.
struct RateBounds {
  std::int64_t audio_latest = 0;
  std::int64_t audio_highest = 0;
  std::int64_t video_latest = 0;
  std::int64_t video_highest = 0;
  std::string latest_since;  ///< when the latest rate came into force, as PostgreSQL reads it
};

/// Makes the configured rates hold for minutes that start from T on, if they
/// differ from those known, and returns the bounds.
RateBounds record_rates(postgres::Session& session, Instant moment, const config::Rates& rates);

/// Locks those of the calls that are ongoing and that nobody else holds, and
/// their callers' wallets; returns them.
std::vector<int> lock_calls(postgres::Session& session, pqxx::transaction_base& transaction,
                            const std::vector<int>& call_ids);

/// The same with the wallets and status rows of callers and listeners; missing
/// listeners' wallets are created first.
std::vector<int> lock_calls_to_end(postgres::Session& session, pqxx::transaction_base& transaction,
                                   const std::vector<int>& call_ids);

/// Charges locked calls what is due at `moment`; see billing.sql.
/// `catch_up_limit`: the most unpaid minutes of a call that are charged; 0: all.
std::vector<Charged> charge(postgres::Session& session, pqxx::transaction_base& transaction,
                            const std::vector<int>& call_ids, Instant moment,
                            std::int64_t catch_up_limit);

/// Writes down what the API had taken for calls that are about to end and were
/// never charged here.
void open(postgres::Session& session, pqxx::transaction_base& transaction,
          const std::vector<Ending>& endings, Instant moment);

/// Charges calls that are about to end for what is unpaid before each one's
/// end, as far as the balance goes. Returns the coins charged.
std::int64_t charge_until_end(postgres::Session& session, pqxx::transaction_base& transaction,
                              const std::vector<Ending>& endings, Instant moment,
                              std::int64_t catch_up_limit);

/// Gives back what was charged for minutes that start after the end; returns the coins.
std::int64_t refund(postgres::Session& session, pqxx::transaction_base& transaction,
                    const std::vector<Ending>& endings);

/// Ends locked calls: status, durations, earnings, both parties' status rows.
std::vector<Ended> settle(postgres::Session& session, pqxx::transaction_base& transaction,
                          const std::vector<Ending>& endings, const config::Platform& platform);

}  // namespace saathii::jobs::billing
