#include "saathii/config/alert_url.hpp"

#include <algorithm>
#include <charconv>

namespace saathii::config {
namespace {

constexpr std::size_t longest_mail_address_bytes = 254;  // RFC 5321, 4.5.3.1
constexpr std::size_t longest_local_part_bytes = 64;
constexpr int smtp_port = 25;
constexpr int smtps_port = 465;

bool is_visible_ascii(char c) {
  return static_cast<unsigned char>(c) > ' ' && static_cast<unsigned char>(c) < 0x7f;
}

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_host(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return is_alphanumeric(c) || c == '.' || c == '-' || c == '_';
  });
}

bool is_ipv6(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return is_alphanumeric(c) || c == ':' || c == '.' || c == '%';
  });
}

struct Place {
  std::string host;
  std::optional<int> port;
};

/// Reads "host", "host:port" and "[v6]:port".
std::optional<Place> read_place(std::string_view text, std::string& error) {
  Place place;
  std::string_view rest;
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos || !is_ipv6(text.substr(1, close - 1))) {
      error = "found an IPv6 address that is none";
      return std::nullopt;
    }
    place.host = text.substr(0, close + 1);
    rest = text.substr(close + 1);
  } else {
    const auto colon = std::min(text.find(':'), text.size());
    if (!is_host(text.substr(0, colon))) {
      error = colon == 0 ? "found no host" : "found a host with a character that none has";
      return std::nullopt;
    }
    place.host = text.substr(0, colon);
    rest = text.substr(colon);
  }
  if (rest.empty()) return place;
  int port = 0;
  const auto* const end = rest.data() + rest.size();
  const auto [stop, failure] = std::from_chars(rest.data() + 1, end, port);
  if (rest[0] != ':' || failure != std::errc{} || stop != end || port < 1 || port > 65535) {
    error = "found a port that is not a number from 1 to 65535";
    return std::nullopt;
  }
  place.port = port;
  return place;
}

/// The scheme, if it is one of the two, and what follows its "://".
std::string_view take_scheme(std::string_view& url, std::string_view plain,
                             std::string_view secure) {
  for (const auto scheme : {plain, secure}) {
    if (url.starts_with(scheme) && url.substr(scheme.size()).starts_with("://")) {
      url.remove_prefix(scheme.size() + 3);
      return scheme;
    }
  }
  return {};
}

/// This very machine. "127.example.org" is another one.
bool is_local_host(std::string_view host) {
  return host == "localhost" || host == "[::1]" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.") == host.npos);
}

}  // namespace

bool SmtpAddress::is_local() const { return is_local_host(host); }

std::optional<SmtpAddress> parse_smtp_url(std::string_view url, std::string& error) {
  constexpr std::string_view allowed = "; allowed: smtps://host[:port] or smtp://host[:port]";
  const auto scheme = take_scheme(url, "smtp", "smtps");
  if (scheme.empty()) {
    error = "found another scheme or none" + std::string(allowed);
    return std::nullopt;
  }
  if (url.find('@') != std::string_view::npos) {
    error =
        "found a '@'; allowed: a host and a port; the user stands in user, the password in "
        "the file that password_file names";
    return std::nullopt;
  }
  if (url.ends_with('/')) url.remove_suffix(1);
  const auto place = read_place(url, error);
  if (!place) {
    error += allowed;
    return std::nullopt;
  }
  const bool tls = scheme == "smtps";
  return SmtpAddress{tls, place->host, place->port.value_or(tls ? smtps_port : smtp_port)};
}

bool is_webhook_url(std::string_view url, std::string& error) {
  constexpr std::string_view allowed = "; allowed: https://host[:port]/path or http://…";
  if (take_scheme(url, "http", "https").empty()) {
    error = "found another scheme or none";
  } else if (!std::all_of(url.begin(), url.end(), is_visible_ascii)) {
    error = "found a space or another character that a URL must write as %XX";
  } else if (const auto host = url.substr(0, url.find_first_of("/?#"));
             host.find('@') != std::string_view::npos) {
    error = "found a user or password; a secret stands in the file that token_file names";
  } else if (read_place(host, error)) {
    return true;
  }
  error += allowed;
  return false;
}

bool keeps_secrets(std::string_view webhook_url) {
  std::string ignored;
  if (take_scheme(webhook_url, "http", "https") == "https") return true;
  const auto place = read_place(webhook_url.substr(0, webhook_url.find_first_of("/?#")), ignored);
  return place && is_local_host(place->host);
}

std::string mask_webhook_url(std::string_view url) {
  std::string error;
  if (!is_webhook_url(url, error)) return "***";
  const auto path = url.find_first_of("/?#", url.find("://") + 3);
  if (path == std::string_view::npos || url.substr(path) == "/") return std::string(url);
  return std::string(url.substr(0, path)) + "/***";
}

bool is_mail_address(std::string_view text) {
  const auto at = text.find('@');
  if (at == 0 || at == std::string_view::npos || at > longest_local_part_bytes) return false;
  if (text.size() > longest_mail_address_bytes || !is_host(text.substr(at + 1))) return false;
  const auto local = text.substr(0, at);
  return std::all_of(local.begin(), local.end(), [](char c) {
    return is_visible_ascii(c) &&
           std::string_view("<>()[],;:\\\"").find(c) == std::string_view::npos;
  });
}

}  // namespace saathii::config
