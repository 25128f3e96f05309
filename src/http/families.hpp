#pragma once

#include <prometheus/histogram.h>
#include <prometheus/metric_family.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "saathii/base/time.hpp"

namespace saathii::http {

using Labels = std::vector<std::pair<std::string_view, std::string_view>>;

/// Metric families under construction, in the order of their first series.
class Families {
 public:
  void gauge(std::string_view name, std::string_view help, double value, const Labels& labels = {});
  void counter(std::string_view name, std::string_view help, double value,
               const Labels& labels = {});
  void histogram(std::string_view name, std::string_view help,
                 const prometheus::Histogram& histogram, const Labels& labels);

  [[nodiscard]] std::string text() const;

 private:
  prometheus::MetricFamily& family(std::string_view name, std::string_view help,
                                   prometheus::MetricType type);

  std::vector<prometheus::MetricFamily> all_;
};

[[nodiscard]] inline double seconds(Duration length) {
  return std::chrono::duration<double>(length).count();
}

/// Seconds since 1970.
[[nodiscard]] inline double timestamp(Instant moment) { return seconds(moment.time_since_epoch()); }

/// The process as its kernel sees it, under the names that all exporters use.
void add_process(Families& families, Instant started_at);

}  // namespace saathii::http
