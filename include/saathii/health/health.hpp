#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "saathii/base/server_state.hpp"
#include "saathii/config/config.hpp"
#include "saathii/runner/job_view.hpp"

// Whether the daemon does what it is for: a pure judgement of what is known.

namespace saathii::health {

enum class Level {
  ok,
  degraded,  ///< something needs a look; the work goes on
  failing,   ///< work that is due is not done
};

/// "ok", "degraded", "failing".
[[nodiscard]] std::string_view to_string(Level level);

/// One thing that is wrong.
struct Finding {
  Level level = Level::ok;
  std::string check;    ///< what was looked at: "job coin_deduction", "postgres", "disk /var/log"
  std::string message;  ///< one sentence: what is wrong, since when; no secret in it
};

/// The folder, of a check of one's disk.
[[nodiscard]] std::optional<std::string_view> disk_of(std::string_view check);

struct Report {
  Level level = Level::ok;        ///< the worst of the findings
  std::vector<Finding> findings;  ///< worst first, then in the order of the checks
  Instant judged_at;
};

/// A folder's file system; `error` says why it is not known.
struct DiskSpace {
  std::string folder;
  std::uint64_t free_bytes = 0;  ///< for who is not root
  std::uint64_t size_bytes = 0;
  std::string error;
};

struct Server {
  std::string name;
  ServerState::Snapshot snapshot;
};

struct Facts {
  std::vector<runner::JobView> jobs;
  std::vector<Server> servers;
  std::vector<DiskSpace> disks;
  std::size_t outcomes_waiting = 0;  ///< for the database, to be written to the run ledger
  Duration outcomes_waiting_for{0};  ///< without any being written
  Instant now;
  TimeZone zone = nullptr;                       ///< for texts; none: UTC
  std::optional<Instant> leaderless_since = {};  ///< no instance is known to lead
};

[[nodiscard]] Report judge(const Facts& facts, const config::Health& limits);

}  // namespace saathii::health
