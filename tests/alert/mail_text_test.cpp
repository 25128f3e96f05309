#include <string>
#include <vector>

#include "../../src/alert/mail_text.hpp"
#include "catch.hpp"

using namespace saathii;
using namespace saathii::alert;

namespace {

const Instant moment = *parse_iso8601("2026-11-22T03:31:05.5Z");

std::vector<std::string> lines_of(const std::string& mail) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (std::size_t end = 0; (end = mail.find("\r\n", begin)) != std::string::npos;
       begin = end + 2) {
    lines.push_back(mail.substr(begin, end - begin));
  }
  CHECK(begin == mail.size());
  return lines;
}

/// The headers of a mail, unfolded.
std::vector<std::string> headers_of(const std::string& mail) {
  std::vector<std::string> headers;
  for (const std::string& line : lines_of(mail.substr(0, mail.find("\r\n\r\n") + 2))) {
    if (line.starts_with(' ')) {
      REQUIRE_FALSE(headers.empty());
      headers.back() += line;
    } else {
      headers.push_back(line);
    }
  }
  return headers;
}

config::AlertMail settings() {
  config::AlertMail mail;
  mail.from = "saathiid@example.org";
  mail.to = {"ops@example.org", "night@example.org"};
  return mail;
}

Letter letter(const std::string& title, const std::string& body) {
  Letter made;
  made.host = "db1";
  made.title = title;
  made.body = body;
  made.message.alerts = {"coin_deduction.failed.1"};
  return made;
}

}  // namespace

TEST_CASE("a mail as RFC 5322 has it") {
  const std::string mail =
      compose_mail(letter("[saathiid@db1] a failed", "why\n"), settings(), moment);
  CHECK(headers_of(mail) ==
        std::vector<std::string>{
            "Date: Sun, 22 Nov 2026 03:31:05 +0000", "From: saathiid <saathiid@example.org>",
            "To: ops@example.org, night@example.org", "Subject: [saathiid@db1] a failed",
            "Message-ID: <coin_deduction.failed.1.1.db1@example.org>",
            "Auto-Submitted: auto-generated", "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: quoted-printable"});
  CHECK(mail.substr(mail.find("\r\n\r\n") + 4) == "why\r\n");
}

TEST_CASE("later mails about an alert refer to its first") {
  Letter second = letter("t", "b\n");
  second.message.number = 2;
  const auto headers = headers_of(compose_mail(second, settings(), moment));
  CHECK(headers[4] == "Message-ID: <coin_deduction.failed.1.2.db1@example.org>");
  CHECK(headers[5] == "References: <coin_deduction.failed.1.1.db1@example.org>");
}

TEST_CASE("no text gets out of its header") {
  Letter evil = letter("a\r\nBcc: victim@example.org\r\n\r\nbody", ".\r\n.\n");
  evil.host = "h\r\nX: 1";
  evil.message.alerts = {"x>\r\nY: 2"};
  const auto headers = headers_of(compose_mail(evil, settings(), moment));
  CHECK(headers.size() == 9);
  CHECK(headers[3] == "Subject: a  Bcc: victim@example.org    body");
  CHECK(headers[4] == "Message-ID: <x___Y__2.1.h__X__1@example.org>");
}

TEST_CASE("subjects that are not ASCII are encoded, long ones folded") {
  CHECK(header_text("\xE2\x82\xB9 5", 9) == "=?UTF-8?B?4oK5IDU=?=");
  // What looks like an encoded word is encoded, so that it is shown as it is.
  CHECK(header_text("=?UTF-8?Q?x?=", 9) == "=?UTF-8?B?PT9VVEYtOD9RP3g/PQ==?=");
  std::string rupees;
  for (int i = 0; i < 100; ++i) rupees += "\xE2\x82\xB9";
  for (const std::string& line : lines_of("Subject: " + header_text(rupees, 9) + "\r\n")) {
    CHECK(line.size() <= 78);
  }
  const std::string words = "a failed: " + std::string(50, 'x') + " " + std::string(50, 'y');
  const std::string folded = header_text(words, 9);
  CHECK(folded == "a failed: " + std::string(50, 'x') + "\r\n " + std::string(50, 'y'));
  // A fold of blanks alone would end the headers.
  for (const std::string& line :
       lines_of("Subject: " + header_text(std::string(900, ' '), 9) + "\r\n")) {
    CHECK(line.size() <= 998);
  }
}

TEST_CASE("quoted-printable") {
  CHECK(quoted_printable("plain = 1\n\nlast") == "plain =3D 1\r\n\r\nlast");
  CHECK(quoted_printable("ends in blank \nand tab\t\n") == "ends in blank=20\r\nand tab=09\r\n");
  CHECK(quoted_printable("\xE2\x82\xB9\r\x7f") == "=E2=82=B9=0D=7F");
  for (const std::string& line : lines_of(quoted_printable(std::string(500, '=') + "\n"))) {
    CHECK(line.size() <= 76);
  }
  const std::string wrapped = quoted_printable(std::string(100, 'x'));
  CHECK(wrapped == std::string(75, 'x') + "=\r\n" + std::string(25, 'x'));
}

TEST_CASE("dates in mails know no locale") {
  CHECK(mail_date(*parse_iso8601("2024-02-29T23:59:59Z")) == "Thu, 29 Feb 2024 23:59:59 +0000");
  CHECK(mail_date(*parse_iso8601("2026-01-05T00:00:00Z")) == "Mon, 05 Jan 2026 00:00:00 +0000");
}
