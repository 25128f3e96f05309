#pragma once

#include <optional>
#include <string>
#include <string_view>

// The servers' URLs. Pure, any thread. No error text holds any part of a URL's
// user or password.

namespace saathii::config {

/// What a redis:// or unix:// URL says, percent-decoded.
struct RedisAddress {
  std::string host;  ///< empty for a Unix socket
  int port = 6379;
  std::string path;  ///< of a Unix socket
  std::string username;
  std::string password;  ///< secret
  int database = 0;
};

/// Reads "redis://[[user]:password@]host[:port][/db]" or
/// "unix://[[user]:password@]/path/to.sock[?db=N]"; a user whose password is
/// elsewhere is given as "?username=user". On failure returns nothing
/// and sets `error` to what was found and what is allowed.
[[nodiscard]] std::optional<RedisAddress> parse_redis_url(std::string_view url, std::string& error);

/// Checks a URL by libpq's rules ("postgresql://" or "postgres://", several
/// hosts, query parameters) and returns it as libpq takes it: without the
/// "+driver" that SQLAlchemy puts into the scheme. On failure returns nothing
/// and sets `error`.
[[nodiscard]] std::optional<std::string> parse_postgres_url(std::string_view url,
                                                            std::string& error);

/// Whether a URL that one of the two takes holds a password of the server's.
[[nodiscard]] bool has_password(std::string_view url);

/// The URL of PostgreSQL with one more parameter in its query, percent-encoded.
[[nodiscard]] std::string with_parameter(std::string url, std::string_view name,
                                         std::string_view value);

/// A URL with its passwords replaced by "***", those of the query too. Of text
/// that is not a URL nothing is shown but the scheme.
[[nodiscard]] std::string mask_url(std::string_view url);

}  // namespace saathii::config
