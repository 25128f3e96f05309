#include "saathii/postgres/pool.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <future>
#include <thread>

#include "catch.hpp"
#include "saathii/postgres/session.hpp"
#include "support/platform_db.hpp"
#include "support/watched.hpp"

namespace saathii::test {

namespace {

using postgres::Pool;

struct Database : PlatformDb {
  Database() : PlatformDb(Content::platform_only) {}

  config::Postgres settings(std::int64_t max_sessions) {
    auto made = owner_settings();
    made.max_sessions = max_sessions;
    return made;
  }

  void terminate(int backend) {
    exec(fmt::format("SELECT pg_terminate_backend({}, 60000)", backend));
  }

  ServerState state{"postgres"};
};

int backend_of(const Pool::Lease& lease) {
  return lease->autocommit(
      [](auto& each) { return each.exec("SELECT pg_backend_pid()")[0][0].template as<int>(); });
}

}  // namespace

TEST_CASE("the pool opens sessions when they are needed, and keeps them") {
  Database db;
  Pool pool(db.settings(2), db.state);
  CHECK(db.state.snapshot().state == ServerState::State::unknown);
  int first = 0;
  {
    const auto lease = pool.lease({});
    first = backend_of(lease);
    const auto other = pool.lease({});
    CHECK(backend_of(other) != first);
  }
  std::vector<int> again;
  {
    const auto one = pool.lease({});
    const auto two = pool.lease({});
    again = {backend_of(one), backend_of(two)};
  }
  CHECK(std::count(again.begin(), again.end(), first) == 1);
}

TEST_CASE("a worker waits for a session, and gets it when it is given back") {
  Database db;
  Pool pool(db.settings(1), db.state);
  std::promise<int> had;
  std::thread waiting;
  int backend = 0;
  {
    const auto lease = pool.lease({});
    backend = backend_of(lease);
    waiting = std::thread([&] { had.set_value(backend_of(pool.lease({}))); });
  }
  CHECK(had.get_future().get() == backend);
  waiting.join();
}

TEST_CASE("who may not wait gets a session only where one is free") {
  Database db;
  Pool pool(db.settings(2), db.state);
  const auto held = pool.lease({});
  {
    const auto second = pool.try_lease({});
    REQUIRE(second.has_value());
    CHECK(backend_of(*second) != backend_of(held));
    CHECK_FALSE(pool.try_lease({}).has_value());
  }
  CHECK(pool.try_lease({}).has_value());
  std::stop_source stop;
  stop.request_stop();
  CHECK_THROWS_AS(pool.try_lease(stop.get_token()), Stopped);
}

TEST_CASE("a stop ends the wait for a session") {
  Database db;
  Pool pool(db.settings(1), db.state);
  const auto lease = pool.lease({});
  std::stop_source stop;
  std::thread waiting([&] { CHECK_THROWS_AS(pool.lease(stop.get_token()), Stopped); });
  stop.request_stop();
  waiting.join();
  CHECK_THROWS_AS(pool.lease(stop.get_token()), Stopped);
}

TEST_CASE("a session that was lost is thrown away, and the next lease works") {
  Database db;
  Pool pool(db.settings(1), db.state);
  int lost = 0;
  {
    const auto lease = pool.lease({});
    lost = backend_of(lease);
    CHECK_THROWS_AS(lease->transact([&](auto& transaction) {
      db.terminate(lost);
      return transaction.exec("SELECT 1").size();
    }),
                    Unavailable);
  }
  CHECK(db.state.snapshot().state == ServerState::State::down);
  CHECK(backend_of(pool.lease({})) != lost);
  CHECK(db.state.snapshot().state == ServerState::State::up);
}

TEST_CASE("a session that was lost while idle is noticed before it is used") {
  Database db;
  Pool pool(db.settings(1), db.state);
  const int lost = backend_of(pool.lease({}));
  db.terminate(lost);
  CHECK(backend_of(pool.lease({})) != lost);
  CHECK(db.state.snapshot().state == ServerState::State::up);
}

TEST_CASE("with a session that is lost those go that nobody uses: they are to the same server") {
  Database db;
  Pool pool(db.settings(3), db.state);
  const auto held = pool.lease({});
  const int kept = backend_of(held);
  int idle = 0;
  {
    const auto lost = pool.lease({});
    {
      const auto other = pool.lease({});
      idle = backend_of(other);
    }
    CHECK(pool.use().idle == 1);
    lost->interrupt();
    CHECK_THROWS_AS(backend_of(lost), Unavailable);
  }
  CHECK(pool.use().idle == 0);
  CHECK(pool.use().leased == 1);
  CHECK(backend_of(held) == kept);
  CHECK(backend_of(pool.lease({})) != idle);
}

TEST_CASE("a stop interrupts a statement that is under way") {
  Database db;
  Pool pool(db.settings(1), db.state);
  std::stop_source stop;
  int backend = 0;
  {
    const auto lease = pool.lease(stop.get_token());
    backend = backend_of(lease);
    std::thread stopper([&] {
      while (db.value(fmt::format("SELECT count(*) FROM pg_stat_activity WHERE pid = {} AND "
                                  "wait_event = 'PgSleep'",
                                  backend)) == "0") {
        std::this_thread::yield();
      }
      stop.request_stop();
    });
    CHECK_THROWS_AS(lease->transact([](auto& transaction) {
      return transaction.exec("SELECT pg_sleep(86400)").size();
    }),
                    Unavailable);
    stopper.join();
  }
  // The server notices within client_connection_check_interval.
  while (db.value(fmt::format("SELECT count(*) FROM pg_stat_activity WHERE pid = {}", backend)) !=
         "0") {
    std::this_thread::yield();
  }
  CHECK(backend_of(pool.lease({})) != backend);
}

TEST_CASE("a session whose server owes an answer for too long is broken, no other one") {
  Database db;
  Pool pool(db.settings(2), db.state);
  const auto other = pool.lease({});
  const int kept = backend_of(other);
  const auto stuck = pool.lease({});
  std::thread watch([&] {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (db.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND "
                    "datname = current_database()") == "0" &&
           std::chrono::steady_clock::now() < until) {
      std::this_thread::yield();
    }
    pool.interrupt_stuck();
    // As if statement_timeout were over.
    pool.interrupt_stuck(-db.settings(1).statement_timeout);
  });
  CHECK_THROWS_AS(
      stuck->autocommit([](auto& each) { return each.exec("SELECT pg_sleep(86400)").size(); }),
      Unavailable);
  watch.join();
  CHECK_FALSE(stuck->usable());
  CHECK(backend_of(other) == kept);
}

TEST_CASE("a session whose limits are lifted may take its time") {
  Database db;
  Pool pool(db.settings(1), db.state);
  const auto lease = pool.lease({});
  lease->lift_limits();
  CHECK(lease->autocommit([&](auto& each) {
    pool.interrupt_stuck(-db.settings(1).statement_timeout);
    return each.exec("SHOW statement_timeout")[0][0].template as<std::string>();
  }) == "0");
}

TEST_CASE("a stop after the last statement spoils the session for nobody") {
  Database db;
  Pool pool(db.settings(1), db.state);
  std::stop_source stop;
  int backend = 0;
  {
    const auto lease = pool.lease(stop.get_token());
    backend = backend_of(lease);
    stop.request_stop();
  }
  CHECK(backend_of(pool.lease({})) != backend);
}

TEST_CASE("failed connections use up no session") {
  ServerState state("postgres");
  config::Postgres settings;
  settings.url = "postgresql:///db?host=/nowhere&user=me";
  settings.max_sessions = 1;
  Pool pool(settings, state);
  for (int tries = 0; tries < 3; ++tries) {
    CHECK_THROWS_AS(pool.lease({}), Unavailable);
  }
}

TEST_CASE("a server that takes the connection and says nothing is Unavailable") {
  const int mute = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::bind(mute, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::listen(mute, 8) == 0);
  socklen_t size = sizeof address;
  REQUIRE(::getsockname(mute, reinterpret_cast<sockaddr*>(&address), &size) == 0);

  ServerState state("postgres");
  config::Postgres settings;
  settings.url = fmt::format("postgresql://me@127.0.0.1:{}/db", ntohs(address.sin_port));
  settings.connect_timeout = std::chrono::seconds{1};
  Pool pool(settings, state);
  CHECK_THROWS_AS(pool.lease({}), Unavailable);
  ::close(mute);
}

TEST_CASE("many workers share few sessions") {
  Database db;
  db.exec("CREATE TABLE done (worker int)");
  Pool pool(db.settings(3), db.state);
  std::vector<std::thread> workers;
  for (int worker = 0; worker < 8; ++worker) {
    workers.emplace_back([&, worker] {
      for (int turn = 0; turn < 10; ++turn) {
        const auto lease = pool.lease({});
        lease->transact([&](auto& transaction) {
          return transaction.exec(fmt::format("INSERT INTO done VALUES ({})", worker)).size();
        });
      }
    });
  }
  for (auto& worker : workers) {
    worker.join();
  }
  CHECK(db.value("SELECT count(*) FROM done") == "80");
  CHECK(std::stoi(db.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = "
                           "'saathiid' AND datname = current_database()")) <= 3);
}

}  // namespace saathii::test
