#include "saathii/base/server_state.hpp"

#include "saathii/log/log.hpp"

namespace saathii {

std::string_view to_string(ServerState::State state) {
  switch (state) {
    case ServerState::State::up:
      return "up";
    case ServerState::State::down:
      return "down";
    case ServerState::State::unknown:
      break;
  }
  return "unknown";
}

// Events are written under the lock, so that "down" and "back" appear in the
// order in which they happened; the callback is not, so that it may look.

void ServerState::report_up() {
  std::function<void()> callback;
  {
    const std::scoped_lock lock(mutex_);
    if (current_.state == State::up) {
      return;
    }
    const Instant now = wall_now();
    if (current_.state == State::down) {
      log::write_unfolded(log::Level::info, log::Message::server_up,
                          name_ + " is back after " + humanize(now - current_.since),
                          {{"SERVER", name_}});
    } else {
      log::debug(name_ + " is up", {{"SERVER", name_}});
    }
    current_.state = State::up;
    current_.since = now;
    callback = callback_;
  }
  if (callback) {
    callback();
  }
}

void ServerState::report_down(const std::string& error) {
  std::function<void()> callback;
  {
    const std::scoped_lock lock(mutex_);
    current_.last_error = error;
    if (current_.state == State::down) {
      return;
    }
    log::write_unfolded(log::Level::warning, log::Message::server_down,
                        name_ + " is down: " + error + "; work that needs it waits and is retried",
                        {{"SERVER", name_}});
    current_.state = State::down;
    ++outages_;
    current_.since = wall_now();
    callback = callback_;
  }
  if (callback) {
    callback();
  }
}

ServerState::Snapshot ServerState::snapshot() const {
  const std::scoped_lock lock(mutex_);
  return current_;
}

std::uint64_t ServerState::outages() const {
  const std::scoped_lock lock(mutex_);
  return outages_;
}

void ServerState::on_change(std::function<void()> callback) {
  const std::scoped_lock lock(mutex_);
  callback_ = std::move(callback);
}

}  // namespace saathii
