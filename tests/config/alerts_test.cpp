#include <string>
#include <vector>

#include "catch.hpp"
#include "kinds.hpp"
#include "saathii/config/alert_url.hpp"
#include "saathii/config/loader.hpp"

using namespace saathii;
using saathii::test::kinds;

namespace {

config::Loaded load(const std::string& toml, const config::Environment& environment) {
  return config::parse("postgres.url = \"postgresql://db\"\n" + toml, "f", kinds(), environment);
}

std::vector<std::string> problems_of(const std::string& toml) {
  std::vector<std::string> problems;
  for (const auto& problem : load(toml, test::no_environment()).problems) {
    problems.push_back(problem.to_string());
  }
  return problems;
}

const std::string whole = R"([alerts]
on = ["failed", "recovered"]
jobs = ["sweep"]
repeat_after = "1h"

[alerts.command]
run = ["/usr/local/bin/page-me", "--urgent"]

[alerts.webhook]
url = "https://hooks.example.org/T0/B0/sEcReT?key=alsoSecret"
token_file = "/etc/saathii/webhook.token"
token_header = "X-Token: {token}"

[alerts.mail]
smtp = "smtp://mail.example.org:587"
from = "saathiid@example.org"
to = ["ops@example.org", "night+saathii@example.org"]
user = "saathiid"
password_file = "/etc/saathii/smtp.password"
)";

}  // namespace

TEST_CASE("alerts are read, and printed without what is secret") {
  const auto loaded = load(whole, test::no_environment());
  for (const auto& problem : loaded.problems) FAIL(problem.to_string());
  const config::Alerts& alerts = loaded.config->alerts;
  CHECK(alerts.on == std::vector<std::string>{"failed", "recovered"});
  CHECK(alerts.repeat_after == std::chrono::hours{1});
  CHECK(alerts.command.run.size() == 2);
  CHECK(alerts.webhook.token.file == "/etc/saathii/webhook.token");
  CHECK(alerts.mail.starttls == config::AlertMail::StartTls::required);
  CHECK(alerts.mail.to.size() == 2);

  const std::string printed = config::print(*loaded.config, kinds());
  CHECK(printed.find("url = \"https://hooks.example.org/***\"") != std::string::npos);
  for (const auto* secret : {"sEcReT", "alsoSecret", "T0/B0"}) {
    CHECK(printed.find(secret) == std::string::npos);
  }
  const auto again = config::parse(printed, "printed", kinds(), test::no_environment());
  for (const auto& problem : again.problems) FAIL(problem.to_string());
  CHECK(config::print(*again.config, kinds()) == printed);
}

TEST_CASE("the service manager's credentials are where alerts look for secrets") {
  const config::Environment environment = [](std::string_view name) -> std::optional<std::string> {
    return name == "CREDENTIALS_DIRECTORY" ? std::optional<std::string>("/run/credentials/x")
                                           : std::nullopt;
  };
  const auto loaded = load("", environment);
  REQUIRE(loaded.config);
  CHECK(loaded.config->alerts.mail.password.credential == "/run/credentials/x/smtp.password");
  CHECK(loaded.config->alerts.webhook.token.credential == "/run/credentials/x/webhook.token");
}

TEST_CASE("what cannot work as an alert is told with its place") {
  using Problems = std::vector<std::string>;
  const std::string mail =
      "[alerts.mail]\nsmtp = \"smtp://mail\"\nfrom = \"a@b\"\nto = [\"c@d\"]\n";
  CHECK(problems_of(mail) == Problems{});
  CHECK(problems_of("[alerts]\njobs = [\"swep\"]") ==
        Problems{"f:3:8: alerts.jobs: there is no job \"swep\"; did you mean \"sweep\"?"});
  CHECK(problems_of("[alerts]\non = [\"failing\"]").size() == 1);
  CHECK(problems_of("[alerts.command]\nrun = [\"page-me\"]") ==
        Problems{"f:3:7: alerts.command.run: found the program \"page-me\"; allowed: its absolute "
                 "path, such as \"/usr/local/bin/page-me\""});
  CHECK(problems_of("[alerts.webhook]\ntoken_header = \"Bearer\"").size() == 1);
  CHECK(problems_of("[alerts.webhook]\ntoken_header = \"X: {token}\\r\\nY: 1\"").size() == 1);
  CHECK(problems_of("[alerts.mail]\nsmtp = \"smtp://mail\"") ==
        Problems{"f:3:8: alerts.mail.from: found \"\"; allowed: an address such as "
                 "\"ops@example.org\"",
                 "f:3:8: alerts.mail.to: missing; give the addresses that alerts go to, such as "
                 "[\"ops@example.org\"]"});
  CHECK(problems_of("[alerts.mail]\nto = [\"c@d\"]") ==
        Problems{"f:3:6: alerts.mail.to: nothing says by which server; allowed: with "
                 "alerts.mail.smtp, such as \"smtps://mail.example.org\""});
  // One error of a server is enough.
  CHECK(problems_of("[alerts.mail]\nsmtp = \"mail\"\nfrom = \"a@b\"\nto = [\"c@d\"]") ==
        Problems{"f:3:8: alerts.mail.smtp: found another scheme or none; allowed: "
                 "smtps://host[:port] or smtp://host[:port]"});
  const std::string token = "\ntoken_file = \"/p\"";
  CHECK(problems_of("[alerts.webhook]\nurl = \"http://host/x\"" + token) ==
        Problems{"f:3:7: alerts.webhook.url: the token would be sent where anybody on the way can "
                 "read it; allowed with a token: https://, or http:// to this host alone"});
  CHECK(problems_of("[alerts.webhook]\nurl = \"http://host/x\"") == Problems{});
  CHECK(problems_of("[alerts.webhook]\nurl = \"https://host/x\"" + token) == Problems{});
  CHECK(problems_of("[alerts.webhook]\nurl = \"http://127.0.0.1:8080\"" + token) == Problems{});
  CHECK(problems_of(mail + "password_file = \"/p\"").size() == 1);
  CHECK(problems_of(mail + "user = \"u\"") == Problems{});
  CHECK(problems_of(mail + "user = \"u\"\nstarttls = \"optional\"") ==
        Problems{"f:7:12: alerts.mail.starttls: the password would be sent where anybody on the "
                 "way can read it; allowed with a user: \"required\", or smtps://"});
  // A secret in the wrong place is not repeated.
  for (const std::string& wrong :
       {std::string("[alerts.mail]\nsmtp = \"smtp://u:hunter2@mail\""),
        std::string("[alerts.mail]\npassword_file = \"hunter2\""),
        std::string("[alerts.webhook]\nurl = \"ftp://hunter2\""),
        std::string("[alerts.webhook]\nurl = \"https://u:hunter2@host/\""),
        std::string("[alerts.webhook]\nurl = \"https://host/hunter2 x\"")}) {
    const auto problems = problems_of(wrong);
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].find("hunter2") == std::string::npos);
  }
}

TEST_CASE("an address that could smuggle in a header or another recipient is none") {
  for (const auto* good : {"a@b", "first.last+tag@mail.example.org", "o'hara@example.org"}) {
    CHECK(config::is_mail_address(good));
  }
  for (const std::string bad :
       {"", "a", "@b", "a@", "a@b@c", "a b@c", "a@b c", "a@b,c@d", "<a@b>", "a@b>",
        "a@b\r\nBcc: c@d", "a\n@b", "a@b\n", "\xC3\xA4@b", "a@b;c", "a\"@b"}) {
    INFO(bad);
    CHECK_FALSE(config::is_mail_address(bad));
  }
  CHECK_FALSE(config::is_mail_address(std::string(65, 'a') + "@b"));
}

TEST_CASE("SMTP servers") {
  std::string error;
  const auto plain = config::parse_smtp_url("smtp://mail", error);
  REQUIRE(plain);
  CHECK((!plain->tls && plain->host == "mail" && plain->port == 25 && !plain->is_local()));
  const auto secure = config::parse_smtp_url("smtps://[::1]/", error);
  REQUIRE(secure);
  CHECK((secure->tls && secure->host == "[::1]" && secure->port == 465 && secure->is_local()));
  for (const auto* bad :
       {"", "mail", "http://mail", "smtp://", "smtp://:25", "smtp://mail:0", "smtp://mail:65536",
        "smtp://mail:x", "smtp://mail/path", "smtp://[::1", "smtp://a@mail", "smtp://ma il"}) {
    INFO(bad);
    error.clear();
    CHECK_FALSE(config::parse_smtp_url(bad, error));
    CHECK(error.find("allowed:") != std::string::npos);
  }
}

TEST_CASE("where a secret can be sent") {
  for (const auto* good : {"https://h.example/x", "http://localhost/x", "http://127.0.0.1:80?x",
                           "http://[::1]:80/x"}) {
    INFO(good);
    CHECK(config::keeps_secrets(good));
  }
  for (const auto* bad : {"http://h.example/x", "http://127.example.org/", "http://10.0.0.1",
                          "http://localhost.example.org/"}) {
    INFO(bad);
    CHECK_FALSE(config::keeps_secrets(bad));
  }
}

TEST_CASE("webhook URLs are shown without their path") {
  const auto mask = config::mask_webhook_url;
  CHECK(mask("https://h.example/T/B/x") == "https://h.example/***");
  CHECK(mask("http://127.0.0.1:8080/?k=v") == "http://127.0.0.1:8080/***");
  CHECK(mask("https://h?k=v") == "https://h/***");
  CHECK(mask("https://h/") == "https://h/");
  CHECK(mask("https://h") == "https://h");
  CHECK(mask("https://u:p@h/x") == "***");
  CHECK(mask("no url") == "***");
}
