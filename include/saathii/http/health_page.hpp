#pragma once

#include "saathii/http/sample.hpp"
#include "saathii/http/server.hpp"

namespace saathii::http {

/// Every check as JSON, with its level. 200 where health is ok or degraded, as
/// the work goes on; 503 where it is failing.
[[nodiscard]] Response health_page(const Sample& sample);

}  // namespace saathii::http
