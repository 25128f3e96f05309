#pragma once

#include <mutex>
#include <stop_token>
#include <string_view>

#include "saathii/config/config.hpp"
#include "saathii/log/messages.hpp"
#include "saathii/postgres/pool.hpp"
#include "saathii/runner/types.hpp"

namespace saathii::postgres {

/// The run ledger in saathii_tasks.job_run, and the pruning of both ledgers.
class RunLedger final : public runner::RunLedger {
 public:
  /// `pool` outlives the ledger; its session is not shared with a job.
  RunLedger(Pool& pool, config::Service retention);

  [[nodiscard]] runner::Past past(const std::string& job, Instant now) override;
  void record(const std::vector<runner::Record>& records) override;
  [[nodiscard]] bool prune() override;
  void interrupt() noexcept override;

 private:
  /// Of the call that begins now: interrupt() stops it.
  [[nodiscard]] std::stop_token begin();
  [[nodiscard]] Pool::Lease session();

  [[noreturn]] void wait(log::Message id, std::string_view reason);

  Pool& pool_;
  const config::Service retention_;
  bool waits_ = false;  ///< outcomes, for the database to take them
  std::mutex mutex_;
  std::stop_source stop_;
};

}  // namespace saathii::postgres
