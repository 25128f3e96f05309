#pragma once

#include <memory>
#include <string>

#include "daemon.hpp"

namespace saathii::ctl {

/// Whether a person may be asked for a password on behalf of a call.
enum class Asking { no, yes };
/// How long an answer is waited for: a shell that completes a word stands still
/// meanwhile.
enum class Patience { short_one, usual };

/// The daemon on a bus: "system", "session" or an address. Throws Refusal if the
/// bus cannot be reached or the daemon is not on it; never starts it. One thread.
[[nodiscard]] std::unique_ptr<Daemon> connect_to_bus(const std::string& where, Asking asking,
                                                     Patience patience);

/// The kind of refusal that goes with the name of a D-Bus error.
[[nodiscard]] Refusal::Kind kind_of_error(const std::string& name);

}  // namespace saathii::ctl
