#pragma once

#include <algorithm>
#include <random>

#include "saathii/base/time.hpp"

namespace saathii::runner {

/// Waits that double from `first` up to `cap`, each shortened by up to half at
/// random, so that many daemons do not come back to a server all at once.
class Backoff {
 public:
  Backoff(Duration first, Duration cap)
      : first_(std::max(first, Duration{std::chrono::milliseconds{1}})),
        cap_(std::max(cap, first_)),
        current_(first_) {}

  [[nodiscard]] Duration next() {
    const Duration whole = current_;
    current_ = std::min(cap_, current_ * 2);
    thread_local std::minstd_rand random{std::random_device{}()};
    std::uniform_int_distribution<std::int64_t> part_us{whole.count() - whole.count() / 2,
                                                        whole.count()};
    return Duration{part_us(random)};
  }

  void reset() { current_ = first_; }

 private:
  Duration first_;
  Duration cap_;
  Duration current_;
};

}  // namespace saathii::runner
