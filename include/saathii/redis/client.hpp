#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "saathii/base/server_state.hpp"
#include "saathii/config/config.hpp"
#include "saathii/config/url.hpp"

namespace saathii::redis {

class Connection;

/// What a URL says; the configuration checks it too.
using Address = config::RedisAddress;

/// Reads a Redis URL. On failure returns nothing and sets `error`.
[[nodiscard]] std::optional<Address> parse_url(std::string_view url, std::string& error);

/// One command: its words, as they go over the wire.
using Command = std::vector<std::string>;

/// A reply: text, a number, nil, or a list. Errors of single commands are kept
/// as text with `error` set, so that one bad key does not lose a whole pipeline.
struct Reply {
  enum class Kind { nil, text, integer, list, error } kind = Kind::nil;
  std::string text;
  std::int64_t integer = 0;
  std::vector<Reply> list;
};

/// One connection, made when first needed, for one thread at a time.
///
/// Making it (with AUTH, by the password as its file holds it then, and SELECT) takes at most
/// connect_timeout, beyond which only the system's resolver of host names can wait; each 1000
/// commands take at most command_timeout. Where sentinels are asked for the master, each of them
/// and the master that it names has connect_timeout, all together three times that, and only a
/// server that says it is a master is taken; a second later the next call asks again, within
/// connect_timeout, and leaves a master that has given way. After any failure the connection is
/// thrown away, and the next one is made to the master of that time. While a server cannot be
/// reached, calls fail at once with the last error until a backoff (at most 5 s, with jitter) has
/// passed, so that it costs a run little.
class Client {
 public:
  /// What the backoff reads the time from; tests give their own.
  using Clock = std::function<std::chrono::steady_clock::time_point()>;

  /// Opens nothing yet. Throws std::invalid_argument for a URL that parse_url()
  /// refuses. `state` outlives the client.
  Client(const config::Redis& settings, ServerState& state,
         Clock clock = std::chrono::steady_clock::now);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Sends the commands as one pipeline, at most 1000 at a time on the wire,
  /// and returns their replies in order. Throws Unavailable when the server
  /// cannot be reached, does not answer in time or refuses to serve (LOADING,
  /// READONLY, NOAUTH, NOPERM, OOM…); then how much was done is unknown.
  std::vector<Reply> pipeline(const std::vector<Command>& commands);

  /// One command.
  Reply command(const Command& command);

  /// Counts the connections made: another number means that what was written
  /// before may be gone. Changes only within pipeline() and command().
  [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }

  [[nodiscard]] ServerState& state() const { return state_; }

 private:
  void connect();
  void greet(Connection& connection, Duration limit);
  void find_master();
  [[nodiscard]] bool has_other_master();
  void read_sentinel_password();
  void remember_master(const config::HostAndPort& master);
  std::vector<Command> greeting();
  [[noreturn]] void fail(const std::string& what);

  const config::Redis settings_;
  const Address address_;
  std::string password_;           ///< of the connection; secret
  std::string sentinel_password_;  ///< secret
  std::string place_;              ///< for messages: "redis at 127.0.0.1:6379"
  ServerState& state_;
  const Clock clock_;
  std::unique_ptr<Connection> connection_;
  std::size_t first_sentinel_ = 0;  ///< with which the next search begins
  config::HostAndPort master_;      ///< the last one that was found
  std::chrono::steady_clock::time_point believed_until_{};
  std::uint64_t generation_ = 0;
  int failed_connects_ = 0;
  std::chrono::steady_clock::time_point retry_at_{};
  std::string last_error_;
  std::minstd_rand jitter_;
};

}  // namespace saathii::redis
