#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "saathii/health/health.hpp"
#include "saathii/runner/job_view.hpp"

// What the pages tell: looked at when somebody asks.

namespace saathii::http {

/// Something that waits in a bounded line.
struct Queue {
  std::string name;  ///< lower_case: a label
  std::size_t length = 0;
  std::size_t limit = 0;
};

/// The queue of outcomes that wait to be written to the run ledger.
inline constexpr const char* outcomes_queue = "outcomes";

/// PostgreSQL sessions.
struct Sessions {
  std::int64_t idle = 0;
  std::int64_t leased = 0;   ///< at work, or just being opened
  std::int64_t waiting = 0;  ///< workers that wait for one
  std::int64_t limit = 0;
};

/// How one way that alerts go fares, since the start.
struct AlertChannel {
  std::string name;  ///< lower_case: a label
  std::uint64_t delivered = 0;
  std::uint64_t lost = 0;  ///< given up, or dropped because too many waited
  std::uint64_t tries_failed = 0;
  std::size_t waiting = 0;
};

/// All of the daemon that is seen from outside, at one moment. No secret in it.
struct Sample {
  std::string version;
  Instant started_at;
  runner::Leadership leadership;
  std::vector<runner::JobView> jobs;
  health::Report health;
  std::vector<health::Server> servers;
  std::vector<health::DiskSpace> disks;
  std::vector<Queue> queues;
  Sessions sessions;
  std::vector<AlertChannel> alert_channels;
  std::size_t alerts_open = 0;
  Duration loop_lag{0};
};

/// Loop thread; does not block.
using Look = std::function<Sample()>;

}  // namespace saathii::http
