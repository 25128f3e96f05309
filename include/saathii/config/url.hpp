#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

// The servers' URLs. Pure, any thread. No error text holds any part of a URL's
// user or password.

namespace saathii::config {

struct HostAndPort {
  std::string host;
  int port = 0;

  friend bool operator==(const HostAndPort&, const HostAndPort&) = default;
};

/// More sentinels than anybody has.
inline constexpr std::size_t max_sentinels = 16;

/// What a URL of Redis says, percent-decoded.
struct RedisAddress {
  std::string host;  ///< empty for a Unix socket, and where sentinels are asked
  int port = 6379;
  std::string path;  ///< of a Unix socket
  std::string username;
  std::string password;  ///< secret
  int database = 0;
  std::vector<HostAndPort> sentinels;  ///< at most max_sentinels; none: the place is above
  std::string master_name;             ///< of which the sentinels know the place
  std::string sentinel_username;
  std::string sentinel_password;  ///< secret
};

/// Reads "redis://[[user]:password@]host[:port][/db]",
/// "unix://[[user]:password@]/path/to.sock[?db=N]" or
/// "redis+sentinel://[[user]:password@]host[:port][,…]/master[/db]"; a user
/// whose password is elsewhere is given as "?username=user", what the sentinels
/// themselves ask for as "?sentinel_username=" and "?sentinel_password=". On
/// failure returns nothing and sets `error` to what was found and what is allowed.
[[nodiscard]] std::optional<RedisAddress> parse_redis_url(std::string_view url, std::string& error);

/// Checks a URL by libpq's rules ("postgresql://" or "postgres://", several
/// hosts, query parameters) and returns it as libpq takes it: without the
/// "+driver" that SQLAlchemy puts into the scheme. On failure returns nothing
/// and sets `error`. A server that takes no writes is of no use: one that is asked
/// for is refused.
[[nodiscard]] std::optional<std::string> parse_postgres_url(std::string_view url,
                                                            std::string& error);

/// Whether a URL that one of the two takes holds a password of the server's.
[[nodiscard]] bool has_password(std::string_view url);

/// Whether a URL of Redis holds a password of its sentinels.
[[nodiscard]] bool has_sentinel_password(std::string_view url);

/// Whether a URL of PostgreSQL names several hosts and says in no
/// target_session_attrs which of them is meant.
[[nodiscard]] bool is_any_of_several(std::string_view url);

/// The URL of PostgreSQL with one more parameter in its query, percent-encoded.
[[nodiscard]] std::string with_parameter(std::string url, std::string_view name,
                                         std::string_view value);

/// A URL with its passwords replaced by "***", those of the query too. Of text
/// that is not a URL nothing is shown but the scheme.
[[nodiscard]] std::string mask_url(std::string_view url);

}  // namespace saathii::config
