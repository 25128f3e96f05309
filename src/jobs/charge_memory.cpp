#include "saathii/jobs/charge_memory.hpp"

namespace saathii::jobs {

namespace {

/// Some 60 MB.
constexpr std::size_t max_entries = 1'000'000;
constexpr std::chrono::minutes kept_unused{10};
constexpr std::chrono::minutes between_sweeps{1};

}  // namespace

void ChargeMemory::recall(std::vector<billing::Call>& calls, Instant moment) {
  const std::scoped_lock lock(mutex_);
  for (auto& call : calls) {
    const auto known = entries_.find(call.call_id);
    if (known != entries_.end() && known->second.start_time == call.start_time &&
        known->second.coins_spent == call.coins_spent) {
      call.charged_minutes = known->second.minutes;
      known->second.used_at = moment;
    }
  }
}

void ChargeMemory::remember(const std::vector<billing::Charged>& calls, Instant moment) {
  const std::scoped_lock lock(mutex_);
  for (const auto& call : calls) {
    if (call.minutes > 0 && (entries_.size() < max_entries || entries_.contains(call.call_id))) {
      entries_.insert_or_assign(
          call.call_id, Entry{call.start_time, call.coins_spent, call.paid_minutes, moment});
    }
  }
}

void ChargeMemory::forget(const std::vector<int>& call_ids) {
  const std::scoped_lock lock(mutex_);
  for (const int call_id : call_ids) {
    entries_.erase(call_id);
  }
}

void ChargeMemory::sweep(Instant moment) {
  const std::scoped_lock lock(mutex_);
  // A moment before the last is a clock that was set back: nothing is known of its ages.
  if (moment >= swept_at_ && moment - swept_at_ < between_sweeps) {
    return;
  }
  swept_at_ = moment;
  std::erase_if(entries_, [&](const auto& entry) {
    const Duration unused = moment - entry.second.used_at;
    return unused > kept_unused || unused < -kept_unused;
  });
}

std::size_t ChargeMemory::size() const {
  const std::scoped_lock lock(mutex_);
  return entries_.size();
}

}  // namespace saathii::jobs
