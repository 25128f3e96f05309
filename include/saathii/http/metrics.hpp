#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "saathii/base/count_metric.hpp"
#include "saathii/http/sample.hpp"
#include "saathii/runner/observer.hpp"

namespace saathii::http {

/// What jobs' kinds declare, by kind.
using CountMetrics = std::map<std::string, std::vector<CountMetric>, std::less<>>;

/// Adds up what happens, for Prometheus. Loop thread.
class Metrics final : public runner::Observer {
 public:
  Metrics(Look look, CountMetrics declared);
  ~Metrics() override;
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  void tick_ended(const runner::Record& record, Duration busy) override;
  void jobs_changed(const std::vector<std::string>& jobs) override;

  /// In Prometheus' text format, version 0.0.4.
  [[nodiscard]] std::string exposition();

 private:
  struct Series;

  [[nodiscard]] Series& series_of(const std::string& job);

  const Look look_;
  const CountMetrics declared_;
  std::map<std::string, std::unique_ptr<Series>> series_;  ///< by job
};

inline constexpr const char* metrics_type = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace saathii::http
