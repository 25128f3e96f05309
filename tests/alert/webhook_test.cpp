#include <fcntl.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>
#include <thread>
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

namespace {

struct HttpRequest {
  std::string target;
  std::vector<std::string> headers;
  std::string body;

  [[nodiscard]] bool has(const std::string& header) const {
    return std::find(headers.begin(), headers.end(), header) != headers.end();
  }
};

/// Answers each request with the next of `answers`, the last one again and again.
class HttpServer {
 public:
  explicit HttpServer(std::vector<std::string> answers)
      : answers_(std::move(answers)), server_([this](Line& line) { talk(line); }) {}

  [[nodiscard]] std::string place() const { return server_.place(); }
  [[nodiscard]] std::vector<HttpRequest> requests() const { return requests_.get(); }

 private:
  void talk(Line& line) {
    HttpRequest request;
    std::string text;
    if (!line.read_line(request.target)) return;
    std::size_t length = 0;
    while (line.read_line(text) && !text.empty()) {
      if (text.starts_with("Content-Length: ")) length = std::stoul(text.substr(16));
      request.headers.push_back(text);
    }
    line.read_bytes(length, request.body);
    std::size_t number = 0;
    requests_.change([&](auto& all) {
      number = all.size();
      all.push_back(request);
    });
    const std::string& answer = answers_[std::min(number, answers_.size() - 1)];
    line.write("HTTP/1.1 " + answer);
  }

  const std::vector<std::string> answers_;
  Watched<std::vector<HttpRequest>> requests_;
  TcpServer server_;  // last: its thread uses the rest
};

std::string answer(const std::string& status, const std::string& body = "",
                   const std::string& header = "") {
  return status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + header +
         "Connection: close\r\n\r\n" + body;
}

std::shared_ptr<Channel> webhook(const std::string& url, Duration timeout = 60s) {
  // Else a proxy of the machine's would be asked.
  ::setenv("no_proxy", "127.0.0.1", 1);
  config::Alerts settings;
  settings.webhook.url = url;
  settings.webhook.timeout = timeout;
  return make_channel("webhook", settings);
}

Verdict send(Channel& channel) {
  Delivery letter = delivery();
  return channel.send(letter, {});
}

}  // namespace

TEST_CASE("a webhook gets the alert as JSON") {
  const HttpServer server({answer("200 OK", "ok")});
  const auto channel = webhook("http://" + server.place() + "/T/x?y=z");
  CHECK(send(*channel).kind == Verdict::Kind::delivered);
  const auto requests = server.requests();
  REQUIRE(requests.size() == 1);
  CHECK(requests[0].target == "POST /T/x?y=z HTTP/1.1");
  CHECK(requests[0].has("Content-Type: application/json"));
  CHECK(nlohmann::json::parse(requests[0].body)["title"] == "a failed");
}

TEST_CASE("a webhook's answers: which are worth another try, and what to do about the others") {
  const HttpServer server({answer("503 Busy", "", "Retry-After: 7\r\n"), answer("429 Slow down"),
                           answer("500 Oops"), answer("408 Late"), answer("302 Found"),
                           answer("403 Forbidden", "invalid_token\r\nmore"), answer("404 Gone"),
                           answer("204 No content")});
  const auto channel = webhook("http://" + server.place() + "/hook");
  const Verdict busy = send(*channel);
  CHECK(busy.kind == Verdict::Kind::retry);
  CHECK(busy.wait == 7s);
  CHECK(busy.is_letters_own);
  CHECK(busy.detail == server.place() + " answered 503");
  for (int i = 0; i < 3; ++i) {
    CHECK(send(*channel).kind == Verdict::Kind::retry);
  }
  CHECK(send(*channel).kind == Verdict::Kind::refused);
  const Verdict forbidden = send(*channel);
  CHECK(forbidden.kind == Verdict::Kind::refused);
  CHECK(forbidden.detail == server.place() +
                                " answered 403 (invalid_token  more): correct url or the token of "
                                "[alerts.webhook]");
  CHECK(send(*channel).kind == Verdict::Kind::refused);
  CHECK(send(*channel).kind == Verdict::Kind::delivered);
}

TEST_CASE("a webhook's token is read for each try, and never told") {
  const HttpServer server(
      {answer("401 Unauthorized", "bad token s3cret-two of /the-path"), answer("200 OK")});
  ::setenv("no_proxy", "127.0.0.1", 1);
  std::string folder = (std::filesystem::temp_directory_path() / "saathii-alert-XXXXXX").string();
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  const std::string file = folder + "/token";
  config::Alerts settings;
  settings.webhook.url = "http://" + server.place() + "/the-path";
  settings.webhook.token.file = file;
  const auto channel = make_channel("webhook", settings);
  const Verdict missing = send(*channel);
  CHECK(missing.kind == Verdict::Kind::retry);
  CHECK(missing.detail == "the token file " + file +
                              " does not exist: write the token into it, or correct token_file");
  CHECK(server.requests().empty());
  const auto write = [&](const std::string& token) { std::ofstream(file) << token << "\n"; };
  write("s3cret-two");
  const Verdict wrong = send(*channel);
  CHECK(wrong.kind == Verdict::Kind::refused);
  CHECK(wrong.detail.find("bad token *** of /***") != std::string::npos);
  write("right");
  CHECK(send(*channel).kind == Verdict::Kind::delivered);
  CHECK(server.requests().at(0).has("Authorization: Bearer s3cret-two"));
  CHECK(server.requests().at(1).has("Authorization: Bearer right"));
  std::filesystem::remove_all(folder);
}

TEST_CASE("a webhook's token is not sent where anybody on the way can read it") {
  std::string folder = (std::filesystem::temp_directory_path() / "saathii-alert-XXXXXX").string();
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  config::Alerts settings;
  settings.webhook.url = "http://host.invalid/hook";
  settings.webhook.token.credential = folder + "/webhook.token";
  std::ofstream(settings.webhook.token.credential) << "s3cret-two\n";
  const Verdict verdict = send(*make_channel("webhook", settings));
  CHECK(verdict.kind == Verdict::Kind::refused);
  CHECK(verdict.detail.find("https://") != std::string::npos);
  CHECK(verdict.detail.find("s3cret") == std::string::npos);
  std::filesystem::remove_all(folder);
}

TEST_CASE("a webhook that is not there, or that speaks nonsense, is tried again") {
  const auto gone = webhook("http://" + saathii::test::refused_place() + "/sEcReT");
  const Verdict refused = send(*gone);
  CHECK(refused.kind == Verdict::Kind::retry);
  CHECK_FALSE(refused.is_letters_own);
  CHECK(refused.detail.find("127.0.0.1") != std::string::npos);
  CHECK(refused.detail.find("sEcReT") == std::string::npos);
  const TcpServer nonsense([](Line& line) {
    line.write("220 I am a mail server\r\n");
    line.hang();
  });
  CHECK(send(*webhook("http://" + nonsense.place() + "/")).kind == Verdict::Kind::retry);
  const TcpServer closes([](Line&) {});
  CHECK(send(*webhook("http://" + closes.place() + "/")).kind == Verdict::Kind::retry);
  // Plain text where TLS is expected.
  CHECK(send(*webhook("https://" + nonsense.place() + "/")).kind == Verdict::Kind::retry);
}

TEST_CASE("a webhook that never answers costs its time limit, and nothing once it is stopped") {
  Watched<int> connected;
  const TcpServer server([&](Line& line) {
    connected.change([](int& count) { ++count; });
    line.hang();
  });
  const Verdict late = send(*webhook("http://" + server.place() + "/", 50ms));
  CHECK(late.kind == Verdict::Kind::retry);
  CHECK(late.detail.find("imed out") != std::string::npos);

  const auto patient = webhook("http://" + server.place() + "/", 1h);
  std::stop_source stop;
  Verdict stopped;
  std::thread sender([&] {
    Delivery letter = delivery();
    stopped = patient->send(letter, stop.get_token());
  });
  CHECK(connected.wait([](int count) { return count == 2; }));
  stop.request_stop();
  sender.join();
  CHECK(stopped.kind == Verdict::Kind::retry);
}

TEST_CASE("an endless answer is no more than its beginning") {
  const HttpServer server({"400 Bad\r\nConnection: close\r\n\r\n" + std::string(1 << 20, 'x')});
  const Verdict verdict = send(*webhook("http://" + server.place() + "/"));
  CHECK(verdict.kind == Verdict::Kind::refused);
  CHECK(verdict.detail.size() < 500);
}
