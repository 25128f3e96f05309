#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "saathii/postgres/pool.hpp"
#include "saathii/runner/types.hpp"

// Questions that an operator asks of the ledgers. Worker thread; each reads in
// one read-only transaction, at most so many rows, and throws Unavailable.

namespace saathii::postgres {

/// How long the server may work on one statement of an answer.
inline constexpr std::chrono::seconds inquiry_patience{10};

struct HistoryQuery {
  std::string job;                    ///< empty: all
  std::optional<Instant> since;       ///< by the scheduled moment
  std::string outcome;                ///< empty: all
  std::size_t limit = 50;             ///< at most 10000
  std::optional<Instant> until = {};  ///< by the scheduled moment, which counts
};

/// Outcomes, newest first.
[[nodiscard]] std::vector<runner::Record> history(Pool& pool, const HistoryQuery& query,
                                                  const std::stop_token& stop);

/// One charged minute of a call.
struct ReceiptMinute {
  std::int32_t minute = 0;  ///< from 1
  Instant starts_at;
  std::int64_t coins = 0;
  std::string source;  ///< "api", "saathiid", "waived"
  std::optional<Instant> charged_at;
  std::optional<std::int64_t> balance_before;  ///< of the wallet; not known for "api"
  std::optional<std::int64_t> balance_after;
  std::optional<Instant> refunded_at;
};

struct Settlement {
  std::string reason;
  Instant end_time;
  std::int32_t minutes = 0;
  std::int64_t coins = 0;
  std::string earned;  ///< rupees, exact: "12.50"
  Instant settled_at;
};

struct Receipt {
  std::int64_t call_id = 0;
  std::int64_t user_id = 0;      ///< who pays
  std::int64_t listener_id = 0;  ///< who earns
  std::string call_type;
  std::string status;
  Instant start_time;
  std::optional<Instant> end_time;
  std::int64_t coins_spent = 0;
  std::vector<ReceiptMinute> minutes;  ///< ascending, at most 10000
  std::optional<Settlement> settlement;
};

/// Nothing if there is no such call.
[[nodiscard]] std::optional<Receipt> receipt(Pool& pool, std::int64_t call_id,
                                             const std::stop_token& stop);

struct WalletEntry {
  Instant at;
  std::string type;  ///< "purchase", "spend", "earn", …
  std::int64_t coins = 0;
  std::string money;  ///< rupees, exact
};

struct Wallet {
  std::int64_t user_id = 0;
  std::int64_t balance_coins = 0;
  std::string withdrawable_money;  ///< rupees, exact
  std::vector<std::int64_t> ongoing_calls;
  std::vector<WalletEntry> entries;  ///< newest first
};

/// Nothing if the user has no wallet.
[[nodiscard]] std::optional<Wallet> wallet(Pool& pool, std::int64_t user_id, std::size_t entries,
                                           const std::stop_token& stop);

}  // namespace saathii::postgres
