#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "saathii/base/time.hpp"

// What the daemon tells over the bus, as plain values: what is 0 or "" there for
// "none" is empty here. Texts hold no control characters but line feeds.

namespace saathii::ctl {

using Moment = std::optional<Instant>;
using Counts = std::vector<std::pair<std::string, std::int64_t>>;

struct Finding {
  std::string level;  ///< "degraded", "failing"
  std::string check;
  std::string message;
};

struct Health {
  std::string level;  ///< "ok", "degraded", "failing"
  std::vector<Finding> findings;
};

struct Server {
  std::string name;
  std::string state;  ///< "unknown", "up", "down"
  Moment since;
  std::string last_error;
};

struct Job {
  std::string name;
  std::string kind;
  std::string schedule;
  std::string time_zone;
  std::string state;  ///< "waiting", "running", "retrying", "standby", "stuck"
  bool paused = false;
  std::string paused_by;
  Moment paused_since;
  Moment next_run;
  std::string run_id;  ///< of the run in progress
  Moment run_scheduled_at;
  Moment run_started_at;
  std::uint32_t run_attempt = 0;
  std::string last_run_id;
  std::string last_outcome;  ///< empty: none is known
  std::string last_reason;
  Moment last_scheduled_at;
  Moment last_started_at;
  Moment last_finished_at;
  std::uint32_t last_attempts = 0;
  Counts last_counts;
  Moment last_success;
  Duration timeout{0};
  Moment success_deadline;
};

/// Which of the instances that serve one database leads.
struct Leadership {
  bool leads = true;
  std::string instance = {};  ///< this one's name
  std::uint64_t term = 0;
  std::string leader = {};  ///< empty: none is known
  Moment since = {};
};

/// The daemon as a whole.
struct Manager {
  std::string version;
  Moment started_at;
  std::string config_file;
  std::string time_zone;
  std::string log_level;
  std::vector<Server> servers;
  Leadership leadership;
  std::uint64_t outcomes_waiting = 0;
};

struct Overview {
  Manager manager;
  Health health;
  std::vector<Job> jobs;
};

/// A line of the run ledger.
struct Run {
  std::string job;
  std::string run_id;
  Instant scheduled_at;
  Instant last_scheduled_at;
  std::int64_t ticks = 1;
  std::string outcome;
  std::string reason;
  Moment started_at;
  Moment finished_at;
  std::uint32_t attempts = 0;
  Counts counts;
};

/// How a run that was waited for ended.
struct Ending {
  std::string job;
  std::string run_id;
  std::string outcome;
  std::string reason;
  Counts counts;
  Duration busy{0};
};

struct Reloaded {
  std::vector<std::string> applied;
  std::vector<std::string> needs_restart;
  std::uint32_t unchanged = 0;
};

struct Calendar {
  std::string job;
  std::string zone;
  std::vector<Instant> ticks;
};

/// A tick to come, of any job.
struct Tick {
  Instant scheduled_at;
  std::string job;
  std::string zone;  ///< of its schedule
  bool paused = false;
};

struct Minute {
  std::int32_t number = 0;
  Instant starts_at;
  std::int64_t coins = 0;
  std::string source;  ///< "api", "saathiid", "waived"
  Moment charged_at;
  std::optional<std::int64_t> balance_before;
  std::optional<std::int64_t> balance_after;
  Moment refunded_at;
};

struct Settlement {
  std::string reason;
  Moment end_time;
  std::int32_t minutes = 0;
  std::int64_t coins = 0;
  std::string earned;  ///< rupees
  Moment settled_at;
};

struct Receipt {
  std::int64_t call_id = 0;
  std::int64_t user_id = 0;
  std::int64_t listener_id = 0;
  std::string call_type;
  std::string status;
  Moment start_time;
  Moment end_time;
  std::int64_t coins_spent = 0;
  std::vector<Minute> minutes;
  std::optional<Settlement> settlement;
};

struct WalletEntry {
  Moment at;
  std::string type;
  std::int64_t coins = 0;
  std::string money;
};

struct Wallet {
  std::uint64_t user_id = 0;
  std::int64_t balance_coins = 0;
  std::string withdrawable_money;
  std::vector<std::int64_t> ongoing_calls;
  std::vector<WalletEntry> entries;
};

}  // namespace saathii::ctl
