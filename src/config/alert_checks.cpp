#include "alert_checks.hpp"

#include <algorithm>

#include "document.hpp"
#include "saathii/config/alert_url.hpp"
#include "saathii/config/nearest.hpp"

namespace saathii::config {
namespace {

constexpr std::size_t longest_user_bytes = 255;
constexpr std::size_t longest_header_bytes = 255;

bool is_visible_text(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) >= ' ' && static_cast<unsigned char>(c) != 0x7f;
  });
}

/// "Name: value with {token}", as RFC 9110 has a field's name.
bool is_token_header(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == 0 || colon == std::string_view::npos || text.size() > longest_header_bytes) {
    return false;
  }
  const auto name = text.substr(0, colon);
  const bool is_name = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  });
  return is_name && is_visible_text(text) && text.find("{token}", colon) != std::string_view::npos;
}

void check_jobs(const Config& config, Findings& findings) {
  std::vector<std::string_view> known;
  for (const auto& job : config.jobs) known.push_back(job.name);
  // With a wrong jobs table they are not all there.
  if (!findings.none()) return;
  for (const auto& name : config.alerts.jobs) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      findings.add(findings.place("alerts.jobs"), "alerts.jobs: there is no job " + quote(name) +
                                                      "; " + suggest(name, known, "jobs"));
    }
  }
}

void check_command(const AlertCommand& command, Findings& findings) {
  if (command.run.empty()) return;
  const auto at = findings.place("alerts.command.run");
  if (!command.run.front().starts_with('/')) {
    findings.add(at, "alerts.command.run: found the program " + quote(command.run.front()) +
                         "; allowed: its absolute path, such as \"/usr/local/bin/page-me\"");
  }
  for (const auto& text : command.run) {
    if (text.find('\0') != std::string::npos) {
      findings.add(at, "alerts.command.run: found a NUL character, which no argument can hold");
      return;
    }
  }
}

void check_webhook(const AlertWebhook& webhook, Findings& findings) {
  if (!is_token_header(webhook.token_header)) {
    findings.add(findings.place("alerts.webhook.token_header"),
                 "alerts.webhook.token_header: found another form; allowed: a header with {token} "
                 "in it, such as \"Authorization: Bearer {token}\"");
  }
  if (!webhook.token.file.empty() && !webhook.url.empty() && !keeps_secrets(webhook.url)) {
    findings.add(
        findings.place("alerts.webhook.url"),
        "alerts.webhook.url: the token would be sent where anybody on the way can read it; "
        "allowed with a token: https://, or http:// to this host alone");
  }
}

/// A password that anybody on the way can read is none.
void check_mail_password(const AlertMail& mail, const SmtpAddress& server, Findings& findings) {
  if (mail.user.empty()) {
    if (!mail.password.file.empty()) {
      findings.add(findings.place("alerts.mail.password_file"),
                   "alerts.mail.password_file: found without a user; allowed: with "
                   "alerts.mail.user only");
    }
    return;
  }
  if (!server.tls && mail.starttls != AlertMail::StartTls::required && !server.is_local()) {
    findings.add(findings.place("alerts.mail.starttls"),
                 "alerts.mail.starttls: the password would be sent where anybody on the way can "
                 "read it; allowed with a user: \"required\", or smtps://");
  }
  if (mail.user.size() > longest_user_bytes || !is_visible_text(mail.user)) {
    findings.add(findings.place("alerts.mail.user"),
                 "alerts.mail.user: found another form; allowed: at most 255 bytes without "
                 "control characters");
  }
}

void check_mail(const AlertMail& mail, Findings& findings) {
  if (mail.smtp.empty()) {
    // One that is there but wrong has been told of.
    if (!mail.to.empty() && findings.place("alerts.mail.smtp").line == 0) {
      findings.add(findings.place("alerts.mail.to"),
                   "alerts.mail.to: nothing says by which server; allowed: with "
                   "alerts.mail.smtp, such as \"smtps://mail.example.org\"");
    }
    return;
  }
  constexpr auto address = "; allowed: an address such as \"ops@example.org\"";
  if (!is_mail_address(mail.from)) {
    auto at = findings.place("alerts.mail.from");
    if (at.line == 0) at = findings.place("alerts.mail.smtp");
    findings.add(at, "alerts.mail.from: found " + quote(mail.from) + address);
  }
  if (mail.to.empty()) {
    findings.add(findings.place("alerts.mail.smtp"),
                 "alerts.mail.to: missing; give the addresses that alerts go to, such as "
                 "[\"ops@example.org\"]");
  }
  for (const auto& recipient : mail.to) {
    if (!is_mail_address(recipient)) {
      findings.add(findings.place("alerts.mail.to"),
                   "alerts.mail.to: found " + quote(recipient) + address);
    }
  }
  std::string ignored;
  if (const auto server = parse_smtp_url(mail.smtp, ignored)) {
    check_mail_password(mail, *server, findings);
  }
}

}  // namespace

void check_alerts(const Config& config, Findings& findings) {
  check_jobs(config, findings);
  check_command(config.alerts.command, findings);
  check_webhook(config.alerts.webhook, findings);
  check_mail(config.alerts.mail, findings);
}

}  // namespace saathii::config
