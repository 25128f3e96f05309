#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <vector>

#include "saathii/base/server_state.hpp"
#include "saathii/config/config.hpp"

namespace saathii::postgres {

class Session;

/// At most max_sessions sessions, opened when first needed and kept. A broken
/// session is thrown away, never mended, and with it those that nobody uses: they
/// are to the same server. Any thread.
class Pool {
 public:
  /// Opens nothing yet. `state` outlives the pool.
  Pool(config::Postgres settings, ServerState& state);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// What schema of ours the database of a lease may have.
  enum class Schema {
    known,  ///< none that is newer than this program, as of when the session was opened
    any     ///< for who looks at it or migrates it
  };

  /// A session of the holder's own until the lease ends. When `stop` is
  /// requested meanwhile, the session's socket is shut down, so that even a
  /// call into a server that does not answer returns (as Unavailable).
  class Lease {
   public:
    Lease(Pool& pool, std::unique_ptr<Session> session, const std::stop_token& stop);
    Lease(Pool& pool, std::unique_ptr<Session> session, const std::stop_token& stop, Schema schema,
          std::int64_t term);
    Lease(Lease&&) = delete;
    ~Lease();
    [[nodiscard]] Session& operator*() const { return *session_; }
    [[nodiscard]] Session* operator->() const { return session_.get(); }

   private:
    struct Breaker;
    Pool& pool_;
    std::unique_ptr<Session> session_;
    std::unique_ptr<Breaker> breaker_;
  };

  /// Blocks the worker until a session is free. Throws Unavailable if the
  /// server cannot be reached within connect_timeout or does not answer the
  /// first question (see interrupt_stuck()), Stopped if `stop` is requested,
  /// NewerSchema (see Schema). `term`: see Session::fence().
  [[nodiscard]] Lease lease(const std::stop_token& stop, Schema schema = Schema::known,
                            std::int64_t term = 0);

  /// The same without waiting: nothing if all sessions are taken. For who holds
  /// one already, and so must not wait for another.
  [[nodiscard]] std::optional<Lease> try_lease(const std::stop_token& stop, std::int64_t term = 0);

  /// Breaks the leased sessions whose server owes an answer for too long: see
  /// Session::interrupt_if_stuck(). Does not block; to be called again and again.
  void interrupt_stuck(Duration grace = std::chrono::seconds{5}) const;

  struct Use {
    std::int64_t idle = 0;
    std::int64_t leased = 0;   ///< also those that are being opened
    std::int64_t waiting = 0;  ///< workers in lease()
    std::int64_t limit = 0;
  };
  /// Now; does not block.
  [[nodiscard]] Use use() const;

  [[nodiscard]] ServerState& state() const { return state_; }

 private:
  enum class IfNoneFree { wait, give_up };
  /// Null if none is free and that is all right.
  std::unique_ptr<Session> take(const std::stop_token& stop, IfNoneFree if_none_free);
  void give_back(std::unique_ptr<Session> session);

  const config::Postgres settings_;
  ServerState& state_;
  mutable std::mutex mutex_;
  std::condition_variable_any freed_;
  std::vector<std::unique_ptr<Session>> idle_;
  std::set<const Session*> leased_;
  std::int64_t open_ = 0;
  std::int64_t waiting_ = 0;
};

}  // namespace saathii::postgres
