#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "saathii/base/time.hpp"
#include "saathii/control/sdbus.hpp"
#include "saathii/health/health.hpp"
#include "saathii/postgres/inquiry.hpp"
#include "saathii/runner/job_view.hpp"

// What goes over the bus, as deploy/dbus/com.saathiiapp.Tasks1.xml describes it.

namespace saathii::control::wire {

inline constexpr const char* bus_name = "com.saathiiapp.Tasks1";
inline constexpr const char* manager_path = "/com/saathiiapp/Tasks1";

using Counts = std::map<std::string, std::int64_t>;
/// name, object, state, paused, last outcome, next run.
using JobRow =
    sdbus::Struct<std::string, sdbus::ObjectPath, std::string, bool, std::string, std::uint64_t>;
/// level, check, message.
using Finding = sdbus::Struct<std::string, std::string, std::string>;
/// name, state, since, last error.
using Server = sdbus::Struct<std::string, std::string, std::uint64_t, std::string>;
/// leads, instance, term, leader, since.
using Leadership = sdbus::Struct<bool, std::string, std::uint64_t, std::string, std::uint64_t>;
using HistoryRow =
    sdbus::Struct<std::string, std::string, std::uint64_t, std::uint64_t, std::int64_t, std::string,
                  std::string, std::uint64_t, std::uint64_t, std::uint32_t, Counts>;
using Details = std::map<std::string, sdbus::Variant>;
using Minute = sdbus::Struct<std::int32_t, std::uint64_t, std::int64_t, std::string, std::uint64_t,
                             bool, std::int64_t, std::int64_t, std::uint64_t>;
using WalletEntry = sdbus::Struct<std::uint64_t, std::string, std::int64_t, std::string>;

/// Microseconds since the epoch; 0 for none.
[[nodiscard]] std::uint64_t moment(const std::optional<Instant>& moment);
[[nodiscard]] std::uint64_t length(Duration length);
/// What a caller gave: none for 0. Throws Refusal if it is beyond the year 9999.
[[nodiscard]] std::optional<Instant> read_moment(std::uint64_t microseconds, const char* argument);

/// Text as the bus takes it: valid UTF-8 without NUL.
[[nodiscard]] std::string text(std::string_view any);

[[nodiscard]] Counts counts(const runner::Counts& counts);
/// A job's name is what object paths are made of: nothing to escape.
[[nodiscard]] sdbus::ObjectPath job_path(const std::string& name);
[[nodiscard]] JobRow job_row(const runner::JobView& job);
[[nodiscard]] std::vector<Finding> findings(const health::Report& report);
[[nodiscard]] std::vector<Server> servers(const std::vector<health::Server>& servers);
[[nodiscard]] Leadership leadership(const runner::Leadership& now, const std::string& instance);
[[nodiscard]] std::vector<HistoryRow> history(const std::vector<runner::Record>& records);
[[nodiscard]] Details receipt(const postgres::Receipt& receipt);
[[nodiscard]] std::vector<Minute> minutes(const std::vector<postgres::ReceiptMinute>& minutes);
[[nodiscard]] std::vector<WalletEntry> entries(const std::vector<postgres::WalletEntry>& entries);

}  // namespace saathii::control::wire
