#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "../support/redis_server.hpp"
#include "../support/subscriber.hpp"
#include "../support/temporary_file.hpp"
#include "../support/watched.hpp"
#include "catch.hpp"
#include "saathii/base/errors.hpp"
#include "saathii/redis/client.hpp"
#include "scripted_server.hpp"
#include "sentinel_group.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using saathii::ServerState;
using saathii::Unavailable;
using saathii::redis::Client;
using saathii::test::RedisServer;
using saathii::test::ScriptedServer;
using saathii::test::SentinelGroup;
using saathii::test::Subscriber;
using saathii::test::TemporaryFile;

namespace {

/// A sentinel that says this to everybody.
struct Sentinel : ScriptedServer {
  explicit Sentinel(const std::string& answer, Then then = Then::silence)
      : ScriptedServer(answer, then, Over::tcp) {}
};

std::string word(const std::string& text) {
  return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
}

std::string names(int port) { return "*2\r\n" + word("127.0.0.1") + word(std::to_string(port)); }

std::string url_of(const std::vector<int>& sentinels, const std::string& rest = "/themaster") {
  std::string url = "redis+sentinel://";
  for (const int port : sentinels) {
    url += (url.ends_with('/') ? "127.0.0.1:" : ",127.0.0.1:") + std::to_string(port);
  }
  return url + rest;
}

std::string at(int port) { return "127.0.0.1:" + std::to_string(port); }

/// A master or a replica that listens at a port.
struct Node {
  explicit Node(std::vector<std::string> arguments = {})
      : server(with_port(std::move(arguments))) {}
  std::vector<std::string> with_port(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--port", std::to_string(port), "--bind", "127.0.0.1"});
    return arguments;
  }
  int port = RedisServer::free_port();
  RedisServer server;
};

/// A clock that the test moves.
struct Hands {
  std::chrono::steady_clock::time_point now{};
  Client::Clock clock() {
    return [this] { return now; };
  }
};

/// A clock that goes on with every look: there is no backoff, and no master is
/// believed for longer than a call.
Client::Clock no_backoff() {
  return [now = std::chrono::steady_clock::time_point{}]() mutable { return now += 1min; };
}

std::string failure_of(Client& client) {
  try {
    client.command({"PING"});
  } catch (const Unavailable& error) {
    return error.what();
  }
  return "(no failure)";
}

/// Until the client reaches a master that takes writes: how often it did not.
int failures_until_written(Client& client, const char* value) {
  for (int failures = 0;; ++failures) {
    try {
      if (client.command({"SET", "written", value}).text == "OK") return failures;
    } catch (const Unavailable&) {
      // The next try asks the sentinels again.
    }
  }
}

}  // namespace

TEST_CASE("the master that a sentinel names") {
  Node master;
  Sentinel sentinel(names(master.port));
  ServerState state("redis");
  Hands hands;
  Client client(RedisServer::patient(url_of({sentinel.port()}, "/themaster/3")), state,
                hands.clock());
  CHECK(client.command({"SET", "a", "1"}).text == "OK");
  CHECK(client.generation() == 1);
  CHECK(client.command({"CLIENT", "INFO"}).text.find(" db=3 ") != std::string::npos);
  CHECK(sentinel.connections() == 1);
}

TEST_CASE("sentinels are asked in turn until one leads to a master") {
  Node master;
  Node replica({"--replicaof", "127.0.0.1", std::to_string(master.port)});
  const int nobody = RedisServer::free_port();
  Sentinel stranger("*-1\r\n");
  Sentinel late(names(replica.port));
  Sentinel wrong("+OK\r\n");
  Sentinel closing("", ScriptedServer::Then::close);
  Sentinel right(names(master.port));
  Sentinel never_asked(names(nobody));
  ServerState state("redis");
  Hands hands;
  Client client(RedisServer::patient(url_of({nobody, stranger.port(), late.port(), wrong.port(),
                                             closing.port(), right.port(), never_asked.port()})),
                state, hands.clock());
  CHECK(client.command({"PING"}).text == "PONG");
  CHECK(client.command({"SET", "a", "1"}).text == "OK");
  CHECK(late.connections() == 1);
  CHECK(never_asked.connections() == 0);

  // The one that led there is asked first when the connection is lost.
  master.server.stop();
  master.server.start();
  CHECK(client.command({"PING"}).text == "PONG");
  CHECK(client.generation() == 2);
  CHECK(right.connections() == 2);
  CHECK(late.connections() == 1);
}

TEST_CASE("a master that has given way is left, though it still serves") {
  Node old;
  Node fresh;
  auto sentinel = std::make_unique<Sentinel>(names(old.port));
  Sentinel second(names(fresh.port));
  ServerState state("redis");
  Hands hands;
  Client client(RedisServer::patient(url_of({sentinel->port(), second.port()})), state,
                hands.clock());
  client.command({"SET", "written", "to the old one"});
  hands.now += 999ms;
  client.command({"PING"});
  CHECK(sentinel->connections() == 1);
  hands.now += 1ms;
  client.command({"PING"});
  CHECK(sentinel->connections() == 2);
  CHECK(client.generation() == 1);
  // A sentinel that says nothing changes nothing, but the next one is asked then.
  sentinel.reset();
  hands.now += 1s;
  CHECK(client.command({"GET", "written"}).text == "to the old one");
  CHECK(second.connections() == 0);
  hands.now += 1s;
  CHECK(client.command({"GET", "written"}).kind == saathii::redis::Reply::Kind::nil);
  CHECK(client.generation() == 2);
  CHECK(state.snapshot().state == ServerState::State::up);
}

TEST_CASE("what each sentinel had to say is told, once no master is found") {
  Node master;
  Node replica({"--replicaof", "127.0.0.1", std::to_string(master.port)});
  const int nobody = RedisServer::free_port();
  Sentinel stranger("*-1\r\n");
  Sentinel late(names(replica.port));
  Sentinel gone(names(nobody));
  Sentinel gone_too(names(nobody));
  Sentinel wrong("*2\r\n" + word("127.0.0.1") + word("70000"));
  ServerState state("redis");
  Client client(RedisServer::patient(url_of({nobody, stranger.port(), late.port(), gone.port(),
                                             gone_too.port(), wrong.port()})),
                state);
  const auto text = failure_of(client);
  CHECK(text == "redis master themaster: the sentinel at " + at(nobody) +
                    ": cannot connect: Connection refused; the sentinel at " + at(stranger.port()) +
                    ": knows no master \"themaster\"; its name is in the sentinel's \"sentinel "
                    "monitor\"; the sentinel at " +
                    at(late.port()) + " names " + at(replica.port) +
                    ": it is no master (it says \"slave\"): a failover is under way, or the "
                    "sentinel has not heard of the last one; the sentinel at " +
                    at(gone.port()) + " names " + at(nobody) +
                    ": cannot connect: Connection refused; the sentinel at " + at(wrong.port()) +
                    ": answers something else than a master's address");
  CHECK(client.generation() == 0);
  CHECK(state.snapshot().last_error == text);
}

TEST_CASE("sentinels that do not answer take three connect_timeouts at most, in turn") {
  Sentinel first("");
  Sentinel second("");
  Sentinel third("");
  Sentinel fourth("");
  ServerState state("redis");
  Client client({url_of({first.port(), second.port(), third.port(), fourth.port()}), 100ms, 100ms},
                state, no_backoff());
  CHECK_THAT(failure_of(client), ContainsSubstring(": no answer within "));
  CHECK(fourth.connections() == 0);
  // Who was not asked for want of time is the first the next time.
  CHECK_THAT(failure_of(client), ContainsSubstring("the sentinel at " + at(fourth.port())));
}

TEST_CASE("the passwords of a sentinel and of the master are two") {
  const std::string of_sentinel = "s3ntinel-w0rd";
  SentinelGroup group(of_sentinel);
  ServerState state("redis");
  {
    Client nobody(RedisServer::patient(group.url()), state);
    CHECK_THAT(failure_of(nobody), ContainsSubstring("refuses to answer: NOAUTH") &&
                                       ContainsSubstring("[redis] sentinel_password_file"));
  }
  {
    Client wrong(RedisServer::patient(group.url("?sentinel_password=wrong-" + of_sentinel)), state);
    const auto text = failure_of(wrong);
    CHECK_THAT(text, ContainsSubstring("WRONGPASS") &&
                         ContainsSubstring("; the password is that of the sentinels"));
    CHECK_THAT(text, !ContainsSubstring(of_sentinel));
  }
  Client right(RedisServer::patient(group.url("?sentinel_password=" + of_sentinel)), state);
  CHECK(right.command({"SET", "a", "1"}).text == "OK");
  Client named(RedisServer::patient(
                   group.url("?sentinel_username=default&sentinel_password=" + of_sentinel)),
               state);
  CHECK(named.command({"GET", "a"}).text == "1");

  TemporaryFile file;
  auto settings = RedisServer::patient(group.url());
  settings.sentinel_password.file = file.path();
  Client by_file(settings, state, no_backoff());
  CHECK_THAT(failure_of(by_file), ContainsSubstring("the sentinel_password file " + file.path()) &&
                                      ContainsSubstring("correct sentinel_password_file"));
  file.write(of_sentinel + "\n");
  CHECK(by_file.command({"GET", "a"}).text == "1");

  // The master asks for one of its own then.
  right.command({"CONFIG", "SET", "requirepass", "m4ster-word"});
  Client stranger(settings, state);
  CHECK_THAT(failure_of(stranger), ContainsSubstring("refuses to serve: NOAUTH"));
  auto url = group.url("?sentinel_password=" + of_sentinel);
  url.insert(url.find("//") + 2, ":m4ster-word@");
  Client both(RedisServer::patient(url), state);
  CHECK(both.command({"GET", "a"}).text == "1");
}

TEST_CASE("a sentinel's text that repeats its password is masked") {
  Sentinel sentinel("-ERR nobody expects hunter22 here\r\n");
  ServerState state("redis");
  Client client(
      RedisServer::patient(url_of({sentinel.port()}, "/themaster?sentinel_password=hunter22")),
      state);
  CHECK(failure_of(client) == "redis master themaster: the sentinel at " + at(sentinel.port()) +
                                  ": refuses to answer: ERR nobody expects *** here");
}

TEST_CASE("a user who may not ask for the role is served") {
  Node master;
  ServerState state("redis");
  Client owner(RedisServer::patient(master.server.url()), state);
  owner.command({"ACL", "SETUSER", "daemon", "on", ">word", "~*", "&*", "+@all", "-role"});
  Sentinel sentinel(names(master.port));
  auto url = url_of({sentinel.port()});
  url.insert(url.find("//") + 2, "daemon:word@");
  Client client(RedisServer::patient(url), state);
  CHECK(client.command({"SET", "a", "1"}).text == "OK");
}

TEST_CASE("a master that is killed: the next one is found, as a new generation") {
  SentinelGroup group;
  Subscriber sentinel(group.sentinel_port(1), {"+switch-master"});
  ServerState state("redis");
  Client client(RedisServer::patient(group.url()), state, no_backoff());
  CHECK(client.command({"SET", "written", "to the first"}).text == "OK");
  CHECK(client.command({"WAIT", "1", "20000"}).integer == 1);
  group.master().stop();
  CHECK_THAT(failure_of(client), ContainsSubstring("cannot connect: Connection refused"));
  CHECK(state.snapshot().state == ServerState::State::down);
  // One of the three is gone, too.
  group.sentinel(0).stop();
  CHECK_THAT(sentinel.next().payload, ContainsSubstring(std::to_string(group.node_port(1))));
  failures_until_written(client, "to the second");
  CHECK(client.generation() == 2);
  CHECK(state.snapshot().state == ServerState::State::up);
  Client second(RedisServer::patient(group.replica().url()), state);
  CHECK(second.command({"GET", "written"}).text == "to the second");
}

TEST_CASE("a master that stands still, and one that is asked to give way") {
  SentinelGroup group;
  Subscriber sentinel(group.sentinel_port(2), {"+switch-master"});
  ServerState state("redis");
  auto settings = RedisServer::patient(group.url());
  SECTION("still") {
    settings.command_timeout = 100ms;
    settings.connect_timeout = 3s;
    Client client(settings, state, no_backoff());
    client.command({"PING"});
    group.master().pause();
    CHECK_THAT(failure_of(client), ContainsSubstring("no answer within 100ms"));
    sentinel.next();
    failures_until_written(client, "to the second");
    // Awake again it believes to be the master still, until a sentinel tells it.
    group.master().resume();
    CHECK(client.command({"SET", "written", "after"}).text == "OK");
    Client second(RedisServer::patient(group.replica().url()), state);
    CHECK(second.command({"GET", "written"}).text == "after");
  }
  SECTION("asked") {
    Client client(settings, state, no_backoff());
    client.command({"PING"});
    Client sentinel_itself(
        RedisServer::patient("redis://127.0.0.1:" + std::to_string(group.sentinel_port(2))), state,
        no_backoff());
    // "No suitable replica" until it has asked the replica how it is.
    while (sentinel_itself.command({"SENTINEL", "FAILOVER", "themaster"}).text != "OK") {
      client.command({"BLPOP", "nothing", "0.05"});
    }
    sentinel.next();
    // The first is not told for some seconds, and takes writes that nobody will see: until
    // the client asks again who is the master.
    const auto until = std::chrono::steady_clock::now() + saathii::test::patience;
    while (client.generation() < 2 && std::chrono::steady_clock::now() < until) {
      try {
        client.command({"PING"});
      } catch (const Unavailable&) {
      }
    }
    failures_until_written(client, "to the second");
    Client second(RedisServer::patient(group.replica().url()), state);
    CHECK(second.command({"GET", "written"}).text == "to the second");
    CHECK(client.generation() >= 2);
  }
}
