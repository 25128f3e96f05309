#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace saathii::log {

/// Keeps one fault that repeats from flooding the log: the first time is
/// written, then each power of ten, and at the latest after an hour. A fault
/// that stays away for a while and returns is a new one. Memory is bounded:
/// beyond `max_keys` the one that was seen longest ago is forgotten. Not
/// locked: one thread at a time.
class Fold {
 public:
  using Time = std::chrono::steady_clock::time_point;

  static constexpr std::size_t max_keys = 256;
  static constexpr std::size_t max_key_bytes = 512;
  static constexpr std::chrono::seconds forgotten_after = std::chrono::minutes{10};
  static constexpr std::chrono::seconds written_again_after = std::chrono::hours{1};

  /// Counts one event. Returns how often it has come in a row if it is to be
  /// written (1: the first time), or 0 if it is not. Of the key only the first
  /// `max_key_bytes` count.
  [[nodiscard]] std::uint64_t count(std::string_view key, Time now);

  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

 private:
  struct Entry {
    std::uint64_t times = 0;
    std::uint64_t next_written = 1;  ///< the power of ten to come
    Time last_seen;
    Time last_written;
  };

  void forget_oldest();

  std::unordered_map<std::string, Entry> entries_;
};

}  // namespace saathii::log
