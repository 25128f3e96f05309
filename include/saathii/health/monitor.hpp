#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "saathii/health/health.hpp"
#include "saathii/runner/observer.hpp"
#include "saathii/runner/runner.hpp"
#include "saathii/runner/side_worker.hpp"

namespace saathii::health {

/// Judges anew whenever something happened and with every heartbeat, logs what
/// changed, once, and tells who asked to be told. Loop thread.
class Monitor final : public runner::Observer {
 public:
  /// All of these outlive the monitor. Disk space is looked at by `worker`,
  /// because a network's file system may block.
  /// A look that takes longer than `patience` is a file system that hangs.
  Monitor(runner::Runner& runner, std::vector<const ServerState*> servers,
          runner::SideWorker& worker, Duration patience = std::chrono::minutes{1});

  /// After a reload, too.
  void configure(const config::Health& limits, std::vector<std::string> folders, TimeZone zone);

  /// Called after the level or a finding has changed.
  void on_change(std::function<void(const Report&)> callback) {
    callbacks_.push_back(std::move(callback));
  }

  [[nodiscard]] const Report& report() const noexcept { return report_; }
  [[nodiscard]] std::vector<DiskSpace> disks() const;
  [[nodiscard]] std::vector<Server> servers() const;

  void armed(std::size_t jobs) override;
  void tick_ended(const runner::Record& record, Duration busy) override;
  void wedged(const std::string& job) override;
  void released(const std::string& job) override;
  void job_changed(const std::string& job) override;
  void jobs_changed(const std::vector<std::string>& jobs) override;
  void leadership_changed(const runner::Leadership& now) override;
  void server_changed() override;
  void heartbeat() override;

 private:
  void note_leadership(const runner::Leadership& now);
  void judge_soon();
  void judge_now();
  boost::asio::awaitable<void> look_at_disks();

  runner::Runner& runner_;
  const std::vector<const ServerState*> servers_;
  runner::SideWorker& worker_;
  const Duration patience_;
  config::Health limits_;
  TimeZone zone_ = nullptr;
  std::vector<std::string> folders_;
  std::vector<DiskSpace> disks_;
  runner::SteadyTime next_look_;
  std::optional<Instant> leaderless_since_;
  Report report_;
  std::vector<std::function<void(const Report&)>> callbacks_;
  bool armed_ = false;
  bool judging_ = false;  ///< a judgement is on its way
  std::optional<runner::SteadyTime> looking_since_;
};

}  // namespace saathii::health
