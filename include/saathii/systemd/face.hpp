#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "saathii/base/server_state.hpp"
#include "saathii/base/time_zone.hpp"
#include "saathii/runner/observer.hpp"
#include "saathii/systemd/notifier.hpp"

namespace saathii::systemd {

/// The daemon as `systemctl status` shows it: readiness, a line of status in
/// words, and the watchdog, which is fed from the loop unless a run is wedged.
class Face final : public runner::Observer {
 public:
  /// The notifier and the states outlive the face. Times are shown in `zone`.
  /// Within `stop_limit` of stopping() the process has ended.
  Face(Notifier& notifier, std::vector<const ServerState*> servers, TimeZone zone,
       Duration stop_limit, std::function<Instant()> now = wall_now);

  void armed(std::size_t jobs) override;
  void tick_ended(const runner::Record& record, Duration busy) override;
  void wedged(const std::string& job) override;
  void released(const std::string& job) override;
  void jobs_changed(const std::vector<std::string>& jobs) override;
  void leadership_changed(const runner::Leadership& now) override;
  void server_changed() override;
  void reloading() override;
  void reloaded() override;
  void heartbeat() override;
  void stopping(const std::vector<std::string>& running) override;

  /// What is failing, in a sentence; empty: nothing is.
  void set_failing(const std::string& text);

  /// Of the times of runs that end from now on.
  void set_zone(TimeZone zone);

  /// How often heartbeat() is wanted: `usual`, or half the watchdog's time.
  [[nodiscard]] static Duration heartbeat_interval(const Notifier& notifier, Duration usual);

  /// "5 jobs; 312 calls charged at 14:03:00 in 41 ms; postgres up; redis down
  /// for 42 s".
  [[nodiscard]] std::string status() const;

 private:
  void send_status();
  [[nodiscard]] std::string clock_time(Instant moment) const;

  Notifier& notifier_;
  const std::vector<const ServerState*> servers_;
  TimeZone zone_;
  const Duration stop_limit_;
  const std::function<Instant()> now_;
  std::size_t jobs_ = 0;
  bool stopping_ = false;
  std::string stopping_text_;
  std::string last_run_;                       ///< the latest that did something
  std::map<std::string, std::string> failed_;  ///< by job, while its latest tick has failed
  std::set<std::string> wedged_;
  std::string failing_;
  std::string standby_;  ///< empty: this instance leads, or nobody is elected
  std::string sent_;
};

}  // namespace saathii::systemd
