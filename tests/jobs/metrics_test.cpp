#include <map>
#include <regex>
#include <set>

#include "catch.hpp"
#include "support/job_bench.hpp"

namespace saathii::test {

namespace {

using Labels = std::vector<std::pair<std::string_view, std::string_view>>;

std::vector<std::string_view> names_of(const Labels& labels) {
  std::vector<std::string_view> names;
  for (const auto& label : labels) names.push_back(label.first);
  return names;
}

}  // namespace

TEST_CASE("each metric that a kind declares is of a count that its runs report") {
  for (const auto& kind : jobs::kinds()) {
    CAPTURE(kind.info.name);
    JobBench bench(kind.info.name, Redis::real);
    const auto report = bench.run(std::nullopt);
    std::set<std::string_view> declared;
    for (const auto& metric : kind.metrics) {
      CAPTURE(metric.count);
      CHECK(declared.insert(metric.count).second);
      CHECK(std::ranges::count(report.counts, metric.count, [](const auto& count) {
              return std::string_view(count.first);
            }) == 1);
    }
    CHECK_FALSE(declared.empty());
  }
}

TEST_CASE("metrics that kinds declare are named by the rules and agree with one another") {
  static const std::regex valid("saathiid_[a-z]+(_[a-z]+)*");
  std::map<std::string_view, CountMetric> families;
  std::set<std::pair<std::string_view, Labels>> series;
  for (const auto& kind : jobs::kinds()) {
    series.clear();
    for (const auto& metric : kind.metrics) {
      CAPTURE(metric.name);
      CHECK(std::regex_match(std::string(metric.name), valid));
      CHECK(metric.name.ends_with("_total") == (metric.type == CountMetric::Type::counter));
      CHECK_FALSE(metric.help.empty());
      CHECK_FALSE(metric.help.ends_with('.'));
      CHECK(metric.count_per_unit > 0);
      CHECK(series.insert({metric.name, metric.labels}).second);
      const auto& family = families.try_emplace(metric.name, metric).first->second;
      CHECK(family.help == metric.help);
      CHECK(family.type == metric.type);
      CHECK(names_of(family.labels) == names_of(metric.labels));
    }
  }
}

}  // namespace saathii::test
