#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "saathii/alert/courier.hpp"
#include "saathii/alert/rules.hpp"
#include "saathii/config/config.hpp"
#include "saathii/runner/observer.hpp"

namespace saathii::alert {

/// Tells people what goes wrong: listens to the runner and to health, decides by
/// Rules, and hands letters to a courier for each channel. Loop thread, unless it
/// says otherwise; never blocks there.
class Face final : public runner::Observer {
 public:
  /// What it asks of the daemon around it, on the loop thread.
  struct Around {
    std::function<Time()> now;
    /// Calls back soon, on the loop thread, not from within.
    std::function<void(std::function<void()>)> soon;
    /// All jobs, as they stand.
    std::function<std::vector<runner::JobView>()> jobs;
    /// Keeps what is told for the next start; called often, with no news mostly.
    std::function<void(std::vector<Told>)> keep = {};
    /// What was kept before this start.
    std::vector<Told> kept = {};
  };
  static constexpr Duration shutdown_grace = std::chrono::seconds{5};

  explicit Face(Around around, CourierOptions options = {});

  /// At the start and after a reload; nothing is told before.
  void configure(const config::Config& config);

  void health_changed(const health::Report& report);

  /// After the loop has ended: gives letters that wait a last chance, for at
  /// most `grace`, and logs those that are not sent.
  void finish(Duration grace = shutdown_grace);

  /// By channel_names. Any thread.
  [[nodiscard]] std::vector<std::pair<std::string, ChannelCounts>> counts() const;
  [[nodiscard]] std::size_t open() const { return rules_.open(); }

  void armed(std::size_t jobs) override;
  void run_started(const std::string& job, const runner::RunInProgress& run) override;
  void tick_ended(const runner::Record& record, Duration busy) override;
  void handed_over(const std::string& job) override;
  void standing_by(const std::string& job) override;
  void wedged(const std::string& job) override;
  void released(const std::string& job) override;
  void job_changed(const std::string& job) override;
  void jobs_changed(const std::vector<std::string>& jobs) override;
  void heartbeat() override;

 private:
  void look_soon();
  void look();
  [[nodiscard]] std::optional<runner::JobView> find(const std::string& job) const;

  const Around around_;
  Rules rules_;
  Sender sender_;
  std::map<std::string, Duration> limits_;  ///< after which a job's run is long-running
  std::set<std::string> known_;             ///< jobs whose past has been looked at
  std::array<std::unique_ptr<Courier>, std::size(channel_names)> couriers_;
  std::array<std::shared_ptr<Channel>, std::size(channel_names)> channels_;
  std::optional<config::Alerts> settings_;  ///< in force
  bool enabled_ = false;                    ///< there is a channel
  bool looking_ = false;                    ///< soon
};

/// The name that letters are sent under.
[[nodiscard]] std::string host_name();

}  // namespace saathii::alert
