#include "saathii/postgres/election.hpp"

#include <fmt/format.h>
#include <sys/eventfd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

#include "leadership.sql.hpp"
#include "saathii/base/descriptor.hpp"
#include "saathii/base/errors.hpp"
#include "saathii/base/first_line.hpp"
#include "saathii/base/signal_block.hpp"
#include "saathii/log/log.hpp"
#include "saathii/postgres/interval.hpp"
#include "saathii/postgres/session.hpp"

namespace saathii::postgres {

namespace {

using runner::Leadership;

constexpr const char* channel = "saathii_tasks";
/// A leader that nobody could succeed renews as seldom as this.
constexpr Duration alone = std::chrono::minutes{1};
/// A leader renews so often in a lease, others look so often.
constexpr int renewals = 3;
constexpr int looks = 5;
/// For a server to take note that this instance leaves; else its lease runs out.
constexpr std::chrono::seconds resign_grace{2};

Instant instant_of(const pqxx::field& microseconds) {
  return Instant{Duration{microseconds.as<std::int64_t>()}};
}

config::Postgres for_one_session(config::Postgres settings, Duration lease) {
  // What it waits for must not outlast what it watches over.
  settings.statement_timeout = std::min(settings.statement_timeout, lease);
  settings.tcp_user_timeout = std::min(settings.tcp_user_timeout, lease);
  settings.lock_timeout = std::min(settings.lock_timeout, lease / 2);
  return settings;
}

}  // namespace

class Election::Thread {
 public:
  Thread(config::Postgres settings, ServerState& state, Options options, Changed changed,
         std::function<void()> help_wanted)
      : settings_(for_one_session(std::move(settings), options.lease)),
        state_(state),
        options_(std::move(options)),
        changed_(std::move(changed)),
        help_wanted_(std::move(help_wanted)),
        wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!wake_.is_open()) {
      throw std::system_error(errno, std::generic_category(), "an event to wake the election by");
    }
    const SignalBlock block;
    thread_ = std::thread([this] { run(); });
  }

  ~Thread() { resign(); }

  void begin() {
    {
      const std::scoped_lock lock(mutex_);
      begun_ = true;
    }
    may_begin_.notify_all();
  }

  void wake() const noexcept {
    static_cast<void>(::eventfd_write(wake_.get(), 1));  // full means that it is awake
  }

  void look_now() {
    tell_again_ = true;
    wake();
  }

  void break_off_if_stuck() {
    const std::scoped_lock lock(mutex_);
    if (session_ != nullptr && busy_since_ &&
        std::chrono::steady_clock::now() - *busy_since_ > 2 * options_.lease) {
      session_->interrupt();
    }
  }

  void resign() {
    if (!thread_.joinable()) {
      return;
    }
    {
      const std::scoped_lock lock(mutex_);
      ended_ = true;
    }
    may_begin_.notify_all();
    wake();
    {
      std::unique_lock lock(mutex_);
      if (!has_left_.wait_for(lock, resign_grace, [this] { return left_; }) &&
          session_ != nullptr) {
        session_->interrupt();
      }
    }
    thread_.join();
  }

 private:
  void run();
  void keep_session();
  void use(std::unique_ptr<Session> session);
  void set_busy(bool busy);
  Duration stand();
  Duration renew();
  Duration watch();
  void take(std::int64_t term, const std::string& renewed_at);
  void leave();
  void tell(const Leadership& now);

  const config::Postgres settings_;
  ServerState& state_;
  const Options options_;
  const Changed changed_;
  const std::function<void()> help_wanted_;
  const Descriptor wake_;

  std::mutex mutex_;
  std::condition_variable may_begin_;
  std::condition_variable has_left_;
  bool begun_ = false;
  bool left_ = false;
  std::atomic<bool> ended_ = false;
  std::atomic<bool> tell_again_ = false;

  /// Of the thread: changed under the mutex.
  std::unique_ptr<Session> session_;
  std::optional<std::chrono::steady_clock::time_point> busy_since_;

  // The thread's own.
  std::optional<Leadership> told_;
  std::int64_t term_ = 0;  ///< while it leads
  /// When the leader last renewed, while it may be dead; and since when it may be.
  std::string doubted_renewal_;
  std::chrono::steady_clock::time_point doubted_since_;
  std::string complaint_;
  std::thread thread_;
};

void Election::Thread::run() {
  {
    std::unique_lock lock(mutex_);
    may_begin_.wait(lock, [this] { return begun_ || ended_; });
  }
  while (!ended_) {
    try {
      set_busy(true);
      keep_session();
      const Duration pause = stand();
      complaint_.clear();
      if (tell_again_.exchange(false) && told_) {
        changed_(*told_);
      }
      set_busy(false);
      session_->await_notification(wake_.get(), pause);
    } catch (const Unavailable&) {
      use(nullptr);
    } catch (const std::exception& error) {
      // Without it this instance does nothing that another one could do.
      if (const std::string line = first_line(error.what()); line != complaint_) {
        log::error(log::Message::election_failed,
                   fmt::format("it cannot be settled who leads: {}; tried again every {}", line,
                               humanize(options_.retry)));
        complaint_ = line;
      }
      if (term_ == 0) {
        tell({.leads = false, .term = told_ ? told_->term : 0, .leader = {}, .since = {}});
      }
      use(nullptr);
    }
    set_busy(false);
    if (session_ == nullptr && !ended_) {
      std::unique_lock lock(mutex_);
      may_begin_.wait_for(lock, options_.retry, [this] { return ended_.load(); });
    }
    eventfd_t woken = 0;
    static_cast<void>(::eventfd_read(wake_.get(), &woken));
  }
  leave();
  {
    const std::scoped_lock lock(mutex_);
    left_ = true;
  }
  has_left_.notify_all();
}

void Election::Thread::use(std::unique_ptr<Session> session) {
  const std::scoped_lock lock(mutex_);
  session_.swap(session);
}

void Election::Thread::set_busy(bool busy) {
  const std::scoped_lock lock(mutex_);
  busy_since_ = busy ? std::optional(std::chrono::steady_clock::now()) : std::nullopt;
}

/// A new one stands for this instance at once.
void Election::Thread::keep_session() {
  if (session_ != nullptr) {
    return;
  }
  use(std::make_unique<Session>(settings_, state_));
  session_->listen(channel);
  session_->autocommit([&](auto& each) {
    session_->exec(each, sql::leadership::forget_old);
    session_->exec(each, sql::leadership::enter, options_.id, options_.instance);
    // Whoever leads alone learns that it does no longer.
    return session_->exec(each, sql::leadership::notify);
  });
}

/// Returns when to look again.
Duration Election::Thread::stand() {
  try {
    return term_ != 0 ? renew() : watch();
  } catch (const LockTimeout&) {
    // Somebody takes over, or the old leader's last transactions are not at their end.
    return options_.lease / looks;
  }
}

Duration Election::Thread::renew() {
  const auto row = session_->autocommit([&](auto& each) {
    return session_->exec(each, sql::leadership::renew, options_.id, term_,
                          interval(options_.lease))[0];
  });
  if (!row[0].as<bool>()) {
    term_ = 0;
    return watch();
  }
  return row[1].as<std::int64_t>() == 0 ? std::max(alone, options_.lease)
                                        : options_.lease / renewals;
}

Duration Election::Thread::watch() {
  const auto row = session_->autocommit(
      [&](auto& each) { return session_->exec(each, sql::leadership::look, options_.id)[0]; });
  const auto term = row[0].as<std::int64_t>();
  const bool vacant = row[4].as<bool>();
  const bool gone = row[5].as<bool>();
  const bool lapsed = row[6].as<bool>();
  const bool may_be_dead = gone || lapsed;
  const std::string renewed_at = row[3].c_str();
  if (!may_be_dead || renewed_at != doubted_renewal_) {
    doubted_renewal_ = may_be_dead ? renewed_at : std::string{};
    doubted_since_ = std::chrono::steady_clock::now();
    if (may_be_dead && !vacant) {
      // Who was alone renews when it hears of somebody else, and who lost its session
      // may be about to have another.
      session_->autocommit(
          [&](auto& each) { return session_->exec(each, sql::leadership::notify); });
    }
  }
  const auto doubted_for = std::chrono::steady_clock::now() - doubted_since_;
  const auto patience = std::max<Duration>(options_.lease / looks, 2 * options_.retry);
  const bool is_dead = may_be_dead && doubted_for >= patience;
  const bool is_open = vacant || is_dead;
  tell({.leads = false,
        .term = term,
        .leader = is_open ? std::string{} : row[1].c_str(),
        .since = is_open ? std::nullopt : std::optional(instant_of(row[2]))});
  if (is_open) {
    take(term, renewed_at);
    return Duration{0};  // to renew, or to see who was quicker
  }
  if (may_be_dead) {
    return std::chrono::ceil<Duration>(patience - doubted_for);
  }
  if (row[7].as<bool>()) {
    help_wanted_();
  }
  return options_.lease / looks;
}

/// Unless another was quicker, or the leader is alive after all.
void Election::Thread::take(std::int64_t term, const std::string& renewed_at) {
  const auto taken = session_->transact([&](auto& transaction) {
    return session_->exec(transaction, sql::leadership::lock, term, renewed_at).empty()
               ? pqxx::result{}
               : session_->exec(transaction, sql::leadership::take, options_.id, options_.instance,
                                interval(options_.lease));
  });
  if (taken.empty()) {
    return;
  }
  term_ = taken[0][0].as<std::int64_t>();
  doubted_renewal_.clear();
  tell({.leads = true,
        .term = term_,
        .leader = options_.instance,
        .since = instant_of(taken[0][1])});
}

void Election::Thread::leave() {
  if (session_ == nullptr) {
    return;  // the server is away: the others wait for the end of the lease
  }
  try {
    session_->autocommit([&](auto& each) {
      session_->exec(each, sql::leadership::leave, options_.id);
      return session_->exec(each, sql::leadership::notify);
    });
  } catch (const std::exception&) {
    // The same.
  }
}

void Election::Thread::tell(const Leadership& now) {
  if (told_ != now) {
    told_ = now;
    changed_(now);
  }
}

Election::Election(config::Postgres settings, ServerState& state, Options options, Changed changed,
                   std::function<void()> help_wanted)
    : thread_(std::make_unique<Thread>(std::move(settings), state, std::move(options),
                                       std::move(changed), std::move(help_wanted))) {}
Election::~Election() = default;

void Election::begin() { thread_->begin(); }
void Election::look_now() { thread_->look_now(); }
void Election::break_off_if_stuck() { thread_->break_off_if_stuck(); }
void Election::resign() { thread_->resign(); }

}  // namespace saathii::postgres
