#include "saathii/postgres/session.hpp"

#include <latch>
#include <thread>

#include "catch.hpp"
#include "support/platform_db.hpp"
#include "support/temporary_file.hpp"

namespace saathii::test {

namespace {

using postgres::LockTimeout;
using postgres::Session;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct Database : PlatformDb {
  Database() : PlatformDb(Content::platform_only) {
    exec("CREATE TABLE box (id int PRIMARY KEY, content int)");
    exec("INSERT INTO box VALUES (1, 0), (2, 0)");
  }

  std::string boxes() { return rows("SELECT content FROM box ORDER BY id"); }

  /// Returns once a backend of this database waits for a lock.
  void wait_for_lock_wait() {
    while (value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
                 "wait_event_type = 'Lock'") == "0") {
      std::this_thread::yield();
    }
  }

  ServerState state{"postgres"};
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

int backend_of(Session& session) {
  return session.autocommit(
      [](auto& each) { return each.exec("SELECT pg_backend_pid()")[0][0].template as<int>(); });
}

std::string setting(Session& session, const std::string& name) {
  return session.autocommit(
      [&](auto& each) { return std::string{each.exec("SHOW " + name)[0][0].c_str()}; });
}

constexpr postgres::Statement add_to_box{
    "test.add_to_box", "UPDATE box SET content = content + $2::int WHERE id = $1::int"};

}  // namespace

TEST_CASE("a transaction commits what its body did, and nothing when it throws") {
  Database db;
  Session session(db.owner_settings(), db.state);
  CHECK(session.transact([&](auto& transaction) {
    session.exec(transaction, add_to_box, 1, 5);
    session.exec(transaction, add_to_box, 2, 7);
    return 42;
  }) == 42);
  CHECK(db.boxes() == "5;7");
  const auto throwing = [&](auto& transaction) -> int {
    session.exec(transaction, add_to_box, 1, 100);
    throw std::domain_error("the job's own");
  };
  CHECK_THROWS_AS(session.transact(throwing), std::domain_error);
  CHECK(db.boxes() == "5;7");
  CHECK(session.usable());
  CHECK(db.state.snapshot().state == ServerState::State::up);
}

TEST_CASE("a session is set up so that nothing waits without end") {
  Database db;
  auto settings = db.owner_settings();
  settings.statement_timeout = std::chrono::seconds{61};
  settings.lock_timeout = milliseconds{1500};
  Session session(settings, db.state);
  CHECK(setting(session, "statement_timeout") == "61s");
  CHECK(setting(session, "lock_timeout") == "1500ms");
  CHECK(setting(session, "idle_in_transaction_session_timeout") == "1min");
  CHECK(setting(session, "TimeZone") == "UTC");
  CHECK(setting(session, "jit") == "off");
  CHECK(setting(session, "application_name") == "saathiid");
}

TEST_CASE("the URL's own parameters win") {
  Database db;
  auto settings = db.owner_settings();
  settings.url += "&application_name=other";
  Session session(settings, db.state);
  CHECK(setting(session, "application_name") == "other");
}

TEST_CASE("a server's fault leaves the session usable, its transaction undone") {
  Database db;
  Session session(db.owner_settings(), db.state);
  CHECK_THROWS_AS(session.transact([&](auto& transaction) {
    session.exec(transaction, add_to_box, 1, 5);
    transaction.exec("SELECT 1 / 0");
    return 0;
  }),
                  pqxx::sql_error);
  CHECK(session.usable());
  CHECK(db.boxes() == "0;0");
  CHECK(backend_of(session) > 0);
}

TEST_CASE("a statement that takes too long is cancelled") {
  Database db;
  auto settings = db.owner_settings();
  // Less is not allowed, nor would the session's own first question always be so quick.
  settings.statement_timeout = seconds{1};
  Session session(settings, db.state);
  CHECK_THROWS_WITH(
      session.autocommit([](auto& each) { return each.exec("SELECT pg_sleep(600)").size(); }),
      Catch::Matchers::ContainsSubstring("statement timeout"));
  CHECK(session.usable());
  CHECK(db.state.snapshot().state == ServerState::State::up);
}

TEST_CASE("a lock that is not had in time is a LockTimeout, and changes nothing") {
  Database db;
  pqxx::connection other(db.owner_url());
  pqxx::work holder(other);
  holder.exec("UPDATE box SET content = 1 WHERE id = 2");
  auto settings = db.owner_settings();
  settings.lock_timeout = milliseconds{20};
  Session session(settings, db.state);
  CHECK_THROWS_AS(session.transact([&](auto& transaction) {
    session.exec(transaction, add_to_box, 1, 5);
    session.exec(transaction, add_to_box, 2, 5);
    return 0;
  }),
                  LockTimeout);
  CHECK(session.usable());
  holder.commit();
  CHECK(db.boxes() == "0;1");
}

TEST_CASE("the loser of a deadlock is tried again") {
  Database db;
  db.exec("ALTER DATABASE " + db.value("SELECT current_database()") +
          " SET deadlock_timeout = '10ms'");
  Session first(db.owner_settings(), db.state);
  Session second(db.owner_settings(), db.state);
  std::latch both_hold_one(2);
  std::atomic<int> tries = 0;
  const auto add = [&](Session& session, int one, int then) {
    bool waited = false;
    session.transact([&](auto& transaction) {
      ++tries;
      session.exec(transaction, add_to_box, one, 1);
      if (!waited) {
        waited = true;
        both_hold_one.arrive_and_wait();
      }
      session.exec(transaction, add_to_box, then, 10);
      return 0;
    });
  };
  std::thread other([&] { add(second, 2, 1); });
  add(first, 1, 2);
  other.join();
  CHECK(tries >= 3);
  CHECK(db.boxes() == "11;11");
}

TEST_CASE("a serialization failure is tried again, but not for ever") {
  Database db;
  Session session(db.owner_settings(), db.state);
  const auto fail_until = [&](int success) {
    int tries = 0;
    session.transact([&](auto& transaction) {
      session.exec(transaction, add_to_box, 1, 1);
      if (++tries < success) {
        transaction.exec("DO $$BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END$$");
      }
      return 0;
    });
    return tries;
  };
  CHECK(fail_until(postgres::max_transaction_tries) == postgres::max_transaction_tries);
  CHECK(db.boxes() == "1;0");
  CHECK_THROWS_AS(fail_until(postgres::max_transaction_tries + 1), pqxx::failure);
  CHECK(db.boxes() == "1;0");
  CHECK(session.usable());
}

TEST_CASE("a session that is terminated in mid-transaction is lost, and never reconnects") {
  Database db;
  Session session(db.owner_settings(), db.state);
  const int backend = backend_of(session);
  CHECK_THROWS_AS(session.transact([&](auto& transaction) {
    session.exec(transaction, add_to_box, 1, 5);
    db.exec(fmt::format("SELECT pg_terminate_backend({}, 60000)", backend));
    session.exec(transaction, add_to_box, 2, 5);
    return 0;
  }),
                  Unavailable);
  CHECK_FALSE(session.usable());
  CHECK(db.state.snapshot().state == ServerState::State::down);
  CHECK_THROWS_AS(session.autocommit([](auto& each) { return each.exec("SELECT 1").size(); }),
                  Unavailable);
  CHECK(db.boxes() == "0;0");
}

TEST_CASE("a reply to COMMIT that is lost is Unavailable") {
  Database db;
  db.exec(
      "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS "
      "'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'");
  db.exec(
      "CREATE CONSTRAINT TRIGGER die AFTER UPDATE ON box DEFERRABLE INITIALLY DEFERRED "
      "FOR EACH ROW EXECUTE FUNCTION die()");
  Session session(db.owner_settings(), db.state);
  CHECK_THROWS_AS(session.transact([&](auto& transaction) {
    session.exec(transaction, add_to_box, 1, 5);
    return 0;
  }),
                  Unavailable);
  CHECK_FALSE(session.usable());
  CHECK(db.boxes() == "0;0");
}

TEST_CASE("an idle session whose server hung up is not usable") {
  Database db;
  Session session(db.owner_settings(), db.state);
  CHECK(session.usable());
  db.exec(fmt::format("SELECT pg_terminate_backend({}, 60000)", backend_of(session)));
  CHECK_FALSE(session.usable());
}

TEST_CASE("a session that works says that the server is there though another was lost") {
  Database db;
  Session lost(db.owner_settings(), db.state);
  Session other(db.owner_settings(), db.state);
  db.exec(fmt::format("SELECT pg_terminate_backend({})", backend_of(lost)));
  CHECK_THROWS_AS(backend_of(lost), Unavailable);
  CHECK(db.state.snapshot().state == ServerState::State::down);
  backend_of(other);
  CHECK(db.state.snapshot().state == ServerState::State::up);
}

TEST_CASE("a server that is not there is Unavailable") {
  ServerState state("postgres");
  config::Postgres settings;
  settings.url = "postgresql:///db?host=/nowhere&user=me";
  CHECK_THROWS_AS(Session(settings, state), Unavailable);
  CHECK(state.snapshot().state == ServerState::State::down);
}

TEST_CASE("of several hosts the first that takes writes is used, each is told of if none does") {
  Database db;
  const auto with_hosts = [&](const std::string& hosts) {
    auto settings = db.owner_settings();
    auto& url = settings.url;
    const auto at = url.find("host=");
    REQUIRE(at != std::string::npos);
    const auto end = std::min(url.find('&', at), url.size());
    const std::string folder = url.substr(at + 5, end - at - 5);
    std::string all = hosts;
    all.replace(all.find("FOLDER"), 6, folder);
    url.replace(at, end - at, "host=" + all);
    return settings;
  };
  Session session(with_hosts("/nowhere,FOLDER"), db.state);
  CHECK(backend_of(session) > 0);

  db.exec(fmt::format("ALTER DATABASE {} SET default_transaction_read_only = on",
                      db.value("SELECT current_database()")));
  CHECK_THROWS_WITH(
      Session(with_hosts("/nowhere,FOLDER,/elsewhere"), db.state),
      Catch::Matchers::StartsWith("connection to server on socket \"/nowhere/") &&
          Catch::Matchers::ContainsSubstring(
              "No such file or directory; connection to server on socket") &&
          Catch::Matchers::ContainsSubstring("failed: session is read-only; ") &&
          Catch::Matchers::ContainsSubstring("\"/elsewhere/") &&
          Catch::Matchers::EndsWith("; none of the hosts takes writes: a standby has to be "
                                    "promoted, or the primary named"));
  // Asked for any of them, the first that answers decides.
  auto any = with_hosts("FOLDER,/nowhere");
  any.url += "&target_session_attrs=any";
  Session standby(any, db.state);
  CHECK_THROWS_WITH(backend_of(standby),
                    Catch::Matchers::StartsWith("read-only: this server is a standby"));
}

TEST_CASE("a server that is full or starts up is Unavailable, not a fault") {
  Database db;
  const auto name = db.value("SELECT current_database()");
  db.exec("CREATE ROLE \"" + name + "\" LOGIN CONNECTION LIMIT 0");
  auto settings = db.owner_settings();
  settings.url = ServerUrl().database_as(name, name);
  CHECK_THROWS_AS(Session(settings, db.state), Unavailable);
  db.exec("DROP ROLE \"" + name + "\"");
}

TEST_CASE("a server that takes no writes is down, says what to do, and is not told of twice") {
  Database db;
  int changes = 0;
  db.state.on_change([&] { ++changes; });
  const auto read_only = [&](const char* on) {
    db.exec(fmt::format("ALTER DATABASE {} SET default_transaction_read_only = {}",
                        db.value("SELECT current_database()"), on));
  };
  const std::string what_to_do =
      "read-only: this server is a standby or read-only; list the primary in the URL, with "
      "target_session_attrs=read-write";
  {
    // The server became read-only under a session.
    Session session(db.owner_settings(), db.state);
    CHECK_THROWS_AS(session.transact([&](auto& transaction) {
      transaction.exec("SET TRANSACTION READ ONLY");
      return session.exec(transaction, add_to_box, 1, 5).size();
    }),
                    Unavailable);
    CHECK_FALSE(session.usable());
    CHECK(db.state.snapshot().last_error == what_to_do);
    CHECK(changes == 2);  // up, down
  }
  read_only("on");
  for (int runs = 0; runs < 3; ++runs) {
    Session session(db.owner_settings(), db.state);
    CHECK_THROWS_AS(backend_of(session), Unavailable);
    CHECK_FALSE(session.usable());
  }
  CHECK(db.state.snapshot().state == ServerState::State::down);
  CHECK(db.state.snapshot().last_error == what_to_do);
  CHECK(changes == 2);
  db.exec("SET default_transaction_read_only = off");
  read_only("off");
  Session session(db.owner_settings(), db.state);
  CHECK(backend_of(session) > 0);
  CHECK(changes == 3);
}

TEST_CASE("a session whose statements no longer fit a changed table is thrown away") {
  Database db;
  db.exec("ALTER TABLE box ADD COLUMN name varchar(10)");
  Session session(db.owner_settings(), db.state);
  const postgres::Statement names{"test.names", "SELECT name FROM box"};
  const auto read = [&] {
    return session.autocommit([&](auto& each) { return session.exec(each, names).size(); });
  };
  CHECK(read() == 2);
  db.exec("ALTER TABLE box ALTER COLUMN name TYPE varchar(30)");
  CHECK_THROWS_WITH(read(), Catch::Matchers::ContainsSubstring("must not change result type"));
  CHECK_FALSE(session.usable());
  CHECK(db.state.snapshot().state == ServerState::State::up);
}

TEST_CASE("a session is opened with the password that the file holds then") {
  Database db;
  const auto role = db.value("SELECT current_database()");
  db.exec(
      "DO $$BEGIN CREATE ROLE saathii_by_password; EXCEPTION WHEN duplicate_object OR "
      "unique_violation THEN NULL; END$$");
  const auto change = [&](const std::string& sql) {
    // Roles are the server's: a membership may be changed by another test just then.
    db.exec("SELECT pg_advisory_lock(7305817307)");
    db.exec(sql);
    db.exec("SELECT pg_advisory_unlock(7305817307)");
  };
  change("CREATE ROLE \"" + role + "\" LOGIN IN ROLE saathii_by_password PASSWORD 'f?rst @word&'");
  TemporaryFile file;
  auto settings = db.owner_settings();
  settings.url = ServerUrl().database_as(role, role);
  const auto refusal = [&] {
    try {
      Session session(settings, db.state);
      backend_of(session);
      return std::string{"none"};
    } catch (const Unavailable& error) {
      CHECK(db.state.snapshot().last_error == error.what());
      CHECK_FALSE(contains(error.what(), "word&"));
      return std::string{error.what()};
    }
  };
  CHECK(contains(refusal(), "no password supplied"));
  CHECK(contains(refusal(), "[postgres] password_file"));
  settings.password.file = file.path();
  CHECK(refusal() == "the password file " + file.path() +
                         " does not exist: write the password into it, or correct password_file");
  file.write("second word&\n");
  CHECK(contains(refusal(), "password authentication failed"));
  CHECK(contains(refusal(), "; the password is that of " + file.path()));
  file.write("f?rst @word&\n");
  CHECK(refusal() == "none");

  // Changed at the server, then in the file: the next session has it.
  change("ALTER ROLE \"" + role + "\" PASSWORD 'second word&'");
  CHECK(contains(refusal(), "password authentication failed"));
  file.write("second word&");
  CHECK(refusal() == "none");
  CHECK(db.state.snapshot().state == ServerState::State::up);

  settings.password = {"", file.path()};
  CHECK(refusal() == "none");
  settings.url += "&password=of_the_url_word%26";
  CHECK(contains(refusal(), "; the password is that of the URL"));
  change("DROP ROLE \"" + role + "\"");
}

TEST_CASE("no error holds the password") {
  ServerState state("postgres");
  const std::string url = GENERATE(
      "postgresql://me:secret@/db?host=/nowhere", "postgresql:///db?host=/nowhere&password=secret",
      "postgresql://me:se%zzcret@host/db", "postgresql://me:secret", "postgresql://me:secret@:x/db",
      "postgresql:///db?host=/nowhere&password=sec%zzret", "host=/nowhere password=secret'",
      "postgresql://me:%00secret@/db?host=/nowhere");
  CAPTURE(url);
  config::Postgres settings;
  settings.url = url;
  settings.connect_timeout = std::chrono::seconds{1};
  try {
    Session session(settings, state);
    FAIL("connected to nowhere");
  } catch (const std::exception& error) {
    const std::string what = error.what();
    CHECK_FALSE(what.empty());
    CHECK_THAT(what, !Catch::Matchers::ContainsSubstring("secret") &&
                         !Catch::Matchers::ContainsSubstring("zzcret") &&
                         !Catch::Matchers::ContainsSubstring("zzret"));
  }
  CHECK_THAT(state.snapshot().last_error, !Catch::Matchers::ContainsSubstring("secret"));
}

}  // namespace saathii::test
