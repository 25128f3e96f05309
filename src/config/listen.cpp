#include "saathii/config/listen.hpp"

#include <arpa/inet.h>

#include <charconv>

namespace saathii::config {

namespace {

constexpr std::string_view allowed =
    "\"\" (off), \"127.0.0.1:9464\", \"[::1]:9464\" or \"unix:/run/saathiid/http.sock\"";
constexpr std::string_view proxy_advice =
    ": saathiid answers this host alone, because it asks for no password and speaks no TLS; put a "
    "reverse proxy before it to be reached from others";

std::optional<ListenAddress> fail(std::string& error, std::string message) {
  error = std::move(message);
  return std::nullopt;
}

std::optional<ListenAddress> parse_path(std::string_view path, std::string& error) {
  if (!path.starts_with('/') || path.ends_with('/')) {
    return fail(error,
                "a Unix socket is an absolute path, such as \"unix:/run/saathiid/http.sock\"");
  }
  if (path.size() > max_socket_path_bytes || path.find('\0') != std::string_view::npos) {
    return fail(error, "a Unix socket's path holds at most " +
                           std::to_string(max_socket_path_bytes) + " bytes");
  }
  return ListenAddress{
      .kind = ListenAddress::Kind::unix_socket, .host = {}, .port = 0, .path = std::string(path)};
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (text.empty() || failure != std::errc{} || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return port;
}

enum class Reach { loopback, beyond, no_address };

Reach reach_of(const std::string& host, bool is_v6) {
  // inet_pton() reads no further than that.
  if (host.find('\0') != std::string::npos) return Reach::no_address;
  if (is_v6) {
    in6_addr address{};
    if (inet_pton(AF_INET6, host.c_str(), &address) != 1) return Reach::no_address;
    return IN6_IS_ADDR_LOOPBACK(&address) ? Reach::loopback : Reach::beyond;
  }
  in_addr address{};
  if (inet_pton(AF_INET, host.c_str(), &address) != 1) return Reach::no_address;
  return (ntohl(address.s_addr) >> 24U) == IN_LOOPBACKNET ? Reach::loopback : Reach::beyond;
}

}  // namespace

std::optional<ListenAddress> parse_listen(std::string_view text, std::string& error) {
  constexpr std::string_view unix_scheme = "unix:";
  if (text.empty()) {
    return ListenAddress{};
  }
  if (text.starts_with(unix_scheme)) {
    return parse_path(text.substr(unix_scheme.size()), error);
  }
  const auto colon = text.rfind(':');
  std::string_view host = text.substr(0, colon);
  const bool is_v6 = host.starts_with('[') && host.ends_with(']');
  if (is_v6) {
    host = host.substr(1, host.size() - 2);
  }
  const auto port =
      colon == std::string_view::npos ? std::nullopt : parse_port(text.substr(colon + 1));
  const std::string name(host);
  switch (port ? reach_of(name, is_v6) : Reach::no_address) {
    case Reach::loopback:
      return ListenAddress{
          .kind = ListenAddress::Kind::tcp, .host = name, .port = *port, .path = {}};
    case Reach::beyond:
      return fail(error, name + " is not a loopback address" + std::string(proxy_advice));
    case Reach::no_address:
      break;
  }
  return fail(error, "allowed: " + std::string(allowed));
}

}  // namespace saathii::config
