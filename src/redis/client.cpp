#include "saathii/redis/client.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include "connection.hpp"
#include "saathii/base/errors.hpp"
#include "saathii/log/log.hpp"
#include "sentinel.hpp"

namespace saathii::redis {
namespace {

using Steady = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t max_commands_on_wire = 1000;
constexpr milliseconds first_backoff{500};
constexpr milliseconds backoff_cap{5000};
/// How many connect_timeouts there are for all sentinels and masters of one try.
constexpr int max_sentinel_waits = 3;
/// How long a master is believed to be the one. Who has to give way without being
/// dead takes writes for some 10 s more, until a sentinel tells it: they are lost.
constexpr std::chrono::seconds master_believed_for{1};

// What the server as a whole says no with, in the first word of an error: it
// holds for every command alike, until somebody mends the server or its users.
constexpr std::array<std::string_view, 13> refusals = {
    "BUSY",   "CLUSTERDOWN", "DENIED", "LOADING",  "MASTERDOWN", "MISCONF",  "NOAUTH",
    "NOPERM", "NOREPLICAS",  "OOM",    "READONLY", "TRYAGAIN",   "WRONGPASS"};

bool is_refusal(const Reply& reply) {
  return reply.kind == Reply::Kind::error &&
         std::find(refusals.begin(), refusals.end(), first_word(reply.text)) != refusals.end();
}

std::string describe(const Address& address) {
  if (!address.master_name.empty()) return "redis master " + address.master_name;
  if (!address.path.empty()) return "redis at " + address.path;
  return "redis at " + to_string({.host = address.host, .port = address.port});
}

Address checked(std::string_view url) {
  std::string error;
  auto address = parse_url(url, error);
  if (!address) throw std::invalid_argument("redis url: " + error);
  return *std::move(address);
}

/// Where a password that the server did not take came from, for who has to set
/// it right; empty for any other refusal.
std::string about_password(std::string_view refusal, const config::Redis& settings) {
  if (first_word(refusal) == "NOAUTH") {
    return " Name a file that holds the password in [redis] password_file";
  }
  if (first_word(refusal) != "WRONGPASS") return {};
  if (config::has_password(settings.url)) return "; the password is that of the URL";
  const auto& source = settings.password;
  return "; the password is that of " + (source.file.empty() ? source.credential : source.file);
}

}  // namespace

std::optional<Address> parse_url(std::string_view url, std::string& error) {
  return config::parse_redis_url(url, error);
}

Client::Client(const config::Redis& settings, ServerState& state, Clock clock)
    : settings_(settings),
      address_(checked(settings.url)),
      password_(address_.password),
      place_(describe(address_)),
      state_(state),
      clock_(std::move(clock)),
      jitter_(std::random_device{}()) {}

Client::~Client() = default;

std::vector<Reply> Client::pipeline(const std::vector<Command>& commands) {
  std::vector<Reply> replies;
  if (commands.empty()) return replies;
  if (std::any_of(commands.begin(), commands.end(), [](const auto& c) { return c.empty(); })) {
    throw std::invalid_argument("a Redis command without words");
  }
  if (connection_ && (connection_->is_dead() || has_other_master())) connection_.reset();
  if (!connection_) connect();
  replies.reserve(commands.size());
  try {
    while (replies.size() < commands.size()) {
      const auto first = replies.size();
      const auto end = std::min(first + max_commands_on_wire, commands.size());
      for (auto i = first; i < end; ++i) connection_->send(commands[i]);
      connection_->exchange(end, Steady::now() + settings_.command_timeout,
                            settings_.command_timeout, replies);
      const auto refused = std::find_if(replies.begin() + static_cast<std::ptrdiff_t>(first),
                                        replies.end(), is_refusal);
      if (refused != replies.end()) throw Failure("refuses to serve: " + refused->text);
    }
  } catch (const Failure& failure) {
    fail(failure.what());
  }
  state_.report_up();
  return replies;
}

Reply Client::command(const Command& command) { return std::move(pipeline({command}).front()); }

void Client::connect() {
  if (failed_connects_ > 0 && clock_() < retry_at_) throw Unavailable("redis", last_error_);
  try {
    if (address_.sentinels.empty()) {
      connection_ = std::make_unique<Connection>(
          address_.path.empty() ? Connection::to_host(address_.host, address_.port)
                                : Connection::to_socket(address_.path));
      greet(*connection_, settings_.connect_timeout);
    } else {
      find_master();
    }
  } catch (const Failure& failure) {
    const auto longest =
        std::min(first_backoff * (1 << std::min(failed_connects_, 10)), backoff_cap);
    std::uniform_int_distribution<std::int64_t> draw(longest.count() / 2, longest.count());
    retry_at_ = clock_() + milliseconds{draw(jitter_)};
    ++failed_connects_;
    fail(failure.what());
  }
  failed_connects_ = 0;
  ++generation_;
}

/// Says who we are and hears the server answer: a stopped server still lets its
/// kernel accept connections.
void Client::greet(Connection& connection, Duration limit) {
  const auto deadline = Steady::now() + limit;
  connection.wait_until_open(deadline, limit);
  // One after another: a server that refuses says why only to the first.
  for (const auto& command : greeting()) {
    const auto reply = connection.ask(command, deadline, limit);
    // A user who may not PING is served all the same.
    const bool may_not_ping = command.front() == "PING" && first_word(reply.text) == "NOPERM";
    if (reply.kind == Reply::Kind::error && !may_not_ping) {
      throw Failure("refuses to serve: " + reply.text + about_password(reply.text, settings_));
    }
  }
  if (!address_.sentinels.empty()) require_master(connection, deadline, limit);
}

/// Asks one sentinel after another, and takes the first master named that is one:
/// during a failover, and behind a lost network, sentinels disagree. Begins with
/// the sentinel that led there last, or with the first that there was no time for.
void Client::find_master() {
  place_ = describe(address_);
  read_sentinel_password();
  const auto deadline = Steady::now() + max_sentinel_waits * settings_.connect_timeout;
  const auto count = address_.sentinels.size();
  std::string failures;
  std::vector<config::HostAndPort> tried;
  for (std::size_t i = 0; i < count; ++i) {
    const auto index = (first_sentinel_ + i) % count;
    const auto& sentinel = address_.sentinels[index];
    const auto limit = [&] {
      const auto left = std::chrono::duration_cast<Duration>(deadline - Steady::now());
      return std::min(left, settings_.connect_timeout);
    };
    if (limit() <= Duration{0}) {
      first_sentinel_ = index;
      break;
    }
    std::string culprit = "the sentinel at " + to_string(sentinel);
    try {
      const auto wait = limit();
      const auto master = ask_sentinel(sentinel, {.master_name = address_.master_name,
                                                  .username = address_.sentinel_username,
                                                  .password = sentinel_password_,
                                                  .deadline = Steady::now() + wait,
                                                  .told_limit = wait});
      if (std::find(tried.begin(), tried.end(), master) != tried.end()) continue;
      tried.push_back(master);
      culprit += " names " + to_string(master);
      connection_ = std::make_unique<Connection>(Connection::to_host(master.host, master.port));
      greet(*connection_, std::max(limit(), Duration{1}));
      first_sentinel_ = index;
      remember_master(master);
      return;
    } catch (const Failure& failure) {
      connection_.reset();
      failures += (failures.empty() ? "" : "; ") + culprit + ": " + failure.what();
    }
  }
  throw Failure(failures);
}

/// Asks the sentinel that led here. One that does not answer is not the first to
/// be asked the next time, and nothing is known.
bool Client::has_other_master() {
  if (address_.sentinels.empty() || clock_() < believed_until_) return false;
  believed_until_ = clock_() + master_believed_for;
  const auto wait = settings_.connect_timeout;
  try {
    return ask_sentinel(address_.sentinels[first_sentinel_],
                        {.master_name = address_.master_name,
                         .username = address_.sentinel_username,
                         .password = sentinel_password_,
                         .deadline = Steady::now() + wait,
                         .told_limit = wait}) != master_;
  } catch (const Failure&) {
    first_sentinel_ = (first_sentinel_ + 1) % address_.sentinels.size();
    return false;
  }
}

void Client::read_sentinel_password() {
  sentinel_password_ = address_.sentinel_password;
  if (!sentinel_password_.empty()) return;
  try {
    sentinel_password_ = read_password(settings_.sentinel_password).value_or("");
  } catch (const PasswordUnreadable& error) {
    throw Failure(error.what());
  }
}

void Client::remember_master(const config::HostAndPort& master) {
  place_ = "redis at " + to_string(master) + " (" + address_.master_name + ")";
  if (!master_.host.empty() && master_ != master) {
    log::info("the master " + address_.master_name + " of Redis is at " + to_string(master) +
                  " now, it was at " + to_string(master_),
              {{"SERVER", "redis"}});
  }
  master_ = master;
  believed_until_ = clock_() + master_believed_for;
}

std::vector<Command> Client::greeting() {
  std::vector<Command> words;
  if (address_.password.empty()) {
    try {
      password_ = read_password(settings_.password).value_or("");
    } catch (const PasswordUnreadable& error) {
      throw Failure(error.what());
    }
  }
  if (password_.empty() && !address_.username.empty()) {
    throw Failure(
        "there is no password for the user of the URL; name a file that holds it in "
        "[redis] password_file");
  }
  if (!password_.empty()) {
    words.push_back({"AUTH"});
    if (!address_.username.empty()) words.back().push_back(address_.username);
    words.back().push_back(password_);
  }
  if (address_.database != 0) {
    words.push_back({"SELECT", std::to_string(address_.database)});
  }
  words.push_back({"PING"});
  return words;
}

void Client::fail(const std::string& what) {
  connection_.reset();
  std::string text = place_ + ": " + what;
  for (const auto* secret : {&password_, &sentinel_password_}) {
    for (auto at = text.find(*secret); !secret->empty() && at != std::string::npos;
         at = text.find(*secret, at + 3)) {
      text.replace(at, secret->size(), "***");
    }
  }
  last_error_ = text;
  state_.report_down(text);
  throw Unavailable("redis", text);
}

}  // namespace saathii::redis
