#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "document.hpp"
#include "findings.hpp"
#include "saathii/schedule/trigger.hpp"

namespace saathii::config {

inline constexpr std::array<std::string_view, 4> trigger_names = {"every", "at", "cron", "once"};
inline constexpr std::string_view zone_name = "timezone";

/// Reads the one trigger of a table, in the table's `timezone` or else in
/// `zone`. Nothing if there is none; with none, two, or one that cannot be read
/// there is a problem, except that `may_be_missing` allows none.
[[nodiscard]] std::optional<schedule::Trigger> read_trigger(const Table& table, Position table_at,
                                                            const std::string& path, TimeZone zone,
                                                            bool may_be_missing,
                                                            Findings& findings);

/// The trigger's keys as TOML lines; the zone only where it is not `zone`.
[[nodiscard]] std::string print_trigger(const schedule::Trigger& trigger, std::string_view zone);

}  // namespace saathii::config
