#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "saathii/base/signal_block.hpp"
#include "saathii/runner/clock.hpp"
#include "saathii/runner/job_loop.hpp"
#include "saathii/runner/ledger_keeper.hpp"
#include "saathii/runner/observer.hpp"
#include "saathii/runner/side_worker.hpp"
#include "saathii/runner/types.hpp"

namespace saathii::runner {

struct Options {
  /// A run that is not back so long after it was told to stop is wedged.
  Duration hard_limit_grace = std::chrono::seconds{30};
  Duration drain_timeout = std::chrono::seconds{20};  ///< for running jobs at shutdown
  Duration stop_grace = std::chrono::seconds{10};     ///< after that, told to stop
  Duration flush_timeout = std::chrono::seconds{5};   ///< for the last outcomes
  Duration heartbeat{0};                              ///< between Observer::heartbeat(); 0: never
  LedgerOptions ledger;
  std::map<std::string, Pause> paused = {};  ///< jobs that are paused from the start
  Leadership leadership = {};                ///< until set_leadership()
  std::string instance = "localhost";        ///< the name of this instance
  /// Called on the loop when a run found that another instance leads.
  std::function<void()> deposed = [] {};
};

/// After so long run() has returned since it was told to stop.
[[nodiscard]] Duration longest_stop(const Options& options);

/// How the daemon ended.
struct Ending {
  int exit_code = 0;
  /// A worker never came back: destroying the runner would wait for it for
  /// ever, so leave the program by _exit().
  bool stuck = false;
};

/// A request about a job that cannot be met: what() says why and what to do.
class JobError : public std::runtime_error {
 public:
  enum class Why {
    unknown_job,
    busy,      ///< a run that was asked for is still waiting for its turn
    stopping,  ///< the daemon is shutting down
    standby,   ///< another instance leads
  };
  JobError(Why why, const std::string& what) : std::runtime_error(what), why_(why) {}
  [[nodiscard]] Why why() const noexcept { return why_; }

 private:
  Why why_;
};

/// The one loop, and the workers it hands ticks to.
class Runner {
 public:
  /// References and observers outlive the runner.
  Runner(Options options, std::vector<JobSpec> jobs, RunLedger& ledger, WallClock& clock,
         std::vector<Observer*> observers);
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  /// Runs the loop on this thread until SIGTERM, SIGINT or stop(), drains, and
  /// returns. Call once.
  Ending run();

  /// As SIGTERM does: the first time drains, the second breaks off what still
  /// runs, the third gives up waiting. Any thread, also before run().
  void stop();

  /// A server's state changed; `up`: it answers now. Any thread.
  void server_changed(bool up);

  /// Who leads now. Jobs that are the leader's are taken up, or left to it. Any thread.
  void set_leadership(Leadership now);

  /// The leader offers a share of its work. Any thread.
  void help_wanted();

  // What faces ask for: loop thread, or before run().

  [[nodiscard]] const Leadership& leadership() const noexcept { return shared_.leadership; }
  [[nodiscard]] const std::string& instance() const noexcept { return shared_.host; }

  /// Observers are told in the order in which they were added.
  void add_observer(Observer& observer) { shared_.observers.push_back(&observer); }
  [[nodiscard]] boost::asio::any_io_executor loop() { return loop_.get_executor(); }
  [[nodiscard]] WallClock& clock() noexcept { return shared_.clock; }
  /// Called on the loop for each SIGHUP. Before run().
  void on_hangup(std::function<void()> callback) { hangup_ = std::move(callback); }

  /// The jobs in the order of the configuration.
  [[nodiscard]] std::vector<JobView> jobs() const;
  /// Throws JobError.
  [[nodiscard]] JobView job(const std::string& name) const;
  /// What the run ledger calls this instance's job; a job that is not known, by its name.
  [[nodiscard]] std::string name_in_ledger(const std::string& name) const;
  /// To be asked on a worker: many ticks may take long. Throws JobError.
  [[nodiscard]] schedule::Trigger trigger(const std::string& name) const;

  /// Runs the job now, or right after its run in progress, also if it is paused;
  /// as if at the moment `at`. Returns the run's id. Throws JobError.
  std::string run_now(const std::string& name, std::optional<Instant> at, const std::string& by);

  /// Its ticks end as skipped until it is resumed; a run in progress goes on.
  /// Returns whether anything changed. Throws JobError.
  bool pause(const std::string& name, const Pause& pause);
  bool resume(const std::string& name, const std::string& by);

  /// The jobs of a new configuration. Runs in progress finish as they began; no
  /// tick is lost or doubled. `unchanged` names jobs that go on as they are.
  /// Throws JobError while shutting down, std::system_error where a thread or a
  /// timer cannot be had; then nothing has changed.
  void replace_jobs(std::vector<JobSpec> jobs, const std::set<std::string>& unchanged);

  /// A worker for blocking work that is not a job's; lives as long as the runner.
  [[nodiscard]] SideWorker& add_side_worker(std::size_t queue_limit);

  /// Tells the observers; each begin is followed by an end.
  void begin_reload();
  void end_reload();

  /// How late the last heartbeat was.
  [[nodiscard]] Duration loop_lag() const noexcept { return loop_lag_; }
  /// Outcomes that wait for the database.
  [[nodiscard]] std::size_t outcomes_waiting() const noexcept { return ledger_.waiting(); }
  /// How long without any being written; 0: none waits.
  [[nodiscard]] Duration outcomes_waiting_for() const { return ledger_.waiting_for(); }

 private:
  void on_stop();
  void refuse(const std::string& reason);
  void lead(const Leadership& now);
  void on_deposed();
  void tell_armed();
  void await_signal();
  boost::asio::awaitable<void> beat();
  boost::asio::awaitable<void> drain();
  boost::asio::awaitable<bool> wait_for_jobs(Duration limit, int patience);
  boost::asio::awaitable<void> flush_ledger();
  boost::asio::awaitable<void> end_side_work();
  void let_go();
  [[nodiscard]] std::vector<std::string> running_jobs() const;
  [[nodiscard]] bool all_finished() const;
  void spawn(boost::asio::awaitable<void> task);
  [[nodiscard]] std::vector<std::string> job_names() const;
  [[nodiscard]] JobLoop& find(const std::string& name) const;
  [[nodiscard]] std::unique_ptr<JobLoop> make_job(JobSpec spec);
  [[nodiscard]] std::map<std::string, std::unique_ptr<JobLoop>> make_unknown_jobs(
      const std::vector<JobSpec>& jobs);
  void refuse_while_stopping() const;

  const Options options_;
  boost::asio::io_context loop_;
  SignalBlock signal_block_;
  LedgerKeeper ledger_;
  Shared shared_;
  std::vector<std::unique_ptr<JobLoop>> jobs_;  ///< in the configuration's order; then retired ones
  std::vector<std::unique_ptr<SideWorker>> side_workers_;
  std::function<void()> hangup_;
  boost::asio::signal_set signals_;
  boost::asio::steady_timer heart_;
  boost::asio::steady_timer ready_limit_;
  bool armed_ = false;
  Duration loop_lag_{0};
  int stops_ = 0;
  bool ended_ = false;  ///< nothing is armed anew
  Ending ending_;
};

}  // namespace saathii::runner
