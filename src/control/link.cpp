#include "link.hpp"

#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <utility>

namespace saathii::control {

namespace {

namespace asio = boost::asio;
using Descriptor = asio::posix::stream_descriptor;

}  // namespace

Link::Link(const asio::any_io_executor& loop, std::unique_ptr<sdbus::IConnection> connection,
           std::function<void(const std::string&)> on_lost, Patience patience)
    : connection_(std::move(connection)),
      descriptor_(loop, poll_state(*connection_).fd),
      timer_(loop),
      on_lost_(std::move(on_lost)),
      patience_(patience) {}

Link::~Link() {
  try {
    close();
  } catch (const std::exception&) {
    // Its descriptor and timer go with it all the same.
  }
}

void Link::start() { arm(); }

void Link::sent() {
  if (closed_ || turning_) {
    return;  // a turn arms at its end
  }
  if (blocked_since_ && ++sends_ > patience_.sends) {
    lose("the bus does not take what is sent to it");
    return;
  }
  try {
    arm();
  } catch (const sdbus::Error& error) {
    lose(error.getMessage());
  }
}

void Link::turn() {
  turn_posted_ = false;
  if (closed_) {
    return;
  }
  turning_ = true;
  try {
    const Time until = std::chrono::steady_clock::now() + max_turn;
    bool more = true;
    for (int i = 0; more && i < max_messages_per_turn; ++i) {
      more = process_one(*connection_);
      if (poll_state(*connection_).write || std::chrono::steady_clock::now() >= until) {
        break;
      }
    }
    turning_ = false;
    if (more && !poll_state(*connection_).write) {
      post_turn();
    } else {
      arm();
    }
  } catch (const sdbus::Error& error) {
    turning_ = false;
    lose(error.getMessage());
  }
}

/// Behind everything that the loop has to do by now.
void Link::post_turn() {
  if (std::exchange(turn_posted_, true)) {
    return;
  }
  asio::post(descriptor_.get_executor(), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) {
      self->turn();
    }
  });
}

void Link::arm() {
  if (closed_ || turn_posted_) {
    return;
  }
  const PollState state = poll_state(*connection_);
  if (state.write) {
    if (!blocked_since_) {
      blocked_since_ = std::chrono::steady_clock::now();
      sends_ = 0;
    }
    await_ready(Descriptor::wait_write);
    await_deadline(*blocked_since_ + patience_.time);
    return;
  }
  blocked_since_.reset();
  if (state.deadline && *state.deadline <= std::chrono::steady_clock::now()) {
    post_turn();
    return;
  }
  await_ready(Descriptor::wait_read);
  await_deadline(state.deadline);
}

void Link::await_ready(Descriptor::wait_type what) {
  bool& waiting = what == Descriptor::wait_read ? reading_ : writing_;
  if (std::exchange(waiting, true)) {
    return;
  }
  descriptor_.async_wait(what, [weak = weak_from_this(), what](const auto& error) {
    const auto self = weak.lock();
    if (self == nullptr || self->closed_) {
      return;
    }
    (what == Descriptor::wait_read ? self->reading_ : self->writing_) = false;
    if (error) {
      return self->lose(error.message());
    }
    if (what == Descriptor::wait_write) {
      self->blocked_since_.reset();
    }
    // What comes in waits while what goes out is stuck.
    if (!self->blocked_since_) {
      self->turn();
    }
  });
}

void Link::await_deadline(std::optional<Time> deadline) {
  if (deadline == armed_for_) {
    return;
  }
  armed_for_ = deadline;
  if (!deadline) {
    timer_.cancel();
    return;
  }
  timer_.expires_at(*deadline);
  timer_.async_wait([weak = weak_from_this(), deadline](const auto& error) {
    const auto self = weak.lock();
    if (error || self == nullptr || self->closed_ || self->armed_for_ != deadline) {
      return;
    }
    self->armed_for_.reset();
    if (self->blocked_since_) {
      self->lose("the bus does not take what is sent to it");
    } else {
      self->turn();
    }
  });
}

void Link::lose(const std::string& reason) {
  if (!closed_) {
    close();
    on_lost_(reason);
  }
}

void Link::close() {
  if (std::exchange(closed_, true)) {
    return;
  }
  timer_.cancel();
  // Destroying a connection flushes it, which waits for the bus without end
  // unless nothing can be written any more. What is written already arrives.
  ::shutdown(descriptor_.release(), SHUT_WR);
}

}  // namespace saathii::control
