#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace saathii::test {

/// Only ends a test that would otherwise hang.
inline constexpr auto patience = std::chrono::seconds{60};

/// A value that threads change and wait for.
template <typename T>
class Watched {
 public:
  template <typename Change>
  void change(Change&& apply) {
    {
      const std::scoped_lock lock(mutex_);
      apply(value_);
    }
    changed_.notify_all();
  }
  template <typename Condition>
  [[nodiscard]] bool wait(Condition&& holds) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, [&] { return holds(value_); });
  }
  [[nodiscard]] T get() const {
    const std::scoped_lock lock(mutex_);
    return value_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  T value_{};
};

}  // namespace saathii::test
