#include "saathii/http/server.hpp"

#include <sys/stat.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <filesystem>
#include <fstream>
#include <future>
#include <stdexcept>
#include <thread>

#include "base/capture_stderr.hpp"
#include "catch.hpp"
#include "client.hpp"

namespace saathii::http {

namespace {

namespace asio = boost::asio;
using test::Answer;
using test::Client;
using namespace std::chrono_literals;

constexpr const char* any_port = "127.0.0.1:0";
constexpr std::size_t big_bytes = std::size_t{32} * 1024 * 1024;

/// A server on a loop that a thread of its own runs.
class Running {
 public:
  explicit Running(const std::string& address, Limits limits = {})
      : server_(loop_.get_executor(),
                {{"/hello",
                  [this] {
                    ++hellos;
                    return Response{200, "text/plain", "hello\n"};
                  }},
                 {"/sick",
                  [] {
                    return Response{503, "application/json", "{}"};
                  }},
                 {"/big",
                  [] {
                    return Response{200, "text/plain", std::string(big_bytes, 'x')};
                  }},
                 {"/fault",
                  []() -> Response { throw std::runtime_error("what only the log may say"); }}},
                limits),
        work_(loop_.get_executor()) {
    server_.configure(address);
    address_ = server_.address();
    thread_ = std::thread([this] { loop_.run(); });
  }
  // NOLINTNEXTLINE(bugprone-exception-escape): the test is over then.
  ~Running() {
    on_loop([&] { server_.close(); });
    work_.reset();
    thread_.join();  // the loop has nothing left to wait for
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  [[nodiscard]] const std::string& address() const { return address_; }

  template <typename Act>
  void on_loop(Act&& act) {
    std::promise<void> done;
    asio::post(loop_, [&] {
      act();
      done.set_value();
    });
    done.get_future().get();
  }

  void configure(const std::string& address) { server_.configure(address); }

  std::atomic<int> hellos{0};

 private:
  asio::io_context loop_;
  Server server_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::string address_;
  std::thread thread_;
};

/// A folder of the test's own, with a short name, as a socket's path must be.
class Folder {
 public:
  Folder() {
    char name[] = "/tmp/saathii-http-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// Runs the loop on this thread until `condition` holds: no clients here.
template <typename Condition>
bool run_until(asio::io_context& loop, Condition&& condition) {
  const auto give_up = std::chrono::steady_clock::now() + 60s;
  while (!condition() && std::chrono::steady_clock::now() < give_up) {
    loop.run_one_for(1s);
  }
  return condition();
}

}  // namespace

TEST_CASE("http: GET and HEAD of a page, many on one connection") {
  Running server(any_port);
  Client client(server.address());
  const Answer got = client.get("/hello");
  CHECK(got.status() == 200);
  CHECK(got.head.starts_with("HTTP/1.1 200 OK\r\n"));
  CHECK(got.body == "hello\n");
  CHECK(got.field("Content-Type") == "text/plain");
  CHECK(got.field("Cache-Control") == "no-store");
  CHECK(got.field("Date").ends_with(" GMT"));
  CHECK(client.get("/hello?x=1&y").body == "hello\n");

  client.send("HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /sick HTTP/1.1\r\nHost: x\r\n\r\n");
  const Answer head = client.read(false);
  CHECK(head.status() == 200);
  CHECK(head.field("Content-Length") == "6");
  const Answer sick = client.read();
  CHECK(sick.status() == 503);
  CHECK(sick.body == "{}");
}

TEST_CASE("http: the index names the pages") {
  Running server("[::1]:0");
  CHECK(server.address().starts_with("[::1]:"));
  const Answer index = Client(server.address()).get("/");
  CHECK(index.status() == 200);
  CHECK(index.body.find("href=\"/hello\"") != std::string::npos);
}

TEST_CASE("http: what it does not answer, and that it goes on after it") {
  struct Case {
    const char* request;
    int status;
    bool goes_on;
  };
  const std::string long_header =
      "GET /hello HTTP/1.1\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n";
  const std::vector<Case> cases = {
      {"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404, true},
      {"GET /hello/ HTTP/1.1\r\nHost: x\r\n\r\n", 404, true},
      {"GET http://x/hello HTTP/1.1\r\nHost: x\r\n\r\n", 404, true},
      {"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405, true},
      {"DELETE /hello HTTP/1.1\r\nHost: x\r\n\r\n", 405, true},
      {"BREW /hello HTTP/1.1\r\nHost: x\r\n\r\n", 405, true},
      {"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 413, false},
      {"GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", 413, false},
      {"GET /hello HTTP/1.1\r\nContent-Length: 9\r\nContent-Length: 8\r\n\r\n", 400, false},
      {"POST /hello HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 413,
       false},
      {"\x16\x03\x01\x02\x01\r\n\r\n", 400, false},
      {"GET /hello\r\n\r\n", 400, false},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, false},
      {long_header.c_str(), 431, false},
      {"GET /hello HTTP/1.0\r\n\r\n", 200, false},
      {"GET /hello HTTP/1.1\r\nConnection: close\r\n\r\n", 200, false},
      {"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, true},
  };
  Running server(any_port);
  for (const Case& given : cases) {
    INFO(given.request);
    Client client(server.address());
    client.send(given.request);
    const Answer answer = client.read();
    CHECK(answer.status() == given.status);
    CHECK((answer.field("Allow") == "GET, HEAD") == (given.status == 405));
    CHECK_FALSE(answer.body.empty());
    if (given.goes_on) {
      CHECK(client.get("/hello").status() == 200);
    } else {
      CHECK(client.is_closed());
    }
  }
}

TEST_CASE("http: a page that throws costs that answer alone, and tells nothing") {
  const CaptureStderr log;
  Running server(any_port);
  Client client(server.address());
  const Answer answer = client.get("/fault");
  CHECK(answer.status() == 500);
  CHECK(answer.body.find("only the log") == std::string::npos);
  CHECK(client.get("/hello").status() == 200);
  CHECK(log.text().find("/fault cannot be answered: what only the log may say") !=
        std::string::npos);
}

TEST_CASE("http: a connection has so many requests") {
  Running server(any_port, {.requests = 2});
  Client client(server.address());
  CHECK(client.get("/hello").field("Connection").empty());
  CHECK(client.get("/hello").field("Connection") == "close");
  CHECK(client.is_closed());
}

TEST_CASE("http: who says nothing is not waited for") {
  Running server(any_port, {.idle = 20ms, .request = 1h});
  Client silent(server.address());
  CHECK(silent.is_closed());
}

TEST_CASE("http: who says only half of it is not waited for") {
  Running server(any_port, {.idle = 1h, .request = 20ms});
  Client slow(server.address());
  slow.send("GET /hello HTTP/1.1\r\nHos");
  CHECK(slow.is_closed());
  CHECK(server.hellos == 0);
}

TEST_CASE("http: who does not read an answer is not waited for") {
  // The second is let in only after the first has been given up.
  Running server(any_port, {.connections = 1, .response = 20ms});
  Client deaf(server.address());
  deaf.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
  REQUIRE(deaf.read(false).status() == 200);
  Client second(server.address());
  CHECK(second.get("/hello").status() == 200);
  CHECK(deaf.read_to_the_end() < big_bytes);
}

TEST_CASE("http: for one client more, the one that was idle longest makes room") {
  Running server(any_port, {.connections = 2, .idle = 1h});
  Client older(server.address());
  Client newer(server.address());
  CHECK(newer.get("/hello").status() == 200);
  CHECK(older.get("/hello").status() == 200);
  CHECK(newer.get("/hello").status() == 200);
  Client third(server.address());
  CHECK(third.get("/hello").status() == 200);
  CHECK(older.is_closed());
  CHECK(newer.get("/hello").status() == 200);
  Client fourth(server.address());
  CHECK(fourth.get("/hello").status() == 200);
  CHECK(third.is_closed());
  CHECK(newer.get("/hello").status() == 200);
}

TEST_CASE("http: clients that are busy make no room, until they are idle") {
  Running server(any_port, {.connections = 1, .idle = 1h, .response = 1h});
  Client busy(server.address());
  busy.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
  REQUIRE(busy.read(false).status() == 200);
  Client waiting(server.address());
  REQUIRE(waiting.is_connected());
  waiting.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(busy.read_bytes(big_bytes) == big_bytes);
  CHECK(waiting.read().status() == 200);
  CHECK(busy.is_closed());
}

TEST_CASE("http: a Unix socket is for the user and the group, and goes at the end") {
  const Folder folder;
  const std::string path = folder.file("http.sock");
  {
    Running server("unix:" + path);
    CHECK(server.address() == "unix:" + path);
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 07777U) == 0660U);
    CHECK(Client("unix:" + path).get("/hello").status() == 200);
  }
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("http: a socket that a crash left behind is replaced, one in use is waited for") {
  const Folder folder;
  const std::string path = folder.file("http.sock");
  const int left = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::strncpy(name.sun_path, path.c_str(), sizeof name.sun_path - 1);
  REQUIRE(::bind(left, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
  REQUIRE(::listen(left, 1) == 0);

  const CaptureStderr log;
  asio::io_context loop;
  Server server(loop.get_executor(), {}, {.retry = 1ms, .retry_cap = 2ms});
  server.configure("unix:" + path);
  CHECK(server.address().empty());
  int tries = 0;
  CHECK(run_until(loop, [&] { return ++tries > 5; }));
  CHECK(server.address().empty());
  ::close(left);
  CHECK(run_until(loop, [&] { return !server.address().empty(); }));
  server.close();
  loop.run();
  const std::string text = log.text();
  const auto said = text.find("another program answers there");
  CHECK(said != std::string::npos);
  CHECK(text.find("another program answers there", said + 1) == std::string::npos);
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("http: a file that is no socket is left alone") {
  const Folder folder;
  const std::string path = folder.file("precious");
  std::ofstream(path) << "data";
  const CaptureStderr log;
  asio::io_context loop;
  {
    Server server(loop.get_executor(), {});
    server.configure("unix:" + path);
    CHECK(server.address().empty());
    CHECK(log.text().find("no socket") != std::string::npos);
    server.configure("unix:" + folder.file("none/http.sock"));
    CHECK(server.address().empty());
    CHECK(log.text().find("No such file or directory") != std::string::npos);
  }
  loop.run();
  CHECK(std::filesystem::file_size(path) == 4);
}

TEST_CASE("http: a socket's file that another has put there since is not removed") {
  const Folder folder;
  const std::string path = folder.file("http.sock");
  asio::io_context loop;
  Server server(loop.get_executor(), {});
  server.configure("unix:" + path);
  std::filesystem::remove(path);
  Server successor(loop.get_executor(), {});
  successor.configure("unix:" + path);
  server.close();
  CHECK(std::filesystem::exists(path));
}

TEST_CASE("http: an address in use is reported, and taken when it is free") {
  const CaptureStderr log;
  asio::io_context loop;
  Server holder(loop.get_executor(), {});
  holder.configure(any_port);
  const std::string address = holder.address();
  Server server(loop.get_executor(), {}, {.retry = 1ms, .retry_cap = 2ms});
  server.configure(address);
  CHECK(server.address().empty());
  CHECK(log.text().find("cannot listen on " + address + ": cannot listen there: Address already") !=
        std::string::npos);
  holder.close();
  CHECK(run_until(loop, [&] { return server.address() == address; }));
}

TEST_CASE("http: another address takes the place of the first one, or none does") {
  Running server(any_port);
  Client before(server.address());
  CHECK(before.get("/hello").status() == 200);
  const Folder folder;
  server.on_loop([&] { server.configure("unix:" + folder.file("http.sock")); });
  CHECK(before.is_closed());
  CHECK_FALSE(Client(server.address()).is_connected());
  Client after("unix:" + folder.file("http.sock"));
  CHECK(after.get("/hello").status() == 200);
  server.on_loop([&] { server.configure("unix:" + folder.file("http.sock")); });
  CHECK(after.get("/hello").status() == 200);
  server.on_loop([&] { server.configure(""); });
  CHECK(after.is_closed());
  CHECK_FALSE(Client("unix:" + folder.file("http.sock")).is_connected());
}

TEST_CASE("http: an address of others is refused") {
  asio::io_context loop;
  Server server(loop.get_executor(), {});
  CHECK_THROWS_AS(server.configure("0.0.0.0:9464"), std::invalid_argument);
  CHECK(server.address().empty());
}

TEST_CASE("http: a loop that ends with clients still there leaves nothing behind") {
  asio::io_context loop;
  Server server(loop.get_executor(), {});
  server.configure(any_port);
  Client client(server.address());
  client.send("GET / HTTP/1.1\r\nHos");
  int steps = 0;
  CHECK(run_until(loop, [&] { return ++steps > 3; }));
}

}  // namespace saathii::http
