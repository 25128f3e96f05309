#include "mail_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace saathii::alert {

namespace {

constexpr std::size_t line_bytes = 76;
constexpr std::size_t word_bytes = 42;  ///< of text in an encoded word of 75 bytes at most

bool is_plain(std::string_view text) {
  // "=?" would be read as an encoded word's beginning.
  return text.find("=?") == std::string_view::npos &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return static_cast<unsigned char>(c) >= 0x20 && static_cast<unsigned char>(c) < 0x7f;
         });
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view letters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](std::size_t k) {
      return i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U;
    };
    const unsigned group = byte(0) << 16U | byte(1) << 8U | byte(2);
    out += letters[group >> 18U & 63U];
    out += letters[group >> 12U & 63U];
    out += i + 1 < bytes.size() ? letters[group >> 6U & 63U] : '=';
    out += i + 2 < bytes.size() ? letters[group & 63U] : '=';
  }
  return out;
}

std::string fold_plain(std::string_view text, std::size_t column) {
  std::string out;
  while (!text.empty()) {
    const std::size_t space = text.find(' ', 1);
    const std::string_view word = text.substr(0, space);
    if (column + word.size() > line_bytes && word.starts_with(' ') && word.size() > 1) {
      out += "\r\n";
      column = 0;
    }
    out += word;
    column += word.size();
    text = space == std::string_view::npos ? std::string_view{} : text.substr(space);
  }
  return out;
}

std::string encode_words(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    std::size_t end = std::min(word_bytes, text.size());
    while (end > 1 && end < text.size() &&
           (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) {
      --end;
    }
    out += (out.empty() ? "" : "\r\n ") + ("=?UTF-8?B?" + base64(text.substr(0, end))) + "?=";
    text = text.substr(end);
  }
  return out;
}

/// As a Message-ID is made of it.
std::string id_word(std::string text) {
  for (char& c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '-' || c == '_';
    c = plain ? c : '_';
  }
  return text;
}

std::string message_id(const Letter& letter, std::uint64_t number, const std::string& from) {
  const auto& alerts = letter.message.alerts;
  return fmt::format("<{}.{}.{}@{}>", id_word(alerts.empty() ? "alert" : alerts.front()), number,
                     id_word(letter.host), from.substr(from.find('@') + 1));
}

}  // namespace

std::string header_text(std::string_view text, std::size_t name_bytes) {
  const std::string line = one_line(text, 900);
  return is_plain(line) ? fold_plain(line, name_bytes) : encode_words(line);
}

std::string quoted_printable(std::string_view text) {
  std::string out;
  std::size_t column = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') {
      out += "\r\n";
      column = 0;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    const bool ends_line = i + 1 == text.size() || text[i + 1] == '\n';
    const bool literal = (byte > 0x20 && byte < 0x7f && c != '=') || (c == ' ' && !ends_line);
    const std::string piece = literal ? std::string(1, c) : fmt::format("={:02X}", byte);
    if (column + piece.size() >= line_bytes) {
      out += "=\r\n";
      column = 0;
    }
    out += piece;
    column += piece.size();
  }
  return out;
}

std::string mail_date(Instant moment) {
  // Not by strftime(): its names are those of a locale.
  constexpr std::array days = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto day = std::chrono::floor<std::chrono::days>(moment);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss time{std::chrono::floor<std::chrono::seconds>(moment - day)};
  return fmt::format(
      "{}, {:02} {} {:04} {:02}:{:02}:{:02} +0000", days.at(std::chrono::weekday{day}.c_encoding()),
      static_cast<unsigned>(date.day()), months.at(static_cast<unsigned>(date.month()) - 1),
      static_cast<int>(date.year()), time.hours().count(), time.minutes().count(),
      time.seconds().count());
}

std::string compose_mail(const Letter& letter, const config::AlertMail& settings, Instant now) {
  std::string to;
  for (const std::string& recipient : settings.to) {
    to += (to.empty() ? "" : ",\r\n ") + recipient;
  }
  std::string mail;
  const auto add = [&](std::string_view name, const std::string& value) {
    mail += fmt::format("{}: {}\r\n", name, value);
  };
  add("Date", mail_date(now));
  add("From", fmt::format("saathiid <{}>", settings.from));
  add("To", to);
  add("Subject", header_text(letter.title, std::string_view("Subject: ").size()));
  add("Message-ID", message_id(letter, letter.message.number, settings.from));
  if (letter.message.number > 1) {
    // Readers show it below the mail that opened the alert.
    add("References", message_id(letter, 1, settings.from));
  }
  add("Auto-Submitted", "auto-generated");
  add("MIME-Version", "1.0");
  add("Content-Type", "text/plain; charset=utf-8");
  add("Content-Transfer-Encoding", "quoted-printable");
  return mail + "\r\n" + quoted_printable(letter.body);
}

}  // namespace saathii::alert
