#include "mail.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "mail_text.hpp"
#include "saathii/base/counted.hpp"
#include "saathii/base/time.hpp"
#include "saathii/config/alert_url.hpp"
#include "transfer.hpp"

namespace saathii::alert {

namespace {

constexpr std::size_t max_reply_bytes = 200;
/// The mail is under way by then: the server's farewell is not worth more.
constexpr std::chrono::seconds farewell_limit{2};

using Steady = std::chrono::steady_clock;

/// The server's last line to a command.
struct Reply {
  int code = 0;
  std::string text;

  [[nodiscard]] bool accepts() const { return code >= 200 && code < 300; }
  [[nodiscard]] bool puts_off() const { return code >= 400 && code < 500; }
  [[nodiscard]] bool refuses() const { return code >= 500; }
};

/// What was said. libcurl goes on when a recipient is refused and does not tell
/// which one it was, but shows all that goes over the line.
class Conversation {
 public:
  void said(std::string_view command) {
    recipient_ = command.starts_with("RCPT TO:");
    mail_begun_ = mail_begun_ || command.starts_with("MAIL FROM:");
    if (command.starts_with("QUIT")) {
      leaving_since_ = Steady::now();
    }
  }
  void heard(std::string_view line) {
    if (leaving_since_) {
      return;  // its answer to that says nothing about the mail
    }
    while (line.ends_with('\n') || line.ends_with('\r')) {
      line.remove_suffix(1);
    }
    int code = 0;
    const auto [end, failure] =
        std::from_chars(line.data(), line.data() + std::min<std::size_t>(line.size(), 3), code);
    const bool is_last = line.size() <= 3 || line[3] != '-';
    if (failure != std::errc{} || end != line.data() + 3 || !is_last) {
      return;
    }
    last_ = {code, one_line(line, max_reply_bytes)};
    if (std::exchange(recipient_, false)) {
      recipients_.push_back(last_);
    }
  }

  /// In the order in which they were asked for.
  [[nodiscard]] const std::vector<Reply>& recipients() const { return recipients_; }
  [[nodiscard]] const Reply& last() const { return last_; }
  /// What was refused is this mail, and not our coming now.
  [[nodiscard]] bool is_mail_refused() const { return mail_begun_ && last_.refuses(); }
  [[nodiscard]] bool is_farewell_over() const {
    return leaving_since_ && Steady::now() - *leaving_since_ >= farewell_limit;
  }

 private:
  bool recipient_ = false;
  bool mail_begun_ = false;
  std::vector<Reply> recipients_;
  Reply last_;
  std::optional<Steady::time_point> leaving_since_;
};

/// What libcurl's callbacks are given.
struct Session {
  Transfer& transfer;
  std::string mail;
  std::size_t sent = 0;
  Conversation conversation = {};
};

std::size_t read_mail(char* buffer, std::size_t size, std::size_t count, void* user) {
  auto& session = *static_cast<Session*>(user);
  const std::size_t part = std::min(size * count, session.mail.size() - session.sent);
  std::copy_n(session.mail.data() + session.sent, part, buffer);
  session.sent += part;
  return part;
}

std::size_t ignore(const char* /*data*/, std::size_t size, std::size_t count, void* /*user*/) {
  return size * count;
}

int listen(CURL* /*easy*/, curl_infotype type, char* data, std::size_t size, void* user) {
  auto& conversation = static_cast<Session*>(user)->conversation;
  if (type == CURLINFO_HEADER_OUT) {
    conversation.said({data, size});
  } else if (type == CURLINFO_HEADER_IN) {
    conversation.heard({data, size});
  }
  return 0;
}

int shall_end(void* user, curl_off_t /*to_get*/, curl_off_t /*got*/, curl_off_t /*to_send*/,
              curl_off_t /*sent*/) {
  const auto& session = *static_cast<Session*>(user);
  return session.transfer.stopped() || session.conversation.is_farewell_over() ? 1 : 0;
}

long tls_of(const config::SmtpAddress& server, config::AlertMail::StartTls starttls) {
  using StartTls = config::AlertMail::StartTls;
  if (server.tls || starttls == StartTls::required) {
    return CURLUSESSL_ALL;
  }
  return starttls == StartTls::optional ? CURLUSESSL_TRY : CURLUSESSL_NONE;
}

class Mail final : public Channel {
 public:
  Mail(const config::AlertMail& settings, std::string ca_file)
      : settings_(settings), ca_file_(std::move(ca_file)) {
    std::string error;
    server_ = config::parse_smtp_url(settings.smtp, error).value_or(config::SmtpAddress{});
    place_ = fmt::format("{}:{}", server_.host, server_.port);
  }

  Verdict send(Delivery& delivery, const std::stop_token& stop) override {
    std::string password;
    try {
      if (!settings_.user.empty()) {
        auto found = read_password(settings_.password);
        if (!found) {
          return {Verdict::Kind::retry,
                  "there is no password: name its file by password_file of [alerts.mail], or give "
                  "the unit the credential smtp.password"};
        }
        password = *std::move(found);
      }
      return deliver(delivery, password, stop);
    } catch (const std::exception& error) {
      return {Verdict::Kind::retry, scrub(error.what(), {password})};
    }
  }

 private:
  [[nodiscard]] std::vector<std::string> recipients_left(const Delivery& delivery) const {
    std::vector<std::string> left;
    for (const std::string& recipient : settings_.to) {
      const bool refused =
          std::any_of(delivery.refused.begin(), delivery.refused.end(),
                      [&](const auto& told) { return told.starts_with(recipient + " "); });
      if (!delivery.reached.contains(recipient) && !refused) {
        left.push_back(recipient);
      }
    }
    return left;
  }

  Verdict deliver(Delivery& delivery, const std::string& password, const std::stop_token& stop) {
    const std::vector<std::string> recipients = recipients_left(delivery);
    Transfer transfer(settings_.timeout, ca_file_);
    Session session{transfer, compose_mail(*delivery.letter, settings_, wall_now())};
    prepare(transfer, session, recipients, password);
    const CURLcode code = transfer.run(stop);
    const Verdict failed = judge(code, transfer, session.conversation, password);
    return account(delivery, recipients, session.conversation, code == CURLE_OK, failed, password);
  }

  void prepare(Transfer& transfer, Session& session, const std::vector<std::string>& recipients,
               const std::string& password) const {
    const std::string url = fmt::format("{}://{}", server_.tls ? "smtps" : "smtp", place_);
    transfer.set(CURLOPT_URL, url.c_str());
    transfer.set(CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    transfer.set(CURLOPT_PROXY, "");
    transfer.set(CURLOPT_USE_SSL, tls_of(server_, settings_.starttls));
    if (!settings_.user.empty()) {
      transfer.set(CURLOPT_USERNAME, settings_.user.c_str());
      transfer.set(CURLOPT_PASSWORD, password.c_str());
    }
    const std::string from = fmt::format("<{}>", settings_.from);
    transfer.set(CURLOPT_MAIL_FROM, from.c_str());
    for (const std::string& recipient : recipients) {
      transfer.add(fmt::format("<{}>", recipient));
    }
    transfer.use_list(CURLOPT_MAIL_RCPT);
    transfer.set(SAATHII_CURLOPT_MAIL_RCPT_ALLOWFAILS, 1L);
    transfer.set(CURLOPT_UPLOAD, 1L);
    transfer.set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(session.mail.size()));
    transfer.set(CURLOPT_READFUNCTION, &read_mail);
    transfer.set(CURLOPT_READDATA, static_cast<void*>(&session));
    transfer.set(CURLOPT_WRITEFUNCTION, &ignore);
    transfer.set(CURLOPT_DEBUGFUNCTION, &listen);
    transfer.set(CURLOPT_DEBUGDATA, static_cast<void*>(&session));
    transfer.set(CURLOPT_VERBOSE, 1L);
    transfer.set(CURLOPT_XFERINFOFUNCTION, &shall_end);
    transfer.set(CURLOPT_XFERINFODATA, static_cast<void*>(&session));
    transfer.set(CURLOPT_NOPROGRESS, 0L);
  }

  /// What a transfer that failed as a whole means for who is left.
  [[nodiscard]] Verdict judge(CURLcode code, const Transfer& transfer,
                              const Conversation& conversation, const std::string& password) const {
    if (code == CURLE_OK) {
      return {};
    }
    const Reply& last = conversation.last();
    const std::string said = scrub(last.text, {password});
    // Either may be refused for now (454) or for good.
    if (code == CURLE_LOGIN_DENIED && !last.puts_off()) {
      return {Verdict::Kind::refused,
              fmt::format("{} refuses the user or the password ({}): correct user and the "
                          "password's file of [alerts.mail]",
                          place_, said)};
    }
    if (code == CURLE_USE_SSL_FAILED && !last.puts_off()) {
      return {
          Verdict::Kind::refused,
          fmt::format("{} offers no encryption (STARTTLS): see starttls of [alerts.mail]", place_)};
    }
    if (conversation.is_mail_refused()) {
      return {Verdict::Kind::refused, fmt::format("{} refuses the mail: {}", place_, said)};
    }
    const std::string error = scrub(one_line(transfer.error(code), max_reply_bytes), {password});
    return {
        .kind = Verdict::Kind::retry,
        .detail = fmt::format("{}: {}{}", place_, error, last.code >= 400 ? " (" + said + ")" : ""),
        .is_letters_own = last.puts_off() && !conversation.recipients().empty()};
  }

  /// What it means for each recipient, and so for the letter.
  static Verdict account(Delivery& delivery, const std::vector<std::string>& recipients,
                         const Conversation& conversation, bool sent, const Verdict& failed,
                         const std::string& password) {
    std::vector<std::string> put_off;
    bool is_left = false;
    const auto& replies = conversation.recipients();
    for (std::size_t i = 0; i < recipients.size(); ++i) {
      const Reply reply = i < replies.size() ? replies[i] : Reply{};
      const std::string told = fmt::format("{} ({})", recipients[i], scrub(reply.text, {password}));
      if (reply.refuses()) {
        delivery.refused.push_back(told);
      } else if (sent && reply.accepts()) {
        delivery.reached.insert(recipients[i]);
      } else if (reply.code >= 400) {
        put_off.push_back(told);
      } else {
        is_left = true;
      }
    }
    if (!put_off.empty()) {
      return {.kind = Verdict::Kind::retry,
              .detail = fmt::format("the server puts off {}", fmt::join(put_off, ", ")),
              .is_letters_own = true};
    }
    return is_left ? failed : conclude(delivery);
  }

  /// Each recipient has an answer.
  static Verdict conclude(const Delivery& delivery) {
    if (delivery.refused.empty()) {
      return {};
    }
    const std::string told = fmt::format("refused for {}: correct to of [alerts.mail]",
                                         fmt::join(delivery.refused, ", "));
    return {delivery.reached.empty() ? Verdict::Kind::refused : Verdict::Kind::delivered, told};
  }

  const config::AlertMail settings_;
  const std::string ca_file_;
  config::SmtpAddress server_;
  std::string place_;
};

}  // namespace

std::shared_ptr<Channel> make_mail(const config::AlertMail& settings, const std::string& ca_file) {
  return std::make_shared<Mail>(settings, ca_file);
}

}  // namespace saathii::alert
