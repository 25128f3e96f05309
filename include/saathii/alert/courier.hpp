#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>

#include "saathii/alert/channel.hpp"
#include "saathii/runner/backoff.hpp"

namespace saathii::alert {

struct CourierOptions {
  std::size_t queue_limit = 64;
  Duration backoff = std::chrono::seconds{5};
  Duration backoff_cap = std::chrono::minutes{5};
  Duration give_up_after = std::chrono::hours{1};
};

/// How a channel fares, since the start.
struct ChannelCounts {
  std::uint64_t delivered = 0;
  std::uint64_t given_up = 0;  ///< after its tries, or at shutdown
  std::uint64_t dropped = 0;   ///< because too many waited
  std::uint64_t tries_failed = 0;
  std::size_t waiting = 0;
};

/// A server that asks for more patience than this is asked earlier all the same.
inline constexpr Duration longest_wait = std::chrono::minutes{15};

/// How long to wait after a try that failed.
[[nodiscard]] Duration pause_after(const Verdict& verdict, Duration backoff);

/// Delivers through one channel, in order, with a thread and a bounded queue of
/// its own, so that one that is dead holds up nobody else. A letter that cannot
/// be delivered is tried again with growing pauses until it is `give_up_after`
/// old; where that is the letter's own trouble, others overtake it, but no later
/// message of the same alert. What becomes of each is logged. A recovery is not
/// sent if the opening reached nobody. But for finish(), nothing blocks.
class Courier {
 public:
  Courier(std::string name, CourierOptions options);
  /// As finish() without a grace.
  ~Courier();
  Courier(const Courier&) = delete;
  Courier& operator=(const Courier&) = delete;

  /// From now on deliver through this one; nullptr: not at all, and what waits
  /// is dropped. What is being delivered is broken off and tried again, unless
  /// it is the channel that is in use already.
  void use(std::shared_ptr<Channel> channel, Duration give_up_after);
  /// Takes a letter, if there is a channel.
  void post(std::shared_ptr<const Letter> letter);
  /// No letter comes any more: those that wait are tried once more, until the
  /// deadline.
  void begin_finish(std::chrono::steady_clock::time_point deadline);
  /// Waits for that; what is left is logged as not sent.
  void finish();

  [[nodiscard]] ChannelCounts counts() const;
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

 private:
  using Steady = std::chrono::steady_clock::time_point;
  struct Entry {
    Delivery delivery;
    std::uint64_t number = 0;  ///< in the order in which they were posted
    Steady posted;
    Steady next_try;  ///< not before, for its own sake
    runner::Backoff backoff;
  };
  using Queue = std::deque<Entry>;

  void work();
  [[nodiscard]] Queue::iterator find_next();
  void attempt(std::unique_lock<std::mutex>& lock, const Queue::iterator& next);
  void settle(Entry entry, const Verdict& verdict);
  void succeeded(const Entry& entry, const Verdict& verdict);
  void put_off(Entry entry, const Verdict& verdict);
  void put_back(Entry entry);
  [[nodiscard]] bool is_opening_waiting(const std::string& alert) const;
  [[nodiscard]] std::set<std::string> find_untold_and_over() const;
  void make_room();
  void supersede(const Letter& letter);
  [[nodiscard]] bool is_overtaken(const Entry& entry) const;
  [[nodiscard]] bool is_pointless(const Message& message);
  void remember_undelivered(const Delivery& delivery);
  void lose(const Entry& entry, const std::string& why);

  const std::string name_;
  CourierOptions options_;
  mutable std::mutex mutex_;  ///< of what follows
  std::condition_variable changed_;
  std::shared_ptr<Channel> channel_;
  Queue queue_;  ///< by their numbers
  std::uint64_t posted_ = 0;
  std::stop_source stop_;           ///< of the try in progress
  std::optional<Steady> next_try_;  ///< of any: the server is down, or asks for patience
  runner::Backoff backoff_;
  std::set<std::string> undelivered_;  ///< alerts whose opening reached nobody
  ChannelCounts counts_;
  std::uint64_t dropped_now_ = 0;         ///< since the queue was empty
  std::shared_ptr<const Letter> trying_;  ///< the one that is not in the queue now
  std::optional<Steady> deadline_;        ///< once it is to finish
  std::thread thread_;
};

}  // namespace saathii::alert
