#pragma once

#include <cstddef>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "saathii/jobs/pricing.hpp"

namespace saathii::jobs {

/// How many minutes of each call the ledger has, as this process left it: to look
/// that up for every call is a good part of what a run costs.
///
/// It is believed only under the call's lock, and only while coins_spent is what
/// our own commit left: whoever else charges the call changes that in the same
/// transaction. Should it be wrong all the same, the ledger's key refuses the
/// minute, and what is forgotten then is read from the ledger again. Worker
/// threads; several may use one memory.
class ChargeMemory {
 public:
  /// Fills in the charged minutes of those of the locked calls that are known.
  void recall(std::vector<billing::Call>& calls, Instant moment);

  /// After the commit.
  void remember(const std::vector<billing::Charged>& calls, Instant moment);

  void forget(const std::vector<int>& call_ids);

  /// Forgets, once a minute, what no run has used for ten.
  void sweep(Instant moment);

  [[nodiscard]] std::size_t size() const;

 private:
  struct Entry {
    Instant start_time;
    std::int64_t coins_spent;
    int minutes;
    Instant used_at;
  };

  mutable std::mutex mutex_;
  std::unordered_map<int, Entry> entries_;
  Instant swept_at_;
};

}  // namespace saathii::jobs
