#pragma once

#include <string>
#include <utility>
#include <vector>

#include "saathii/alert/face.hpp"
#include "saathii/config/config.hpp"
#include "saathii/health/monitor.hpp"
#include "saathii/http/metrics.hpp"
#include "saathii/http/server.hpp"
#include "saathii/postgres/pool.hpp"
#include "saathii/runner/runner.hpp"

namespace saathii::app {

/// /health and /metrics, and what they tell of. Loop thread.
class HttpFace final : public runner::Observer {
 public:
  /// All of these outlive the face.
  struct Parts {
    runner::Runner& runner;
    const health::Monitor& health;
    const postgres::Pool& pool;
    const alert::Face& alerts;
    std::vector<std::pair<std::string, const runner::SideWorker*>> workers;  ///< by their names
    std::size_t outcomes_limit = 0;  ///< of the run ledger's queue
  };

  explicit HttpFace(Parts parts);

  /// Before run(), and after a reload.
  void configure(const config::Http& settings) { server_.configure(settings.listen); }

  void tick_ended(const runner::Record& record, Duration busy) override;
  void jobs_changed(const std::vector<std::string>& jobs) override;
  void ending() override { server_.close(); }

 private:
  [[nodiscard]] http::Sample look() const;

  const Parts parts_;
  const Instant started_at_ = wall_now();
  http::Metrics metrics_;
  http::Server server_;
};

}  // namespace saathii::app
