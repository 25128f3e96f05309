#pragma once

#include <string>

namespace saathii::ctl {

/// Shows the text in $SAATHIICTL_PAGER, $PAGER or less, and returns when the
/// reader leaves it. False if there is no pager or none is wanted ("" or "cat"):
/// nothing was shown.
[[nodiscard]] bool page(const std::string& text);

}  // namespace saathii::ctl
