#pragma once

#include <string>
#include <vector>

#include "document.hpp"
#include "findings.hpp"
#include "saathii/config/config.hpp"

namespace saathii::config {

/// The job that a kind is without a table of its own: named as the kind, with
/// its defaults, in the platform's zone.
[[nodiscard]] Job default_job(const KindInfo& kind, TimeZone zone);

/// Reads [jobs] and adds the jobs to `config`: one for each kind, then the
/// further instances in the file's order. `jobs` is null if the file has none.
void read_jobs(const Table* jobs, const std::vector<KindInfo>& kinds, TimeZone zone, Config& config,
               Findings& findings);

}  // namespace saathii::config
