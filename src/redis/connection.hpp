#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "saathii/base/time.hpp"
#include "saathii/redis/client.hpp"

struct redisContext;

namespace saathii::redis {

/// What ends a connection, or keeps one from being made; its text may hold what
/// the server said, and so the password.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The first word of an error is its kind.
[[nodiscard]] std::string_view first_word(std::string_view text);

/// A socket that speaks RESP, for one thread. After a Failure it is of no use.
class Connection {
 public:
  using Steady = std::chrono::steady_clock;

  /// Returns at once, or when the system's resolver has answered; throws Failure.
  static Connection to_host(const std::string& host, int port);
  static Connection to_socket(const std::string& path);

  Connection(Connection&&) noexcept;
  Connection& operator=(Connection&&) noexcept;
  ~Connection();

  /// Waits until the other side's kernel has taken the connection. Throws Failure.
  void wait_until_open(Steady::time_point deadline, Duration told_limit);

  /// Collects a command to write.
  void send(const Command& command);

  /// Writes what send() collected and reads until there are `expected` replies.
  /// The deadline is one for all of it, however slowly bytes trickle in; a
  /// Failure tells it as `told_limit`.
  void exchange(std::size_t expected, Steady::time_point deadline, Duration told_limit,
                std::vector<Reply>& replies);

  /// One command and its reply.
  Reply ask(const Command& command, Steady::time_point deadline, Duration told_limit);

  /// Between two calls nothing is to be read: a socket that has something to read
  /// was closed by the server, which may have been restarted since.
  [[nodiscard]] bool is_dead() const;

 private:
  struct Close {
    void operator()(redisContext* context) const noexcept;
  };
  explicit Connection(redisContext* context);

  std::unique_ptr<redisContext, Close> context_;
};

}  // namespace saathii::redis
