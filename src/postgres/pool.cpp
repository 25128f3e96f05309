#include "saathii/postgres/pool.hpp"

#include "saathii/postgres/migrations.hpp"
#include "saathii/postgres/session.hpp"

namespace saathii::postgres {

/// Breaks the lease's session when the run is asked to stop.
struct Pool::Lease::Breaker {
  struct Interrupt {
    const Session* session;
    void operator()() const noexcept { session->interrupt(); }
  };
  std::stop_callback<Interrupt> callback;
};

Pool::Lease::Lease(Pool& pool, std::unique_ptr<Session> session, const std::stop_token& stop)
    : pool_(pool),
      session_(std::move(session)),
      breaker_(new Breaker{
          std::stop_callback<Breaker::Interrupt>{stop, Breaker::Interrupt{session_.get()}}}) {
  const std::scoped_lock lock(pool_.mutex_);
  pool_.leased_.insert(session_.get());
}

/// Whole before it asks, so that a stop reaches the session and a failure gives it back.
Pool::Lease::Lease(Pool& pool, std::unique_ptr<Session> session, const std::stop_token& stop,
                   Schema schema, std::int64_t term)
    : Lease(pool, std::move(session), stop) {
  session_->fence(term);
  if (schema == Schema::known) {
    require_known_schema(*session_);
  }
}

Pool::Lease::~Lease() {
  breaker_.reset();
  session_->fence(0);
  {
    const std::scoped_lock lock(pool_.mutex_);
    pool_.leased_.erase(session_.get());
  }
  pool_.give_back(std::move(session_));
}

Pool::Pool(config::Postgres settings, ServerState& state)
    : settings_(std::move(settings)), state_(state) {}

Pool::~Pool() = default;

Pool::Lease Pool::lease(const std::stop_token& stop, Schema schema, std::int64_t term) {
  return Lease{*this, take(stop, IfNoneFree::wait), stop, schema, term};
}

std::optional<Pool::Lease> Pool::try_lease(const std::stop_token& stop, std::int64_t term) {
  auto session = take(stop, IfNoneFree::give_up);
  if (session == nullptr) {
    return std::nullopt;
  }
  return std::optional<Lease>(std::in_place, *this, std::move(session), stop, Schema::known, term);
}

void Pool::interrupt_stuck(Duration grace) const {
  const std::scoped_lock lock(mutex_);
  for (const Session* session : leased_) {
    session->interrupt_if_stuck(grace);
  }
}

Pool::Use Pool::use() const {
  const std::scoped_lock lock(mutex_);
  const auto idle = static_cast<std::int64_t>(idle_.size());
  return {
      .idle = idle, .leased = open_ - idle, .waiting = waiting_, .limit = settings_.max_sessions};
}

std::unique_ptr<Session> Pool::take(const std::stop_token& stop, IfNoneFree if_none_free) {
  std::unique_ptr<Session> session;
  {
    std::unique_lock lock(mutex_);
    const auto is_free = [this] { return !idle_.empty() || open_ < settings_.max_sessions; };
    if (if_none_free == IfNoneFree::give_up && !is_free()) {
      return nullptr;
    }
    ++waiting_;
    const bool ready = freed_.wait(lock, stop, is_free);
    --waiting_;
    if (!ready || stop.stop_requested()) {
      throw Stopped("stopped while waiting for a PostgreSQL session");
    }
    while (session == nullptr && !idle_.empty()) {
      session = std::move(idle_.back());
      idle_.pop_back();
      if (!session->usable()) {
        session.reset();
        --open_;
      }
    }
    if (session == nullptr) {
      ++open_;
    }
  }
  if (session == nullptr) {
    try {
      session = std::make_unique<Session>(settings_, state_);
    } catch (...) {
      give_back(nullptr);
      throw;
    }
  }
  return session;
}

void Pool::give_back(std::unique_ptr<Session> session) {
  std::vector<std::unique_ptr<Session>> lost;  // closed without the lock
  {
    const std::scoped_lock lock(mutex_);
    if (session != nullptr && session->usable()) {
      idle_.push_back(std::move(session));
    } else {
      // The others are to the server that was lost: each would keep a run waiting
      // that stands still, and none asks where commits are acknowledged now.
      open_ -= 1 + static_cast<std::int64_t>(idle_.size());
      lost.swap(idle_);
    }
  }
  freed_.notify_all();
}

}  // namespace saathii::postgres
