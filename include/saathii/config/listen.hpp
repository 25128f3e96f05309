#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace saathii::config {

/// Where saathiid answers HTTP: on this host alone, as it asks for no password
/// and speaks no TLS.
struct ListenAddress {
  enum class Kind {
    off,
    tcp,         ///< host and port
    unix_socket  ///< path
  };
  Kind kind = Kind::off;
  std::string host;        ///< a loopback address in numbers, without brackets
  std::uint16_t port = 0;  ///< 0: whichever the kernel gives
  std::string path;        ///< absolute

  friend bool operator==(const ListenAddress&, const ListenAddress&) = default;
};

/// What a Unix socket's address holds, the closing zero not counted.
inline constexpr std::size_t max_socket_path_bytes = 107;

/// Reads "", "127.0.0.1:9464", "[::1]:9464" or "unix:/run/saathiid/http.sock".
/// Nothing for anything else; `error` then says what is wrong and what to do.
[[nodiscard]] std::optional<ListenAddress> parse_listen(std::string_view text, std::string& error);

}  // namespace saathii::config
