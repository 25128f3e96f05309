#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "saathii/alert/message.hpp"
#include "saathii/config/config.hpp"
#include "saathii/health/health.hpp"
#include "saathii/runner/job_view.hpp"

namespace saathii::alert {

/// A moment for people, and one for lengths of time, which nobody can set.
struct Time {
  Instant wall;
  std::chrono::steady_clock::time_point steady;
};

/// An alert whose opening was sent and whose recovery was not: what has to outlast
/// a restart. No reason in it: that may hold what is not for a file.
struct Told {
  std::string subject;
  Kind kind = Kind::failed;
  std::string id;
  Instant since;
  friend bool operator==(const Told&, const Told&) = default;
};

/// Which alerts open, are sent again and are over. No I/O and no clock of its
/// own; memory is bounded. Tell it what happens, then look().
///
/// A success ends failed, missed and long_running of its job. That a job is
/// unhealthy is not told while another alert about it is open. A message is held
/// back while more than `max_per_hour` were sent within an hour, and an opening
/// while the last one of the same alert is younger than `min_gap`; it is sent
/// later if it still holds then. A recovery is sent if the opening was.
class Rules {
 public:
  static constexpr std::size_t max_alerts = 256;
  /// So long after the start health knows all that it looks at.
  static constexpr Duration settling = std::chrono::minutes{2};

  explicit Rules(config::Alerts settings) : settings_(std::move(settings)) {}

  /// Alerts that are no longer wanted are forgotten.
  void configure(config::Alerts settings);

  /// `limit`: it is long-running after so long; 0: never.
  void run_started(const std::string& job, const runner::RunInProgress& run, Duration limit,
                   Time now);
  void tick_ended(const runner::Record& record, Time now);
  void handed_over(const std::string& job) { runs_.erase(job); }
  /// What is wrong with the job's ticks is another instance's to tell from now on.
  void standing_by(const std::string& job, Time now);
  void wedged(const std::string& job, Time now);
  void released(const std::string& job, Time now);
  /// The report counts until the next one: it is judged anew at each look.
  void health_changed(const health::Report& report, Time now);
  /// What the daemon had told before this start. What was stuck no longer is.
  void restore(const std::vector<Told>& told, Time now);
  /// Health begins to judge.
  void armed(Time now) { armed_ = now.steady; }
  /// The latest run that ended before this start. If it failed, the alert about
  /// it is taken to have been sent, so that its recovery will be; a further
  /// failure opens it anew.
  void remember(const runner::Record& last_run, Time now);
  /// There are no other jobs any more.
  void keep_jobs(const std::vector<std::string>& jobs, Time now);

  /// What is to be sent now, the most important first. Call it after each event
  /// and every few seconds.
  [[nodiscard]] std::vector<Message> look(Time now);

  /// What restore() needs after the next start. At most max_alerts.
  [[nodiscard]] std::vector<Told> told() const;
  /// Alerts that are open.
  [[nodiscard]] std::size_t open() const;
  [[nodiscard]] std::size_t size() const noexcept { return alerts_.size(); }

 private:
  using Steady = std::chrono::steady_clock::time_point;
  struct Key {
    std::string subject;
    Kind kind;
    // clang-tidy 14 finds a null pointer in what this is made of.
    auto operator<=>(const Key&) const = default;  // NOLINT(modernize-use-nullptr)
  };
  /// What is known of the latest time that it happened.
  struct Detail {
    Instant at;
    std::string reason;
    std::optional<schedule::Outcome> outcome = {};
    std::string run_id = {};
    std::optional<Instant> scheduled_at = {};
    Duration limit{0};
  };
  struct Alert {
    std::string id;
    bool open = false;
    bool told = false;    ///< the opening was sent, the recovery was not
    bool before = false;  ///< told by the daemon before this start, as far as we know
    bool held = false;    ///< the rate holds a message back
    Instant since;
    std::uint64_t times = 0;
    std::uint64_t times_new = 0;
    std::uint64_t flaps = 0;
    std::uint64_t messages = 0;
    Detail detail;
    std::optional<Steady> opened;     ///< when the last opening was sent
    std::optional<Steady> last_sent;  ///< the last opening or repetition
  };
  struct Run {
    std::string run_id;
    Instant scheduled_at;
    Instant started_at;
    Steady began;
    Duration limit;
  };
  struct Candidate {
    Message message;
    std::vector<Key> keys;
  };

  [[nodiscard]] bool wants(std::string_view word) const;
  [[nodiscard]] bool wants(const Key& key) const;
  [[nodiscard]] bool is_known_to_suffer(const std::string& job) const;
  void happened(const Key& key, std::uint64_t times, Detail detail, Time now);
  void over(const Key& key, const Detail& detail);
  void judge_health(Time now, bool is_news);
  [[nodiscard]] bool is_failing(const std::string& check) const;
  void find_long_running(Time now);
  [[nodiscard]] std::vector<Candidate> openings(Time now);
  [[nodiscard]] std::vector<Candidate> recoveries();
  [[nodiscard]] std::vector<Candidate> repetitions(Time now);
  [[nodiscard]] static Message describe(Message::Event event, const Key& key, const Alert& alert);
  void mark_sent(const Candidate& candidate, Time now);
  void hold(const std::vector<Candidate>& candidates, Time now, std::vector<Message>& out);
  void remember_untold(const Key& key);
  void forget_closed(Time now);

  config::Alerts settings_;
  std::map<Key, Alert> alerts_;
  std::map<std::string, Run> runs_;  ///< in progress, not yet known to be long
  std::deque<Steady> sent_;          ///< of the last hour
  health::Report report_;            ///< the latest
  std::optional<Steady> armed_;      ///< since when health judges
  std::optional<Steady> noticed_;    ///< when it was told that alerts are held back
  std::uint64_t untold_ = 0;         ///< held back and over since that was told
  std::vector<std::string> untold_names_;
};

}  // namespace saathii::alert
