#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "saathii/config/config.hpp"
#include "saathii/config/loader.hpp"
#include "value.hpp"

// Every key that the file may hold: the one place that reading, printing and
// the test of the reference file go by. A new key is one line in keys.cpp.

namespace saathii::config {

/// A key of a table, and where its value lives.
template <class Target>
struct Key {
  std::string_view name;
  Rule rule;
  std::function<Value(const Target&)> get;
  std::function<void(Target&, const Value&)> set;
};

struct Section {
  std::string_view name;  ///< "postgres", "badges.gold"; empty for the top of the file
  std::vector<Key<Config>> keys;
  bool needs_restart = false;  ///< a reload does not apply them
};

/// All but [jobs.NAME], in the order in which they are printed.
[[nodiscard]] const std::vector<Section>& sections();

/// The keys of a [jobs.NAME] table that are not its kind or its trigger: what
/// every job has, then what its kind declares.
[[nodiscard]] std::vector<Key<Job>> job_keys(const KindInfo& kind);

}  // namespace saathii::config
