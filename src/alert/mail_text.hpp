#pragma once

#include <string>
#include <string_view>

#include "saathii/alert/message.hpp"
#include "saathii/config/config.hpp"

// A letter as RFC 5322 has it. Pure. Whatever a text holds, it stays within its
// header or the body.

namespace saathii::alert {

/// The whole mail, lines ended by CR LF, ASCII only.
[[nodiscard]] std::string compose_mail(const Letter& letter, const config::AlertMail& settings,
                                       Instant now);

/// A header's text: as it is, folded, or in encoded words (RFC 2047) where it is
/// not plain ASCII. `name_bytes`: what stands before it in its line.
[[nodiscard]] std::string header_text(std::string_view text, std::size_t name_bytes);

/// RFC 2045, 6.7, of lines that end in '\n'.
[[nodiscard]] std::string quoted_printable(std::string_view text);

/// "Sun, 22 Nov 2026 03:31:05 +0000".
[[nodiscard]] std::string mail_date(Instant moment);

}  // namespace saathii::alert
