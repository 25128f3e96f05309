#include <fcntl.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "catch.hpp"
#include "letters.hpp"
#include "tcp_server.hpp"

using namespace saathii;
using namespace saathii::alert;
using namespace std::chrono_literals;
using saathii::alert::test::delivery;
using saathii::test::Line;
using saathii::test::TcpServer;
using saathii::test::Watched;
using Strings = std::vector<std::string>;

namespace {

struct Mail {
  Strings recipients;
  Strings lines;  ///< as sent, without dots stuffed
};

struct Session {
  Strings commands;
  std::vector<Mail> mails;
};

/// A mail server that answers as it is told to: by the command's beginning, else
/// as a good one does.
class SmtpServer {
 public:
  using Script = std::function<std::string(const std::string& command)>;

  explicit SmtpServer(Script script = {})
      : script_(std::move(script)), server_([this](Line& line) { talk(line); }) {}

  [[nodiscard]] std::string place() const { return server_.place(); }
  [[nodiscard]] Strings commands() const { return session_.get().commands; }
  [[nodiscard]] std::vector<Mail> mails() const { return session_.get().mails; }
  [[nodiscard]] bool wait_for(const std::string& command) {
    return session_.wait([&](const Session& session) {
      return std::any_of(session.commands.begin(), session.commands.end(),
                         [&](const auto& each) { return each.starts_with(command); });
    });
  }

 private:
  static std::string usual(const std::string& command) {
    if (command == "connect") return "220 ready";
    if (command.starts_with("EHLO")) return "250-me\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE 1000000";
    if (command == "AUTH PLAIN") return "334 ";
    if (command.starts_with("AHNh")) return "235 welcome";  // "\0sa…" in base64
    if (command == "DATA") return "354 go on";
    if (command == "QUIT") return "221 bye";
    return "250 fine";
  }

  [[nodiscard]] std::string text_for(const std::string& command) const {
    const std::string text = script_ ? script_(command) : "";
    return text.empty() ? usual(command) : text;
  }

  /// "hang" stops answering; what follows a "close" is not read.
  static bool reply(Line& line, const std::string& text) {
    if (text == "hang") {
      line.hang();
      return false;
    }
    if (text == "close") return false;
    line.write(text + "\r\n");
    return true;
  }

  void talk(Line& line) {
    if (!reply(line, text_for("connect"))) return;
    Mail mail;
    for (std::string command; line.read_line(command);) {
      session_.change([&](Session& session) { session.commands.push_back(command); });
      if (command.starts_with("RCPT TO:")) mail.recipients.push_back(command.substr(8));
      const std::string answer = text_for(command);
      if (!reply(line, answer) || command == "QUIT") return;
      if (answer.starts_with("354")) {
        for (std::string text; line.read_line(text) && text != ".";) {
          mail.lines.push_back(text.starts_with("..") ? text.substr(1) : text);
        }
        session_.change([&](Session& session) { session.mails.push_back(mail); });
        if (!reply(line, text_for("end of mail"))) return;
      }
    }
  }

  const Script script_;
  Watched<Session> session_;
  TcpServer server_;  // last: its thread uses the rest
};

/// Answers those commands that begin with a key.
SmtpServer::Script says(std::map<std::string, std::string> answers) {
  return [answers = std::move(answers)](const std::string& command) -> std::string {
    for (const auto& [start, answer] : answers) {
      if (command.starts_with(start)) return answer;
    }
    return "";
  };
}

config::Alerts settings(const std::string& place) {
  config::Alerts alerts;
  alerts.mail.smtp = "smtp://" + place;
  alerts.mail.starttls = config::AlertMail::StartTls::none;
  alerts.mail.from = "saathiid@example.org";
  alerts.mail.to = {"ops@example.org", "night@example.org"};
  alerts.mail.timeout = 60s;
  return alerts;
}

Verdict send(const config::Alerts& alerts) {
  Delivery letter = delivery();
  return make_channel("mail", alerts)->send(letter, {});
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a mail goes to all recipients") {
  SmtpServer server;
  CHECK(send(settings(server.place())).kind == Verdict::Kind::delivered);
  REQUIRE(server.mails().size() == 1);
  const Mail mail = server.mails()[0];
  CHECK(mail.recipients == Strings{"<ops@example.org>", "<night@example.org>"});
  const auto subject = std::find(mail.lines.begin(), mail.lines.end(), "Subject: a failed");
  CHECK(subject != mail.lines.end());
  CHECK(std::find(mail.lines.begin(), mail.lines.end(), "  saathiictl show a") != mail.lines.end());
  const auto commands = server.commands();
  CHECK(std::any_of(commands.begin(), commands.end(), [](const auto& command) {
    return command.starts_with("MAIL FROM:<saathiid@example.org>");
  }));
}

TEST_CASE("a line of one dot is no mail's end") {
  SmtpServer server;
  Letter letter = *delivery().letter;
  letter.body = "before\n.\n..\nafter\n";
  Delivery dots{std::make_shared<const Letter>(letter)};
  CHECK(make_channel("mail", settings(server.place()))->send(dots, {}).kind ==
        Verdict::Kind::delivered);
  const auto lines = server.mails().at(0).lines;
  REQUIRE(lines.size() > 4);
  CHECK(Strings(lines.end() - 4, lines.end()) == Strings{"before", ".", "..", "after"});
}

TEST_CASE("a recipient that is refused keeps the others from nothing, and is told of") {
  SmtpServer server(says({{"RCPT TO:<ops", "550 5.1.1 no such user"}}));
  const auto alerts = settings(server.place());
  const auto channel = make_channel("mail", alerts);
  Delivery letter = delivery();
  const Verdict verdict = channel->send(letter, {});
  CHECK(verdict.kind == Verdict::Kind::delivered);
  CHECK(verdict.detail ==
        "refused for ops@example.org (550 5.1.1 no such user): correct to of "
        "[alerts.mail]");
  CHECK(letter.reached == std::set<std::string>{"night@example.org"});
  CHECK(server.mails().size() == 1);
}

TEST_CASE("recipients that are put off are tried again, alone") {
  Watched<int> tries;
  SmtpServer server([&](const std::string& command) -> std::string {
    if (!command.starts_with("RCPT TO:<night")) return "";
    tries.change([](int& count) { ++count; });
    return tries.get() == 1 ? "450-4.7.1 greylisted\r\n450 4.7.1 come back" : "";
  });
  const auto channel = make_channel("mail", settings(server.place()));
  Delivery letter = delivery();
  const Verdict first = channel->send(letter, {});
  CHECK(first.kind == Verdict::Kind::retry);
  CHECK(first.detail == "the server puts off night@example.org (450 4.7.1 come back)");
  CHECK(channel->send(letter, {}).kind == Verdict::Kind::delivered);
  REQUIRE(server.mails().size() == 2);
  CHECK(server.mails()[1].recipients == Strings{"<night@example.org>"});
}

TEST_CASE("a recipient that is put off is tried again though another is refused") {
  SmtpServer server(says({{"RCPT TO:<ops", "450 busy"}, {"RCPT TO:<night", "550 no"}}));
  const auto channel = make_channel("mail", settings(server.place()));
  Delivery letter = delivery();
  CHECK(channel->send(letter, {}).kind == Verdict::Kind::retry);
  CHECK(letter.refused == Strings{"night@example.org (550 no)"});
  CHECK(letter.reached.empty());
}

TEST_CASE("when all recipients are refused, the mail is") {
  SmtpServer server(says({{"RCPT", "550 relay denied"}}));
  const Verdict verdict = send(settings(server.place()));
  CHECK(verdict.kind == Verdict::Kind::refused);
  CHECK(has(verdict.detail,
            "ops@example.org (550 relay denied), night@example.org (550 relay "
            "denied)"));
  CHECK(server.mails().empty());
}

TEST_CASE("what a mail server says decides whether it is tried again") {
  struct Case {
    std::string command;
    std::string answer;
    Verdict::Kind kind;
  };
  for (const Case& given : std::vector<Case>{
           {"connect", "421 too busy", Verdict::Kind::retry},
           {"connect", "554 not now", Verdict::Kind::retry},
           {"connect", "close", Verdict::Kind::retry},
           {"MAIL", "451 try later", Verdict::Kind::retry},
           {"MAIL", "550 not from you", Verdict::Kind::refused},
           {"RCPT", "450 try later", Verdict::Kind::retry},
           {"DATA", "451 try later", Verdict::Kind::retry},
           {"DATA", "554 no", Verdict::Kind::refused},
           {"DATA", "close", Verdict::Kind::retry},
       }) {
    INFO(given.command << ": " << given.answer);
    SmtpServer server(says({{given.command, given.answer}}));
    const Verdict verdict = send(settings(server.place()));
    INFO(verdict.detail);
    CHECK(verdict.kind == given.kind);
    CHECK_FALSE(verdict.detail.empty());
  }
}

TEST_CASE("only what concerns one letter is its own trouble: others are sent meanwhile") {
  for (const auto& [command, answer, own] : std::vector<std::tuple<std::string, std::string, bool>>{
           {"connect", "421 too busy", false},
           {"MAIL", "451 try later", false},
           {"RCPT TO:<night", "452 mailbox full", true},
           {"DATA", "451 try later", true},
           {"end of mail", "451 cannot be scanned", true},
           {"DATA", "close", false},
       }) {
    INFO(command << ": " << answer);
    SmtpServer server(says({{command, answer}}));
    const Verdict verdict = send(settings(server.place()));
    CHECK(verdict.kind == Verdict::Kind::retry);
    CHECK(verdict.is_letters_own == own);
  }
}

TEST_CASE("encryption and login that are refused for now are tried again") {
  std::string path = (std::filesystem::temp_directory_path() / "saathii-alert-XXXXXX").string();
  REQUIRE(::mkdtemp(path.data()) != nullptr);
  std::ofstream(path + "/password") << "hunter2\n";
  SmtpServer busy(
      says({{"EHLO", "250-me\r\n250 STARTTLS"}, {"STARTTLS", "454 TLS not available"}}));
  auto alerts = settings(busy.place());
  alerts.mail.starttls = config::AlertMail::StartTls::required;
  const Verdict later = send(alerts);
  CHECK(later.kind == Verdict::Kind::retry);
  CHECK_FALSE(later.is_letters_own);
  CHECK(has(later.detail, "454 TLS not available"));
  CHECK(busy.mails().empty());
  SmtpServer never(says({{"EHLO", "250-me\r\n250 STARTTLS"}, {"STARTTLS", "554 no"}}));
  alerts.mail.smtp = "smtp://" + never.place();
  CHECK(send(alerts).kind == Verdict::Kind::refused);

  SmtpServer login(says({{"AUTH", "454 4.7.0 hunter2 cannot be looked up now"}}));
  alerts = settings(login.place());
  alerts.mail.user = "saathiid";
  alerts.mail.password.credential = path + "/password";
  const Verdict denied = send(alerts);
  CHECK(denied.kind == Verdict::Kind::retry);
  CHECK(has(denied.detail, "454 4.7.0 *** cannot be looked up now"));
  std::filesystem::remove_all(path);
}

TEST_CASE("a mail that the server refuses in the end") {
  SmtpServer spam(says({{"end of mail", "554 5.7.1 looks like spam"}}));
  CHECK(send(settings(spam.place())).kind == Verdict::Kind::refused);
  SmtpServer other(says({{"connect", "this is no mail server"}}));
  auto alerts = settings(other.place());
  alerts.mail.timeout = 100ms;
  CHECK(send(alerts).kind == Verdict::Kind::retry);
  SmtpServer full(says({{"end of mail", "452 4.3.1 no room"}}));
  const Verdict verdict = send(settings(full.place()));
  CHECK(verdict.kind == Verdict::Kind::retry);
  CHECK(has(verdict.detail, "452 4.3.1 no room"));
}

TEST_CASE("a mail server that is not there is tried again") {
  const std::string place = saathii::test::refused_place();
  const Verdict verdict = send(settings(place));
  CHECK(verdict.kind == Verdict::Kind::retry);
  CHECK(verdict.detail.starts_with(place));
}

TEST_CASE("a mail server that stops answering costs the time limit, wherever it does") {
  for (const auto* command : {"connect", "EHLO", "MAIL", "RCPT", "DATA", "end of mail"}) {
    INFO(command);
    SmtpServer server(says({{command, "hang"}}));
    auto alerts = settings(server.place());
    alerts.mail.timeout = 100ms;
    const Verdict verdict = send(alerts);
    INFO(verdict.detail);
    CHECK(verdict.kind == Verdict::Kind::retry);
  }
}

TEST_CASE("a mail server that does not say goodbye has got the mail") {
  SmtpServer server(says({{"QUIT", "hang"}}));
  CHECK(send(settings(server.place())).kind == Verdict::Kind::delivered);
  CHECK(server.mails().size() == 1);
}

TEST_CASE("a stop breaks off what hangs") {
  SmtpServer server(says({{"MAIL", "hang"}}));
  auto alerts = settings(server.place());
  alerts.mail.timeout = 1h;
  const auto channel = make_channel("mail", alerts);
  std::stop_source stop;
  Verdict verdict;
  std::thread sender([&] {
    Delivery letter = delivery();
    verdict = channel->send(letter, stop.get_token());
  });
  CHECK(server.wait_for("MAIL"));
  stop.request_stop();
  sender.join();
  CHECK(verdict.kind == Verdict::Kind::retry);
}

TEST_CASE("encryption that is required is not done without") {
  SmtpServer server;
  auto alerts = settings(server.place());
  alerts.mail.starttls = config::AlertMail::StartTls::required;
  const Verdict verdict = send(alerts);
  CHECK(verdict.kind == Verdict::Kind::refused);
  CHECK(has(verdict.detail, "STARTTLS"));
  CHECK(server.mails().empty());
  alerts.mail.starttls = config::AlertMail::StartTls::optional;
  CHECK(send(alerts).kind == Verdict::Kind::delivered);
  CHECK(server.mails().size() == 1);
}

TEST_CASE("a mail server's password comes from its file, and never out of it") {
  std::string folder = (std::filesystem::temp_directory_path() / "saathii-alert-XXXXXX").string();
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  SmtpServer server(says({{"AUTH", "535 5.7.8 hunter2 is wrong"}}));
  auto alerts = settings(server.place());
  alerts.mail.user = "saathiid";
  const Verdict none = send(alerts);
  CHECK(none.kind == Verdict::Kind::retry);
  CHECK(has(none.detail, "there is no password"));
  alerts.mail.password.credential = folder + "/smtp.password";
  std::ofstream(alerts.mail.password.credential) << "hunter2\n";
  const Verdict wrong = send(alerts);
  CHECK(wrong.kind == Verdict::Kind::refused);
  CHECK(has(wrong.detail, "535 5.7.8 *** is wrong"));
  CHECK_FALSE(has(wrong.detail, "hunter2"));

  SmtpServer good;
  alerts.mail.smtp = "smtp://" + good.place();
  CHECK(send(alerts).kind == Verdict::Kind::delivered);
  const auto commands = good.commands();
  // "\0saathiid\0hunter2" in base64.
  CHECK(std::any_of(commands.begin(), commands.end(),
                    [](const auto& command) { return has(command, "AHNhYXRoaWlkAGh1bnRlcjI="); }));
  std::filesystem::remove_all(folder);
}
