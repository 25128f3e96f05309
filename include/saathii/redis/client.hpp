#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "saathii/base/server_state.hpp"
#include "saathii/config/config.hpp"

struct redisContext;

namespace saathii::redis {

/// What a redis:// or unix:// URL says.
struct Address {
  std::string host;  ///< empty for a Unix socket
  int port = 6379;
  std::string path;  ///< of a Unix socket
  std::string username;
  std::string password;  ///< secret
  int database = 0;
};

/// Reads "redis://[user][:password@]host[:port][/db]" or
/// "unix:///path/to.sock[?db=N]". On failure returns nothing and sets `error`.
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

/// One connection, made when first needed, for one thread at a time. Every call
/// is bounded by connect_timeout and command_timeout.
class Client {
 public:
  Client(config::Redis settings, ServerState& state);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Sends the commands as one pipeline, at most 1000 at a time on the wire,
  /// and returns their replies in order. Throws Unavailable when the server
  /// cannot be reached, does not answer in time or refuses to serve (LOADING,
  /// READONLY, NOAUTH…); then how much was done is unknown.
  std::vector<Reply> pipeline(const std::vector<Command>& commands);

  /// One command.
  Reply command(const Command& command);

  /// Counts the connections made: another number means that what was written
  /// before may be gone.
  [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }

  [[nodiscard]] ServerState& state() const { return state_; }

 private:
  struct Close {
    void operator()(redisContext* context) const noexcept;
  };
  void connect();
  [[noreturn]] void fail(const std::string& what);

  const config::Redis settings_;
  ServerState& state_;
  std::unique_ptr<redisContext, Close> context_;
  std::uint64_t generation_ = 0;
};

}  // namespace saathii::redis
