#pragma once

#include <algorithm>
#include <chrono>
#include <random>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "saathii/base/errors.hpp"
#include "saathii/base/server_state.hpp"
#include "saathii/config/config.hpp"
#include "saathii/postgres/pqxx.hpp"
#include "saathii/postgres/statement.hpp"

namespace saathii::postgres {

/// A lock was not had within lock_timeout. Nothing was changed.
class LockTimeout : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// How often one transaction is tried when the server asks for it (40001, 40P01).
inline constexpr int max_transaction_tries = 5;

/// One connection to PostgreSQL, for one thread at a time. It never reconnects:
/// what it had set would be lost silently. Once broken it is thrown away.
class Session {
 public:
  /// Connects, with the password as its file holds it now; of several hosts to
  /// the first that takes writes. Throws Unavailable within about connect_timeout
  /// for each host, also where none takes writes (unless settings.only_reads), where commits of
  /// ours have waited for a synchronous standby for longer than tcp_user_timeout, and for a
  /// password that cannot be read; std::invalid_argument for a URL that
  /// config::parse_postgres_url() refuses.
  Session(const config::Postgres& settings, ServerState& state);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// The transactions of transact() hold only while this term of leadership does:
  /// they throw Deposed, with nothing done, once another instance leads. 0: always.
  void fence(std::int64_t term) noexcept { term_ = term; }

  /// Runs `body(transaction)` and commits; returns what it returns. Tried again
  /// when the server aborts it for a deadlock or a serialization failure, so
  /// the body has no effect outside the database. Throws Unavailable when the
  /// connection breaks: a lost reply to COMMIT is that too, and only what the
  /// database holds tells whether it was done.
  template <typename Body>
  auto transact(Body&& body) {
    return guarded([&] {
      pqxx::work transaction(*connection_);
      if (term_ != 0) {
        require_term(transaction);
      }
      auto result = body(transaction);
      transaction.commit();
      return result;
    });
  }

  /// The same outside of any transaction block: each statement is its own.
  template <typename Body>
  auto autocommit(Body&& body) {
    return guarded([&] {
      pqxx::nontransaction each(*connection_);
      return body(each);
    });
  }

  /// Executes an embedded statement, prepared when this session first meets it.
  template <typename... Args>
  pqxx::result exec(pqxx::transaction_base& transaction, const Statement& statement,
                    const Args&... args) {
    prepare(statement);
    return exec_prepared(transaction, statement.name, args...);
  }

  /// Has the server tell of notifications on this channel from now on.
  void listen(const char* channel);
  /// Until such a notification or the server's farewell has come, `wake` can be
  /// read, or `limit` has passed. Throws Unavailable if the server is gone.
  void await_notification(int wake, Duration limit);

  /// Makes whatever the session waits for fail at once: it is broken then. The
  /// only call that another thread may make.
  void interrupt() const noexcept;

  /// False once broken, and for an idle session whose server hung up.
  [[nodiscard]] bool usable() const noexcept;

  /// Of the server, as all sessions of the pool have met it.
  [[nodiscard]] const ServerState& server() const noexcept { return state_; }

  /// For require_known_schema(): asked for and known.
  bool schema_is_known = false;

 private:
  template <typename Attempt>
  auto guarded(Attempt&& attempt) {
    for (int tries = 1;; ++tries) {
      try {
        auto result = attempt();
        // Another session may have been lost meanwhile; the server is there.
        state_.report_up();
        return result;
      } catch (const pqxx::failure& error) {
        rethrow_unless_retryable(error, tries);
      }
    }
  }

  void prepare(const Statement& statement);
  void require_term(pqxx::transaction_base& transaction);
  /// Returns, after a random pause, only if the transaction may be tried again.
  void rethrow_unless_retryable(const pqxx::failure& error, int tries);
  [[noreturn]] void unavailable(const std::string& reason);

  ServerState& state_;
  std::unique_ptr<pqxx::connection> connection_;
  /// A descriptor of our own for the connection's socket: libpq closes its own
  /// when the connection breaks, and the number may be another file's then.
  int socket_ = -1;
  bool broken_ = false;
  std::int64_t term_ = 0;
  std::set<std::string_view> prepared_;
};

}  // namespace saathii::postgres
