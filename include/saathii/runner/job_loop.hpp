#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "saathii/runner/bell.hpp"
#include "saathii/runner/clock.hpp"
#include "saathii/runner/job_view.hpp"
#include "saathii/runner/job_worker.hpp"
#include "saathii/runner/ledger_keeper.hpp"
#include "saathii/runner/observer.hpp"
#include "saathii/runner/types.hpp"

namespace saathii::runner {

/// What the jobs of one runner share; loop thread.
struct Shared {
  boost::asio::any_io_executor loop;
  WallClock& clock;
  LedgerKeeper& ledger;
  std::vector<Observer*> observers;
  Duration hard_limit_grace;
  std::function<void()> deposed;  ///< a run found that another instance leads
  std::string host;               ///< this instance's name, for the jobs of each host
  Leadership leadership;
  Bell idle;              ///< rung when a job's run or its loop ends
  bool stopping = false;  ///< no tick starts any more
};

/// One job's life: plan, write off, run what is due, wait; or stand by, while another
/// instance leads, and then take up the schedule where the run ledger says that the
/// others left it. Loop thread; only the work itself is on a worker.
class JobLoop {
 public:
  JobLoop(Shared& shared, JobSpec spec, std::optional<Pause> paused);

  /// Arms the schedule from now and asks for the past, unless it is to stand by.
  /// Before run().
  void arm();
  /// Until shared.stopping or retire().
  boost::asio::awaitable<void> run();

  /// Ends the wait in progress: shared.stopping was set.
  void stop() { timer_->poke(); }
  /// Asks the run in progress, if any, to stop, because of shutdown.
  void break_off();
  /// shared.leadership has changed.
  void leadership_changed();
  /// While it stands by: the leader offers a share of its work.
  void help_wanted();
  /// A server came up: a wait for it ends now.
  void server_up();
  /// Says in the log that the run in progress is not waited for any longer.
  void leave_behind() const;
  /// The run ledger has answered, or failed to.
  void ledger_spoke();

  /// From the next look on the job is what `spec` says, also if it was retired.
  void replace(JobSpec spec);
  /// The same after the loop had ended; run() it again.
  void revive(JobSpec spec);
  /// No tick starts any more; the run in progress goes on.
  void retire();
  /// Waits for the worker; only when no run is in progress.
  void join() { worker_.join(); }
  [[nodiscard]] bool retired() const noexcept { return retired_; }

  /// Returns whether anything changed.
  bool pause(const Pause& pause);
  bool resume();

  /// Runs now, or after the run in progress. Returns the run's id, or nothing if
  /// such a run is waiting already.
  std::optional<std::string> run_now(std::optional<Instant> at);

  [[nodiscard]] JobView view() const;
  /// What the run ledger calls it.
  [[nodiscard]] std::string name_in_ledger() const { return ledger_name(name(), ledger_host()); }
  /// Another instance leads, or it is not known who does, and the job is the leader's.
  [[nodiscard]] bool stands_by() const noexcept { return !is_ours(); }
  [[nodiscard]] const schedule::Trigger& trigger() const {
    return (replacement_ ? *replacement_ : spec_).job.trigger;
  }

  [[nodiscard]] const std::string& name() const noexcept { return spec_.job.name; }
  /// A worker is busy with the job.
  [[nodiscard]] bool running() const noexcept { return worker_.busy(); }
  [[nodiscard]] bool finished() const noexcept { return finished_; }

 private:
  enum class TickEnd { finished, gave_way, interrupted };
  enum class After { retry, next_tick, stopping };

  boost::asio::awaitable<TickEnd> run_tick(Request request, bool is_tick);
  boost::asio::awaitable<Result> run_attempt(const Work& what, const Request& request);
  boost::asio::awaitable<After> wait_to_retry(Duration pause, bool server_lost, Instant next_due);
  boost::asio::awaitable<void> stand_by();
  boost::asio::awaitable<void> help();
  boost::asio::awaitable<void> live();
  void ask_past(Instant now);
  void add_run_at_start(Instant now, schedule::Plan& plan);
  void join_past();
  void settle_at_exit();
  void account_for_start(const schedule::Planner& planner, const char* reason);
  [[nodiscard]] static std::vector<schedule::WrittenOff> take_newer_than_due(schedule::Plan& plan);
  void write_off(const std::vector<schedule::WrittenOff>& ticks, bool oldest);
  void finish(Record record, const Result& result, SteadyTime began);
  [[nodiscard]] JobWorker::Told told_of_worker();
  [[nodiscard]] static schedule::Planner planner_of(const config::Job& job);
  [[nodiscard]] Duration elapsed_since(SteadyTime began) const;
  [[nodiscard]] Instant next_due_after(Instant tick) const;
  boost::asio::awaitable<TickEnd> run_due(std::vector<Instant> due,
                                          std::vector<schedule::WrittenOff> newer);
  boost::asio::awaitable<TickEnd> try_until_done(Request request, Record& record, SteadyTime began);
  void skip_due(schedule::Plan& plan, std::vector<schedule::WrittenOff>& newer,
                const std::string& reason);
  void skip_rest();
  void drop_asked(const char* reason);
  void take_replacement(Instant now);
  [[nodiscard]] std::vector<schedule::WrittenOff> jittered(Instant now, const char* reason) const;
  void begin_afresh(Instant now);
  void remember(const Past& past);
  [[nodiscard]] std::optional<Instant> success_deadline(const config::Job& job) const;
  [[nodiscard]] std::optional<Instant> next_run(const config::Job& job) const;
  [[nodiscard]] std::string paused_reason() const { return "the job was paused by " + paused_->by; }
  [[nodiscard]] bool leaving() const noexcept { return shared_.stopping || retired_; }
  [[nodiscard]] bool is_led() const noexcept { return spec_.job.scope == config::Scope::leader; }
  /// Whether the job's ticks are this instance's.
  [[nodiscard]] bool is_ours() const noexcept { return !is_led() || shared_.leadership.leads; }
  /// The term under which the schedule was armed is over.
  [[nodiscard]] bool deposed() const noexcept {
    return is_led() && (!shared_.leadership.leads || shared_.leadership.term != term_);
  }
  /// No tick is begun any more, and what is unsettled is left to who comes next.
  [[nodiscard]] bool handing_over() const noexcept { return shared_.stopping || deposed(); }
  [[nodiscard]] std::int64_t present_term() const noexcept {
    return is_led() ? shared_.leadership.term : 0;
  }
  [[nodiscard]] std::string ledger_host() const { return is_led() ? std::string{} : shared_.host; }
  void tell_changed();

  template <typename Tell>
  void tell(Tell&& tell_one) {
    for (Observer* observer : shared_.observers) {
      tell_one(*observer);
    }
  }

  Shared& shared_;
  JobSpec spec_;
  schedule::Planner planner_;
  JobWorker worker_;
  std::unique_ptr<WallTimer> timer_;
  schedule::History history_;
  Instant armed_at_;
  std::int64_t term_ = 0;            ///< of leadership, when armed; 0: a job of each host
  std::uint64_t question_ = 0;       ///< the latest one for the past
  std::optional<Instant> asked_at_;  ///< while the past is asked for or not yet joined
  std::optional<Past> past_;         ///< answered, not yet joined
  bool resumed_ = false;             ///< the past before the start is accounted for
  bool finished_ = false;
  bool waiting_to_retry_ = false;
  bool server_up_ = false;
  bool help_wanted_ = false;
  bool start_pending_ = false;        ///< run_at_start, not yet done
  bool armed_after_verdict_ = false;  ///< the ledger's verdict is not about this job's past
  /// Before a reload changed the schedule, while the past before the start is not known.
  std::optional<schedule::Planner> planner_at_start_;
  std::optional<Request> asked_;        ///< a run that was asked for, until its turn
  std::optional<JobSpec> replacement_;  ///< until the next look
  bool retired_ = false;
  std::optional<Pause> paused_;
  std::optional<RunInProgress> run_;
  std::optional<Record> last_run_;
  std::optional<Instant> last_success_;
  Instant wanted_since_ = Instant::min();  ///< resumed, or given its schedule, then
};

}  // namespace saathii::runner
