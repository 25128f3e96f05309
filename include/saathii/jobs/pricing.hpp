#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "saathii/base/time.hpp"

// What calls cost: which minutes are due, at which rate, and which of them a
// wallet covers. Pure: no I/O and no clock, any thread.

namespace saathii::jobs::billing {

/// What holds from when on.
template <typename Value>
class Timeline {
 public:
  /// Later than all before; the first holds for all that came before it, too.
  void add(Instant valid_from, Value value) { entries_.push_back({valid_from, value}); }
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  [[nodiscard]] Value at(Instant moment) const {
    auto entry = entries_.rbegin();
    while (entry != std::prev(entries_.rend()) && entry->valid_from > moment) {
      ++entry;
    }
    return entry->value;
  }
  [[nodiscard]] Value latest() const { return entries_.back().value; }
  [[nodiscard]] Instant latest_since() const { return entries_.back().valid_from; }
  [[nodiscard]] Value highest() const {
    return std::ranges::max_element(entries_, {}, &Entry::value)->value;
  }
  [[nodiscard]] Value lowest() const {
    return std::ranges::min_element(entries_, {}, &Entry::value)->value;
  }

 private:
  struct Entry {
    Instant valid_from;
    Value value;
  };
  std::vector<Entry> entries_;
};

/// The coins of a started minute of one call type, by the moment in which it starts.
using RateLine = Timeline<std::int64_t>;

struct Tariff {
  /// By call type. A call of a type that is not among them is not charged.
  std::map<std::string, RateLine, std::less<>> rates;
  /// How long a "minute" is: the increment by which calls are billed, by the
  /// moment in which the call starts. A call keeps its own to its end.
  Timeline<Duration> minutes;
};

/// An ongoing call.
struct Call {
  int call_id = 0;
  std::optional<int> user_id;  ///< the caller
  std::optional<int> listener_id;
  std::string call_type;
  Instant start_time;
  std::int64_t coins_spent = 0;
  std::optional<int> charged_minutes;  ///< by the ledger; nothing: the ledger has none of it
  std::optional<Instant> end_time;     ///< of a call that is about to end
};

struct Wallet {
  int wallet_id = 0;
  std::int64_t balance = 0;
};

/// By user.
using Wallets = std::unordered_map<int, Wallet>;

/// What holds for all calls of a run.
struct Terms {
  Instant moment;                   ///< T: minutes that start later are not due
  std::int64_t catch_up_limit = 0;  ///< the most unpaid minutes of a call that are charged,
                                    ///< older ones being waived; 0: all
  /// Beyond so many minutes the rest is left for another pass.
  std::size_t max_minutes = 100'000;
};

/// Who took the coins of a minute: the API before saathiid first charged the
/// call, or saathiid; nobody took any for a waived one.
enum class Source { api, saathiid, waived };

/// A row of the ledger.
struct Minute {
  int call_id = 0;
  int number = 0;  ///< from 1
  int user_id = 0;
  int wallet_id = 0;  ///< 0: none
  std::int64_t coins = 0;
  Instant start_time;
  Source source = Source::saathiid;
  std::optional<std::int64_t> balance_after;  ///< of the wallet; nothing for the API's
};

/// What became of a call.
struct Charged {
  int call_id = 0;
  std::optional<int> user_id;  ///< the caller
  std::optional<int> listener_id;
  std::string call_type;
  Instant start_time;
  std::int64_t coins_spent = 0;   ///< in all
  int paid_minutes = 0;           ///< in all, waived ones too
  int minutes = 0;                ///< newly charged or waived
  std::int64_t coins = 0;         ///< newly charged
  int waived = 0;                 ///< of `minutes`
  bool is_short = false;          ///< the balance does not cover its next started minute
  std::int64_t balance = 0;       ///< left in the wallet, coins
  std::int64_t minutes_left = 0;  ///< that it still pays for
  bool had_more = false;  ///< before, more than one minute was affordable or nobody had looked
};

struct Bill {
  std::vector<Minute> minutes;  ///< sorted by call and number
  std::vector<Charged> calls;
  /// What wait_time is to be, for both parties of calls that go on: sorted, each user
  /// once, the longest of several calls that are priced together.
  std::vector<std::pair<int, int>> wait_times;
  /// False if max_minutes was reached: once this is written, there is more to charge.
  bool is_complete = true;
};

/// Charges, for each wallet, minutes in the order in which they started, then by
/// call_id, up to the first that the balance does not cover: that minute's call
/// is "short". What comes after it on the same wallet waits until the short call
/// has ended. Where nobody is the caller each call is a payer of its own, with
/// nothing to pay from. Calls of unknown type are left out of the bill.
/// Throws std::runtime_error for a call that claims more paid minutes than a
/// ledger should ever hold, or would need so many waived ones.
[[nodiscard]] Bill price(const std::vector<Call>& calls, const Wallets& wallets,
                         const Tariff& tariff, const Terms& terms);

}  // namespace saathii::jobs::billing
