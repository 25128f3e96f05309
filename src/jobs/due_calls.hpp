#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "saathii/jobs/billing.hpp"

namespace saathii::jobs {

/// A caller's call. All calls of a caller stay in one batch, because they share
/// a wallet.
struct Due {
  int user_id;
  int call_id;
  int listener_id;
  int caller_waits;    ///< the caller's wait_time when the run began
  int listener_waits;  ///< the listener's
};
using Batch = std::span<const Due>;

/// Puts callers in an order in which a batch takes a few rows of every page of their
/// wallets, not all of few: what one batch leaves behind there is room for the next
/// one's new versions, which then need no entry in any index. Neighbours stay
/// together, because they share a cache line or two.
void scatter(std::vector<Due>& calls);

/// The longest prefix of `calls` that holds whole callers and at most `size`
/// calls, but one caller at least.
[[nodiscard]] std::size_t whole_callers(Batch calls, std::size_t size);

/// Of calls that scatter() has put in order: slice `number` of `slices`, which hold
/// the same callers whatever else is due.
[[nodiscard]] Batch slice_of(Batch calls, int number, int slices);

/// Leaves those callers' calls one of whose calls is among `call_ids`, sorted.
void keep_callers(std::vector<Due>& calls, const std::vector<int>& call_ids);

[[nodiscard]] std::vector<int> ids_of(Batch calls);

/// What the run has read of it: nearly always it is right, and nobody looks again.
[[nodiscard]] billing::WaitTimes wait_times_of(Batch calls);

}  // namespace saathii::jobs
