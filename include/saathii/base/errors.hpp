#pragma once

#include <stdexcept>
#include <string>

namespace saathii {

/// A server that a run needs cannot be reached, or the connection broke: the
/// same work may succeed later, unchanged. Thrown on workers; the runner
/// retries with backoff.
class Unavailable : public std::runtime_error {
 public:
  /// `server` is "postgres" or "redis"; `what` never holds a password.
  Unavailable(std::string server, const std::string& what)
      : std::runtime_error(what), server_(std::move(server)) {}

  [[nodiscard]] const std::string& server() const noexcept { return server_; }

 private:
  std::string server_;
};

/// A run was stopped: by its time limit or by shutdown. Nothing half-done is
/// left, because every batch is one transaction.
class Stopped : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Another instance has taken over: what was done under the older term of
/// leadership was rolled back. The new leader does the work.
class Deposed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace saathii
