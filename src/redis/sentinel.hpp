#pragma once

#include <string>

#include "connection.hpp"
#include "saathii/config/url.hpp"

namespace saathii::redis {

/// How to get an answer from a sentinel.
struct SentinelQuestion {
  const std::string& master_name;
  const std::string& username;  ///< of the sentinel's own; empty: the default one
  const std::string& password;  ///< of the sentinel's own; empty: it asks for none
  Connection::Steady::time_point deadline;
  Duration told_limit;  ///< how a Failure tells the deadline
};

/// Where the sentinel says that the master is. Throws Failure, which says what
/// the sentinel did in place of an answer but not which sentinel it was.
[[nodiscard]] config::HostAndPort ask_sentinel(const config::HostAndPort& sentinel,
                                               const SentinelQuestion& question);

/// Throws Failure if the server says that it is no master. One whose user may
/// not ask for its role is believed: its first refusal of a write will tell.
void require_master(Connection& connection, Connection::Steady::time_point deadline,
                    Duration told_limit);

/// "host:port", an IPv6 address in brackets.
[[nodiscard]] std::string to_string(const config::HostAndPort& place);

}  // namespace saathii::redis
