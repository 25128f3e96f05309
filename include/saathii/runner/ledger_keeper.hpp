#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <deque>
#include <functional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <vector>

#include "saathii/log/messages.hpp"
#include "saathii/runner/backoff.hpp"
#include "saathii/runner/bell.hpp"
#include "saathii/runner/types.hpp"

namespace saathii::runner {

/// Thrown by LedgerOptions::prepare: this database must not be served at all.
class Refused : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Thrown by LedgerOptions::prepare: not yet, until an operator has acted on it.
class Unprepared : public std::runtime_error {
 public:
  Unprepared(log::Message id, const std::string& what) : std::runtime_error(what), id_(id) {}
  [[nodiscard]] log::Message id() const noexcept { return id_; }

 private:
  log::Message id_;
};

struct LedgerOptions {
  /// Called first, on the ledger's worker, until it returns: checks or makes
  /// the tables. Throws Unavailable, Refused, Unprepared, or what else is wrong, and soon
  /// after a stop is requested.
  std::function<void(const std::stop_token&)> prepare = [](const std::stop_token&) {};
  std::size_t queue_limit = 10'000;  ///< outcomes kept while the database is down
  std::size_t batch_limit = 500;     ///< outcomes written at once
  Duration backoff = std::chrono::seconds{1};
  Duration backoff_cap = std::chrono::seconds{30};
  /// Then a call, other than prepare, is broken off.
  Duration call_timeout = std::chrono::minutes{3};
  Duration prune_interval = std::chrono::hours{1};
};

/// Keeps the run ledger up to date without ever making a job wait: it asks for
/// the jobs' past and writes outcomes on a worker of its own, and keeps
/// outcomes in memory, within bounds, while the database is down. Loop thread.
class LedgerKeeper {
 public:
  using Answer = std::function<void(Past)>;

  LedgerKeeper(boost::asio::io_context& loop, RunLedger& ledger, LedgerOptions options);

  /// Asks for a job's past: if called before run(), then before any outcome is
  /// written. `answer` is called on the loop, once, when the database has answered.
  void ask_past(std::string job, Instant now, Answer answer);

  /// Called once if prepare() refused the database.
  void on_refused(std::function<void(const std::string&)> callback) {
    refused_ = std::move(callback);
  }

  void add(Record record);
  /// For outcomes of ticks that are older than those added before.
  void add_oldest(std::vector<Record> records);

  /// Until close(), and then until all is written or a write fails.
  boost::asio::awaitable<void> run();
  void close();
  /// A server came up: a wait for it ends now.
  void poke();
  /// Breaks off the call in progress, for good: after close().
  void interrupt() {
    stop_.request_stop();
    ledger_.interrupt();
  }

  /// Whether every past is known, or the database has failed once to tell it.
  [[nodiscard]] bool has_verdict() const noexcept { return verdict_; }
  /// The database was found fit to be served.
  [[nodiscard]] bool prepared() const noexcept { return prepared_; }
  /// Called once, when has_verdict() becomes true.
  void on_verdict(std::function<void()> callback) { verdict_callback_ = std::move(callback); }

  [[nodiscard]] bool finished() const noexcept { return finished_; }
  [[nodiscard]] std::size_t waiting() const noexcept { return queue_.size() + in_flight_; }
  /// How long some outcomes have waited without any being written; 0: none waits.
  [[nodiscard]] Duration waiting_for() const;
  [[nodiscard]] Bell& bell() noexcept { return done_; }
  /// Waits for the worker; only when no call is in progress.
  void join() { worker_.join(); }

 private:
  enum class Call { done, unavailable, failed, refused };
  struct Question {
    std::string job;
    Instant now;
    Answer answer;
  };

  template <typename Work>
  boost::asio::awaitable<Call> call(Work work, bool limited = true);
  boost::asio::awaitable<void> begin();
  boost::asio::awaitable<bool> prepare();
  boost::asio::awaitable<void> ask_questions();
  boost::asio::awaitable<void> flush();
  boost::asio::awaitable<void> prune();
  boost::asio::awaitable<void> back_off(Call failure, log::Message id, std::string_view what);
  [[nodiscard]] bool is_last(bool was_closed, Call outcome) const noexcept;
  void give_verdict();
  void make_room();
  void begin_waiting();

  RunLedger& ledger_;
  const LedgerOptions options_;
  boost::asio::any_io_executor executor_;
  boost::asio::thread_pool worker_;
  std::stop_source stop_;
  std::deque<Question> questions_;
  std::function<void(const std::string&)> refused_;
  std::function<void()> verdict_callback_;
  std::deque<Record> queue_;
  Backoff backoff_;
  Bell changed_;
  Bell done_;
  SteadyTime next_prune_;
  std::size_t batch_size_;
  int strikes_ = 0;  ///< of the oldest outcome alone
  std::uint64_t lost_ = 0;
  bool closed_ = false;
  bool verdict_ = false;
  bool prepared_ = false;
  bool finished_ = false;
  bool poked_ = false;
  bool give_up_ = false;
  std::size_t in_flight_ = 0;
  SteadyTime waiting_since_;  ///< while some wait
  std::string last_error_;
  log::Message last_id_ = log::Message::none;  ///< where the error has one of its own
};

}  // namespace saathii::runner
