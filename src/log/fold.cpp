#include "saathii/log/fold.hpp"

#include <algorithm>
#include <limits>

namespace saathii::log {

std::uint64_t Fold::count(std::string_view key, Time now) {
  const std::string name(key.substr(0, max_key_bytes));
  auto found = entries_.find(name);
  if (found == entries_.end()) {
    if (entries_.size() >= max_keys) {
      forget_oldest();
    }
    found = entries_.emplace(name, Entry{}).first;
  } else if (now - found->second.last_seen > forgotten_after) {
    found->second = Entry{};
  }
  Entry& entry = found->second;
  entry.last_seen = now;
  ++entry.times;
  const bool power_of_ten = entry.times >= entry.next_written;
  if (!power_of_ten && now - entry.last_written < written_again_after) {
    return 0;
  }
  if (power_of_ten) {
    constexpr auto top = std::numeric_limits<std::uint64_t>::max();
    entry.next_written = entry.next_written > top / 10 ? top : entry.next_written * 10;
  }
  entry.last_written = now;
  return entry.times;
}

void Fold::forget_oldest() {
  const auto oldest = std::min_element(
      entries_.begin(), entries_.end(),
      [](const auto& a, const auto& b) { return a.second.last_seen < b.second.last_seen; });
  entries_.erase(oldest);
}

}  // namespace saathii::log
