#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// Where alerts are sent. Pure, any thread. No error text holds any part of what
// may be secret.

namespace saathii::config {

/// What "smtp://host[:port]" or "smtps://host[:port]" says.
struct SmtpAddress {
  bool tls = false;  ///< encrypted from the first byte: smtps
  std::string host;  ///< an IPv6 address stands in its brackets
  int port = 0;
  /// This very machine: nobody can listen on the way.
  [[nodiscard]] bool is_local() const;
};

/// Port 25 or, of smtps, 465 unless another is given. On failure returns nothing
/// and sets `error` to what was found and what is allowed.
[[nodiscard]] std::optional<SmtpAddress> parse_smtp_url(std::string_view url, std::string& error);

/// Whether it is "http://host[:port]/path" or https, without a user. If not, sets `error`.
[[nodiscard]] bool is_webhook_url(std::string_view url, std::string& error);

/// Whether nobody on the way to such a URL can read what is sent there: by https,
/// or on this very machine.
[[nodiscard]] bool keeps_secrets(std::string_view webhook_url);

/// The URL with "***" for its path and query: they may be the only secret that
/// keeps others from posting there.
[[nodiscard]] std::string mask_webhook_url(std::string_view url);

/// Whether mail can be sent to, or from, this text as it is: "name@host", ASCII,
/// nothing that could be read as more than one address.
[[nodiscard]] bool is_mail_address(std::string_view text);

}  // namespace saathii::config
