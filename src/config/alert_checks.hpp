#pragma once

#include "findings.hpp"
#include "saathii/config/config.hpp"

namespace saathii::config {

/// What only several keys together can get wrong, and the texts that go into
/// headers of mail and HTTP. After the jobs have been read.
void check_alerts(const Config& config, Findings& findings);

}  // namespace saathii::config
