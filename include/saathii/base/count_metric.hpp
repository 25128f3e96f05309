#pragma once

#include <string_view>
#include <utility>
#include <vector>

namespace saathii {

/// How a count that a job's runs report becomes a metric. Declared with the
/// job's kind, so that no face need know jobs.
struct CountMetric {
  enum class Type {
    counter,  ///< of runs that succeeded, added up since the daemon's start
    gauge     ///< as the latest run that succeeded reported it
  };
  std::string_view count;  ///< its name in the run's counts
  std::string_view name;   ///< the metric's: "saathiid_coins_charged_total"
  Type type = Type::counter;
  std::string_view help;  ///< one sentence, without a full stop
  std::vector<std::pair<std::string_view, std::string_view>> labels = {};
  /// How many of the count make one of the metric's unit: 100, as of paise and rupees.
  int count_per_unit = 1;
};

}  // namespace saathii
