#pragma once

#include <sys/types.h>

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "saathii/base/time.hpp"
#include "saathii/config/changes.hpp"
#include "saathii/health/monitor.hpp"
#include "saathii/log/log.hpp"
#include "saathii/postgres/inquiry.hpp"
#include "saathii/runner/observer.hpp"
#include "saathii/runner/runner.hpp"
#include "saathii/runner/side_worker.hpp"

namespace saathii::control {

/// Questions to the ledgers, as in postgres/inquiry.hpp. Asked on the side worker.
struct Inquiries {
  std::function<std::vector<runner::Record>(const postgres::HistoryQuery&, const std::stop_token&)>
      history;
  std::function<std::optional<postgres::Receipt>(std::int64_t call_id, const std::stop_token&)>
      receipt;
  std::function<std::optional<postgres::Wallet>(std::int64_t user_id, std::size_t entries,
                                                const std::stop_token&)>
      wallet;
};

/// What the face asks of the daemon; all of it outlives the face. Loop thread.
struct Desk {
  runner::Runner& runner;
  health::Monitor& health;
  runner::SideWorker& dialler;  ///< connects to the bus
  /// Answers inquiries. Anybody may fill its queue, so nothing else waits there.
  runner::SideWorker& worker;
  Inquiries inquiries;
  /// Reads the configuration anew; returns when it is in force, or refused.
  std::function<boost::asio::awaitable<config::Reloaded>()> reload;
  std::function<void(log::Level)> set_log_level;
  /// Keeps which jobs are paused, for the next start.
  std::function<boost::asio::awaitable<void>()> save_pauses;
  std::function<std::string()> log_level;  ///< "info"
  std::function<std::string()> time_zone;  ///< of the business day
  std::string version;
  std::string config_file;
  Instant started_at;
};

struct Options {
  std::string bus = "system";  ///< "system", "session", "none", or a D-Bus address
  /// Between tries to connect: doubled from the first up to the cap.
  Duration retry = std::chrono::seconds{1};
  Duration retry_cap = std::chrono::minutes{1};
  /// Between tries to get a name that another process has.
  Duration name_retry = std::chrono::seconds{30};
  Duration bus_timeout = std::chrono::seconds{5};  ///< for the bus itself to answer
  Duration polkit_timeout = std::chrono::seconds{10};
  Duration password_timeout = std::chrono::minutes{2};  ///< while polkit asks a person for it
  /// Calls that wait for their answer: of all users whom nobody trusts together,
  /// and of each who is trusted.
  std::size_t max_open_calls = 64;
  std::size_t max_open_calls_each = 8;  ///< of one user whom nobody trusts
  /// Who may do everything without polkit; empty: root and the daemon's own user.
  std::optional<std::vector<uid_t>> trusted = {};
};

/// The daemon on D-Bus, as deploy/dbus/com.saathiiapp.Tasks1.xml describes it:
/// an object for the manager and one for each job. Without a bus it tries again
/// now and then, and nothing else is the worse for it. Never blocks the loop.
/// Add it to the runner's observers before run(); destroy it before the runner,
/// after run(). Loop thread.
class Face final : public runner::Observer {
 public:
  Face(Desk desk, Options options);
  ~Face() override;

  void armed(std::size_t jobs) override;
  void run_started(const std::string& job, const runner::RunInProgress& run) override;
  void tick_ended(const runner::Record& record, Duration busy) override;
  void wedged(const std::string& job) override;
  void released(const std::string& job) override;
  void job_changed(const std::string& job) override;
  void jobs_changed(const std::vector<std::string>& jobs) override;
  void server_changed() override;
  void reloaded() override;
  void heartbeat() override;
  void ending() override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace saathii::control
