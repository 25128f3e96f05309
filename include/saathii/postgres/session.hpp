#pragma once

#include <algorithm>
#include <atomic>
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
  /// for each host, also for a password that cannot be read; std::invalid_argument
  /// for a URL that config::parse_postgres_url() refuses. The first use sets the
  /// session up, and throws Unavailable where the server takes no writes (unless
  /// settings.only_reads) or commits of ours have waited for a synchronous standby
  /// for longer than tcp_user_timeout.
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
      note_progress();
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
    note_progress();
    prepare(statement);
    return exec_prepared(transaction, statement.name, args...);
  }

  /// From now on its statements and waits for locks may take as long as they need.
  void lift_limits();

  /// Has the server tell of notifications on this channel from now on.
  void listen(const char* channel);
  /// Until such a notification or the server's farewell has come, `wake` can be
  /// read, or `limit` has passed. Throws Unavailable if the server is gone.
  void await_notification(int wake, Duration limit);

  /// Makes whatever the session waits for fail at once: it is broken then. Any thread.
  void interrupt() const noexcept;
  /// The same if the server owes an answer for longer than statement_timeout, after which
  /// it gives one if it is alive, and `grace`, for the network and what else is slow.
  /// Any thread.
  void interrupt_if_stuck(Duration grace) const noexcept;

  /// False once broken, and for an idle session whose server hung up.
  [[nodiscard]] bool usable() const noexcept;

  /// Of the server, as all sessions of the pool have met it.
  [[nodiscard]] const ServerState& server() const noexcept { return state_; }

  /// For require_known_schema(): asked for and known.
  bool schema_is_known = false;

 private:
  /// While it lives the server may owe an answer.
  class Waiting {
   public:
    explicit Waiting(const Session& session) : session_(session) { session.note_progress(); }
    ~Waiting() { session_.waiting_since_ = 0; }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

   private:
    const Session& session_;
  };

  void note_progress() const noexcept {
    waiting_since_ = has_limits_ ? std::chrono::steady_clock::now().time_since_epoch().count() : 0;
  }
  void set_up();

  template <typename Attempt>
  auto guarded(Attempt&& attempt) {
    const Waiting waiting(*this);
    for (int tries = 1;; ++tries) {
      try {
        set_up();
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
  const config::Postgres settings_;
  bool is_set_up_ = false;
  bool broken_ = false;
  bool has_limits_ = true;
  std::int64_t term_ = 0;
  mutable std::atomic<std::int64_t> waiting_since_ = 0;  ///< steady, in its ticks; 0: it does not
  std::set<std::string_view> prepared_;
};

}  // namespace saathii::postgres
