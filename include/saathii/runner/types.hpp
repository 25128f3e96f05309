#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "saathii/base/time.hpp"
#include "saathii/config/config.hpp"
#include "saathii/schedule/planner.hpp"

// Where the loop and the workers meet: what the runner hands to a worker, what
// it takes back, and where outcomes are kept. No SQL, no Asio.

namespace saathii::runner {

/// Which of the instances that serve one database leads: the jobs of which one run
/// is enough are its.
struct Leadership {
  bool leads = true;      ///< this instance does
  std::int64_t term = 0;  ///< grows with each takeover; 0: nobody is elected
  std::string leader;     ///< the instance's name; empty: none that is known
  std::optional<Instant> since;

  friend bool operator==(const Leadership&, const Leadership&) = default;
};

/// One try at one tick.
struct Request {
  std::string run_id;         ///< a random UUID; joins journal, ledger, D-Bus
  Instant scheduled_at;       ///< the tick
  int attempt = 1;            ///< from 1
  std::optional<Instant> at;  ///< run as if at this moment; else the database's now
  std::stop_token stop;       ///< time limit or shutdown: break off soon
  std::int64_t term = 0;      ///< of leadership, under which alone it may change anything; 0: any
};

using Counts = std::vector<std::pair<std::string, std::int64_t>>;

/// How one try ended.
struct Result {
  enum class Status {
    succeeded,
    failed,
    unavailable,  ///< a server is down: the same work may succeed later
    stopped,      ///< the stop token was obeyed
    deposed,      ///< another instance leads now, and does the work
  };
  Status status = Status::succeeded;
  std::string summary;  ///< for people: "312 calls charged, 3120 coins", or the error
  Counts counts;        ///< in the job's order
};

/// A job's work: ordinary blocking code, called on a worker thread, never
/// twice at once for one job. Does not throw.
using Work = std::function<Result(const Request&)>;

struct JobSpec {
  config::Job job;
  Work work;
};

/// The final outcome of a tick, or of a range of ticks that ended without a run.
struct Record {
  std::string job;
  std::string run_id;  ///< empty for ticks that never ran
  Instant scheduled_at;
  Instant last_scheduled_at;  ///< equal to scheduled_at unless a range
  std::int64_t ticks = 1;     ///< 0: a run that was asked for, which is no tick of the schedule
  schedule::Outcome outcome = schedule::Outcome::succeeded;
  std::string reason;  ///< one sentence: why, or what a run that succeeded did
  std::optional<Instant> started_at;
  std::optional<Instant> finished_at;
  int attempts = 0;
  Counts counts;
  std::optional<Instant> as_of = {};  ///< it ran as if at this moment, which settles nothing of now
  std::int64_t term = 0;  ///< of leadership; not written once it is over. 0: a job of each host
  std::string host = {};  ///< of such a job, the instance that ran it
};

/// By this name the run ledger keeps a job: those of each host apart.
[[nodiscard]] inline std::string ledger_name(const std::string& job, const std::string& host) {
  return host.empty() ? job : job + "@" + host;
}

/// What the run ledger knows of a job's past.
struct Past {
  std::optional<Instant> last_tick;     ///< the latest recorded tick at or before `now`
  std::vector<Instant> offered_ahead;   ///< ticks after `now` that were offered (not written off),
                                        ///< ascending, at most 1000
  std::optional<Record> last_run = {};  ///< the latest that ran, whatever came of it
  std::optional<Instant> last_success = {};  ///< when the latest that succeeded, as of its own
                                             ///< moment, had finished
};

/// The run ledger. Its calls block and are made on a worker thread that no job
/// uses, one at a time; they throw Unavailable when the database is down.
class RunLedger {
 public:
  virtual ~RunLedger() = default;
  /// `job` as ledger_name() has it.
  [[nodiscard]] virtual Past past(const std::string& job, Instant now) = 0;
  /// Records all or nothing, but for those whose term of leadership is over: their
  /// ticks are accounted for by who leads now. A tick that already has an outcome keeps it, but
  /// one that was written off (coalesced, missed) gives way to a run's outcome.
  /// What is no fault of these records is Unavailable: they are worth another try.
  virtual void record(const std::vector<Record>& records) = 0;
  /// Removes what is older than the configured ages, a bounded number of rows
  /// at a time. Returns true if more is left.
  [[nodiscard]] virtual bool prune() = 0;
  /// Makes a call in progress end soon, as Unavailable; later calls work again.
  /// The only one that another thread may make; does not block.
  virtual void interrupt() noexcept {}
};

}  // namespace saathii::runner
