#include "saathii/jobs/job.hpp"

// One line for each kind, in the order in which they are listed everywhere:
// KIND(NAME) takes `Kind NAME();` from src/jobs/NAME.cpp.
#define SAATHII_JOB_KINDS(KIND) \
  KIND(presence_cleanup)        \
  KIND(coin_deduction)          \
  KIND(call_cleanup)            \
  KIND(badge_assignment)        \
  KIND(log_rotation)

namespace saathii::jobs {

#define SAATHII_DECLARE(NAME) Kind NAME();
SAATHII_JOB_KINDS(SAATHII_DECLARE)
#undef SAATHII_DECLARE

const std::vector<Kind>& kinds() {
#define SAATHII_MAKE(NAME) NAME(),
  static const std::vector<Kind> all = {SAATHII_JOB_KINDS(SAATHII_MAKE)};
#undef SAATHII_MAKE
  return all;
}

std::vector<config::KindInfo> kind_infos() {
  std::vector<config::KindInfo> infos;
  for (const auto& kind : kinds()) {
    infos.push_back(kind.info);
  }
  return infos;
}

}  // namespace saathii::jobs
