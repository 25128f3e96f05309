#include "saathii/redis/client.hpp"

#include <chrono>
#include <string>
#include <vector>

#include "../support/redis_server.hpp"
#include "../support/temporary_file.hpp"
#include "catch.hpp"
#include "saathii/base/errors.hpp"
#include "scripted_server.hpp"

using namespace std::chrono_literals;
using saathii::ServerState;
using saathii::Unavailable;
using saathii::redis::Client;
using saathii::redis::Command;
using saathii::redis::Reply;
using saathii::test::RedisServer;
using saathii::test::ScriptedServer;
using saathii::test::TemporaryFile;

namespace {

/// Time enough for a healthy server on a loaded machine.
saathii::config::Redis patient(const std::string& url) { return {url, 30s, 30s}; }
/// For a server that will not answer.
saathii::config::Redis hasty(const std::string& url) { return {url, 100ms, 100ms}; }

/// A backoff clock that the test moves.
struct Hands {
  std::chrono::steady_clock::time_point now{};
  Client::Clock clock() {
    return [this] { return now; };
  }
};

std::string failure_of(Client& client, const Command& command = {"PING"}) {
  try {
    client.command(command);
  } catch (const Unavailable& error) {
    CHECK(error.server() == "redis");
    CHECK(client.state().snapshot().state == ServerState::State::down);
    return error.what();
  }
  return "(no failure)";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("replies have their kinds") {
  RedisServer server;
  ServerState state("redis");
  Client client(patient(server.url()), state);
  CHECK(state.snapshot().state == ServerState::State::unknown);

  CHECK(client.command({"SET", "text", std::string("a\0b\r\n", 5)}).text == "OK");
  const auto replies = client.pipeline({{"GET", "text"},
                                        {"GET", "none"},
                                        {"INCRBY", "number", "-7"},
                                        {"HSET", "call:1", "coins_spent", "10", "user_id", "2"},
                                        {"HGETALL", "call:1"}});
  REQUIRE(replies.size() == 5);
  CHECK(replies[0].kind == Reply::Kind::text);
  CHECK(replies[0].text == std::string("a\0b\r\n", 5));
  CHECK(replies[1].kind == Reply::Kind::nil);
  CHECK(replies[2].kind == Reply::Kind::integer);
  CHECK(replies[2].integer == -7);
  REQUIRE(replies[4].kind == Reply::Kind::list);
  REQUIRE(replies[4].list.size() == 4);
  CHECK(replies[4].list[1].text == "10");
  CHECK(state.snapshot().state == ServerState::State::up);
  CHECK(client.generation() == 1);
  CHECK(client.pipeline({}).empty());
  CHECK_THROWS_AS(client.command({}), std::invalid_argument);
}

TEST_CASE("one command's error does not lose the pipeline") {
  RedisServer server;
  ServerState state("redis");
  Client client(patient(server.url()), state);
  const auto replies = client.pipeline(
      {{"SET", "a", "text"}, {"HSET", "a", "field", "1"}, {"NOSUCH"}, {"SET", "b", "2"}});
  REQUIRE(replies.size() == 4);
  CHECK(replies[1].kind == Reply::Kind::error);
  CHECK(replies[1].text.starts_with("WRONGTYPE"));
  CHECK(replies[2].kind == Reply::Kind::error);
  CHECK(replies[3].text == "OK");
  CHECK(client.command({"GET", "b"}).text == "2");
  CHECK(client.generation() == 1);
}

TEST_CASE("ten thousand commands in one pipeline, in order") {
  RedisServer server;
  ServerState state("redis");
  Client client(patient(server.url()), state);
  std::vector<Command> commands;
  for (int i = 0; i < 10'000; ++i) commands.push_back({"INCR", "n"});
  const auto replies = client.pipeline(commands);
  REQUIRE(replies.size() == commands.size());
  for (std::size_t i = 0; i < replies.size(); ++i) {
    if (replies[i].integer != static_cast<std::int64_t>(i) + 1) FAIL("reply " << i);
  }
}

TEST_CASE("long commands and long replies do not block each other") {
  RedisServer server;
  ServerState state("redis");
  Client client(patient(server.url()), state);
  const std::string megabyte(1 << 20, 'x');
  std::vector<Command> commands(20, Command{"ECHO", megabyte});
  for (const auto& reply : client.pipeline(commands)) CHECK(reply.text == megabyte);
}

TEST_CASE("a stopped process is Unavailable within the time limits") {
  RedisServer server;
  ServerState state("redis");
  Hands hands;
  Client client(hasty(server.url()), state, hands.clock());

  SECTION("in the middle of a connection") {
    Client connected(patient(server.url()), state);
    connected.command({"SET", "a", "1"});
    Client impatient({server.url(), 30s, 100ms}, state);
    impatient.command({"PING"});
    server.pause();
    CHECK(contains(failure_of(impatient), "no answer within 100ms"));
    server.resume();
    CHECK(impatient.command({"GET", "a"}).text == "1");
    CHECK(impatient.generation() == 2);
  }
  SECTION("before a connection: the kernel accepts it, nobody answers") {
    server.pause();
    CHECK(contains(failure_of(client), "no answer within 100ms"));
    CHECK(client.generation() == 0);
    server.resume();
  }
}

TEST_CASE("a server that trickles is cut off by one limit for the whole exchange") {
  ScriptedServer server("*1000000\r\n", ScriptedServer::Then::repeat_forever);
  ServerState state("redis");
  Client client(hasty(server.url()), state);
  // Nested lists end it at hiredis' depth, or else time does: it does end.
  CHECK(failure_of(client) != "(no failure)");

  ScriptedServer endless(":1", ScriptedServer::Then::repeat_forever);
  Client other(hasty(endless.url()), state);
  CHECK(failure_of(other) != "(no failure)");
}

TEST_CASE("a list of more items than any answer has is not made room for") {
  ScriptedServer server("*2000000000\r\n:1\r\n", ScriptedServer::Then::silence);
  ServerState state("redis");
  Client client(patient(server.url()), state);
  CHECK(failure_of(client) ==
        "redis at " + server.socket() + ": answers more than there is room for");
}

TEST_CASE("a restart is a new generation, and no call is lost by it") {
  RedisServer server;
  ServerState state("redis");
  Client client(patient(server.url()), state);
  client.command({"SET", "a", "1"});
  CHECK(client.generation() == 1);
  server.stop();
  server.start();
  CHECK(client.command({"GET", "a"}).kind == Reply::Kind::nil);
  CHECK(client.generation() == 2);
  CHECK(state.snapshot().state == ServerState::State::up);
}

TEST_CASE("a closed port: calls fail at once until the backoff has passed") {
  RedisServer server;
  ServerState state("redis");
  int changes = 0;
  state.on_change([&] { ++changes; });
  Hands hands;
  Client client(patient(server.url()), state, hands.clock());
  server.stop();
  const auto error = failure_of(client);
  CHECK(contains(error, "redis at " + server.socket() + ": cannot connect: "));
  CHECK(changes == 1);

  server.start();
  hands.now += 249ms;  // the shortest backoff is 250 ms
  CHECK(failure_of(client) == error);
  CHECK(client.generation() == 0);
  hands.now += 251ms;  // and the longest first one 500 ms
  CHECK(client.command({"PING"}).text == "PONG");
  CHECK(client.generation() == 1);
  CHECK(changes == 2);
}

TEST_CASE("the backoff grows to five seconds and begins anew after a success") {
  RedisServer server;
  ServerState state("redis");
  Hands hands;
  Client client(patient(server.url()), state, hands.clock());
  server.stop();
  for (int i = 0; i < 40; ++i) {
    failure_of(client);
    hands.now += 5s;
  }
  failure_of(client);
  server.start();
  hands.now += 2499ms;
  CHECK(failure_of(client) != "(no failure)");
  hands.now += 2501ms;
  CHECK(client.command({"PING"}).text == "PONG");

  server.stop();
  failure_of(client);
  server.start();
  hands.now += 500ms;
  CHECK(client.command({"PING"}).text == "PONG");
}

TEST_CASE("a server that is lost and back costs no backoff to who was connected") {
  RedisServer server;
  ServerState state("redis");
  Hands hands;
  Client client({server.url(), 30s, 100ms}, state, hands.clock());
  client.command({"PING"});
  server.pause();
  failure_of(client);
  server.resume();
  CHECK(client.command({"PING"}).text == "PONG");
}

TEST_CASE("AUTH: needed, wrong and right, the password is in no text") {
  const std::string secret = "s3cr3t-Wörd";
  const std::string encoded = "s3cr3t-W%C3%B6rd";
  RedisServer server({"--requirepass", secret});
  ServerState state("redis");

  Client nobody(patient(server.url()), state);
  CHECK(contains(failure_of(nobody), "refuses to serve: NOAUTH"));

  Client wrong(patient(server.url(":wrong-" + encoded)), state);
  const auto error = failure_of(wrong);
  CHECK(contains(error, "refuses to serve: WRONGPASS"));
  CHECK_FALSE(contains(error, secret));
  CHECK_FALSE(contains(state.snapshot().last_error, secret));

  Client right(patient(server.url(":" + encoded)), state);
  CHECK(right.command({"PING"}).text == "PONG");
  CHECK(right
            .command({"ACL", "SETUSER", "daemon", "on", ">word", "~*", "&*", "+@all", "-ping",
                      "-flushall"})
            .text == "OK");

  Client named(patient(server.url("daemon:word")), state);
  CHECK(named.command({"SET", "a", "1"}).text == "OK");
  CHECK(contains(failure_of(named, {"FLUSHALL"}), "refuses to serve: NOPERM"));
}

TEST_CASE("AUTH by the password that the file holds at that time") {
  RedisServer server({"--requirepass", "first word"});
  ServerState state("redis");
  Hands hands;
  TemporaryFile file;
  auto settings = patient(server.url());
  settings.password.file = file.path();
  Client client(settings, state, hands.clock());
  const auto later = [&] {
    hands.now += 1min;
    return failure_of(client);
  };
  CHECK(contains(failure_of(client), "the password file " + file.path() + " does not exist"));
  file.write("second word\n");
  const auto refused = later();
  CHECK(contains(refused, "refuses to serve: WRONGPASS"));
  CHECK(contains(refused, "; the password is that of " + file.path()));
  CHECK_FALSE(contains(refused, "second word"));

  Client right(patient(server.url(":first%20word")), state);
  right.pipeline({{"CONFIG", "SET", "requirepass", "second word"},
                  {"ACL", "SETUSER", "daemon", "on", ">third", "~*", "&*", "+@all"}});
  hands.now += 1min;
  CHECK(client.command({"PING"}).text == "PONG");

  auto named = patient(server.url() + "?username=daemon");
  Client nobody(named, state);
  CHECK(contains(failure_of(nobody), "there is no password for the user of the URL"));
  file.write("third");
  named.password.credential = file.path();
  Client daemon(named, state);
  CHECK(daemon.command({"ACL", "WHOAMI"}).text == "daemon");
}

TEST_CASE("a server's text that repeats the password is masked") {
  ScriptedServer server("-ERR nobody expects hunter22 here\r\n", ScriptedServer::Then::silence);
  ServerState state("redis");
  Client client(patient("unix://:hunter22@" + server.socket()), state);
  CHECK(failure_of(client) ==
        "redis at " + server.socket() + ": refuses to serve: ERR nobody expects *** here");
}

TEST_CASE("SELECT on connect") {
  RedisServer server;
  ServerState state("redis");
  Client third(patient(server.url() + "?db=3"), state);
  third.command({"SET", "a", "1"});
  Client first(patient(server.url()), state);
  CHECK(first.command({"GET", "a"}).kind == Reply::Kind::nil);
  CHECK(first.command({"DBSIZE"}).integer == 0);
  Client none(patient(server.url() + "?db=99"), state);
  CHECK(contains(failure_of(none), "ERR DB index is out of range"));
}

TEST_CASE("a server that refuses to serve is Unavailable") {
  ServerState state("redis");
  SECTION("READONLY") {
    RedisServer server({"--replicaof", "127.0.0.1", "1"});
    Client client(patient(server.url()), state);
    CHECK(contains(failure_of(client, {"SET", "a", "1"}), "refuses to serve: READONLY"));
  }
  SECTION("OOM, and well again once there is room") {
    RedisServer server({"--maxmemory", "1"});
    Client client(patient(server.url()), state);
    CHECK(contains(failure_of(client, {"SET", "a", "1"}), "refuses to serve: OOM"));
    client.command({"CONFIG", "SET", "maxmemory", "0"});
    CHECK(client.command({"SET", "a", "1"}).text == "OK");
    CHECK(state.snapshot().state == ServerState::State::up);
  }
  SECTION("LOADING") {
    ScriptedServer server("-LOADING Redis is loading the dataset in memory\r\n",
                          ScriptedServer::Then::silence);
    Client client(patient(server.url()), state);
    CHECK(failure_of(client) == "redis at " + server.socket() +
                                    ": refuses to serve: LOADING Redis is loading the dataset in "
                                    "memory");
    CHECK(client.generation() == 0);
  }
  SECTION("too many clients") {
    ScriptedServer server("-ERR max number of clients reached\r\n", ScriptedServer::Then::close);
    Client client(patient(server.url()), state);
    CHECK(contains(failure_of(client), "max number of clients reached"));
  }
}

TEST_CASE("nonsense and a close in the middle are failures, never a crash") {
  ServerState state("redis");
  for (const auto* text : {"HTTP/1.1 400 Bad Request\r\n\r\n", "$-5\r\n", "*3\r\n+a\r\n", ""}) {
    ScriptedServer server(text, ScriptedServer::Then::close);
    Client client(patient(server.url()), state);
    CHECK(failure_of(client) != "(no failure)");
  }
}

TEST_CASE("a URL that cannot be used is refused") {
  ServerState state("redis");
  CHECK_THROWS_AS(Client(patient("http://host"), state), std::invalid_argument);
  std::string error;
  CHECK_FALSE(saathii::redis::parse_url("rediss://host", error));
  CHECK(contains(error, "no TLS"));
}
