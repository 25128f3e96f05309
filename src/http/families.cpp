#include "families.hpp"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <sstream>

namespace saathii::http {

namespace {

void label(prometheus::ClientMetric& metric, const Labels& labels) {
  for (const auto& [name, value] : labels) {
    metric.label.push_back({std::string(name), std::string(value)});
  }
}

}  // namespace

prometheus::MetricFamily& Families::family(std::string_view name, std::string_view help,
                                           prometheus::MetricType type) {
  const auto found = std::find_if(all_.begin(), all_.end(),
                                  [&](const auto& family) { return family.name == name; });
  if (found != all_.end()) {
    return *found;
  }
  all_.push_back({std::string(name), std::string(help), type, {}});
  return all_.back();
}

void Families::gauge(std::string_view name, std::string_view help, double value,
                     const Labels& labels) {
  auto& metric = family(name, help, prometheus::MetricType::Gauge).metric.emplace_back();
  metric.gauge.value = value;
  label(metric, labels);
}

void Families::counter(std::string_view name, std::string_view help, double value,
                       const Labels& labels) {
  auto& metric = family(name, help, prometheus::MetricType::Counter).metric.emplace_back();
  metric.counter.value = value;
  label(metric, labels);
}

void Families::histogram(std::string_view name, std::string_view help,
                         const prometheus::Histogram& histogram, const Labels& labels) {
  auto& all = family(name, help, prometheus::MetricType::Histogram).metric;
  label(all.emplace_back(histogram.Collect()), labels);
}

std::string Families::text() const {
  std::ostringstream out;
  prometheus::TextSerializer{}.Serialize(out, all_);
  return std::move(out).str();
}

}  // namespace saathii::http
