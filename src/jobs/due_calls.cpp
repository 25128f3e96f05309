#include "due_calls.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <set>
#include <tuple>

namespace saathii::jobs {

namespace {

std::uint32_t place_of(const Due& due) {
  return (static_cast<std::uint32_t>(due.user_id) >> 4U) * 2654435769U;
}

}  // namespace

void scatter(std::vector<Due>& calls) {
  std::ranges::sort(calls, {}, [](const Due& due) {
    return std::tuple(place_of(due), due.user_id, due.call_id);
  });
}

std::size_t whole_callers(Batch calls, std::size_t size) {
  std::size_t end = std::max<std::size_t>(size, 1);
  if (calls.size() <= end) {
    return calls.size();
  }
  while (end > 0 && calls[end - 1].user_id == calls[end].user_id) {
    --end;
  }
  if (end == 0) {
    const int first = calls.front().user_id;
    while (end < calls.size() && calls[end].user_id == first) {
      ++end;
    }
  }
  return end;
}

Batch slice_of(Batch calls, int number, int slices) {
  const auto begins_at = [&](std::int64_t each) {
    const auto first = (each << 32U) / slices;
    return std::ranges::lower_bound(
        calls, first, {}, [](const Due& due) { return static_cast<std::int64_t>(place_of(due)); });
  };
  return {begins_at(number), begins_at(std::int64_t{number} + 1)};
}

void keep_callers(std::vector<Due>& calls, const std::vector<int>& call_ids) {
  std::set<int> callers;
  for (const auto& due : calls) {
    if (std::ranges::binary_search(call_ids, due.call_id)) {
      callers.insert(due.user_id);
    }
  }
  std::erase_if(calls, [&](const Due& due) { return !callers.contains(due.user_id); });
}

std::vector<int> ids_of(Batch calls) {
  std::vector<int> ids;
  ids.reserve(calls.size());
  std::ranges::transform(calls, std::back_inserter(ids), &Due::call_id);
  return ids;
}

billing::WaitTimes wait_times_of(Batch calls) {
  billing::WaitTimes known;
  known.reserve(calls.size() * 2);
  for (const auto& due : calls) {
    known[due.user_id] = due.caller_waits;
    known[due.listener_id] = due.listener_waits;
  }
  return known;
}

}  // namespace saathii::jobs
