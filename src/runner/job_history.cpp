#include "saathii/runner/job_history.hpp"

namespace saathii::runner {

schedule::History join_histories(const Past& past, Instant armed_at,
                                 const schedule::History& present,
                                 const schedule::Trigger& trigger) {
  schedule::History joined =
      schedule::resume(past.last_tick, past.offered_ahead, trigger, armed_at);
  for (const auto& span : present.offered.spans) {
    joined.offer(span, trigger);
  }
  const auto first = trigger.next_after(armed_at);
  const auto last = trigger.latest_at(present.cursor);
  if (first && last && *first <= *last) {
    joined.offer({*first, *last}, trigger);
  }
  return joined;
}

schedule::History join_earlier(const Past& past, Instant asked_at, schedule::History present,
                               const schedule::Trigger& trigger) {
  const auto earlier = schedule::resume(past.last_tick, past.offered_ahead, trigger, asked_at);
  for (const auto& span : earlier.offered.spans) {
    present.offer(span, trigger);
  }
  present.known_from = earlier.known_from;
  return present;
}

std::uint64_t jitter_seed(std::string_view job) {
  std::uint64_t hash = 14695981039346656037U;  // FNV-1a
  for (const char letter : job) {
    hash = (hash ^ static_cast<unsigned char>(letter)) * 1099511628211U;
  }
  return hash;
}

}  // namespace saathii::runner
