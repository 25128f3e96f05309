#include "saathii/redis/client.hpp"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <stdexcept>
#include <system_error>
#include <type_traits>
#include <utility>

#include "saathii/base/errors.hpp"

namespace saathii::redis {
namespace {

using Steady = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t max_commands_on_wire = 1000;
/// Far more than any answer to us: the memory is taken as soon as a list begins.
constexpr std::int64_t max_items_of_list = 1 << 20;
constexpr milliseconds first_backoff{500};
constexpr milliseconds backoff_cap{5000};

// What the server as a whole says no with, in the first word of an error: it
// holds for every command alike, until somebody mends the server or its users.
constexpr std::array<std::string_view, 13> refusals = {
    "BUSY",   "CLUSTERDOWN", "DENIED", "LOADING",  "MASTERDOWN", "MISCONF",  "NOAUTH",
    "NOPERM", "NOREPLICAS",  "OOM",    "READONLY", "TRYAGAIN",   "WRONGPASS"};

std::string_view first_word(std::string_view text) { return text.substr(0, text.find(' ')); }

bool is_refusal(const Reply& reply) {
  return reply.kind == Reply::Kind::error &&
         std::find(refusals.begin(), refusals.end(), first_word(reply.text)) != refusals.end();
}

std::string describe(const Address& address) {
  if (!address.path.empty()) return "redis at " + address.path;
  return "redis at " + address.host + ":" + std::to_string(address.port);
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

struct FreeReply {
  void operator()(redisReply* reply) const noexcept { freeReplyObject(reply); }
};
using RawReply = std::unique_ptr<redisReply, FreeReply>;

using ReplyMaker = std::remove_pointer_t<decltype(redisReader::fn)>;

/// What hiredis itself makes replies with.
ReplyMaker& usual_maker() {
  static ReplyMaker maker{};
  return maker;
}

/// hiredis' versions differ in the type of `items`.
template <typename Count>
void* make_list(const redisReadTask* task, Count items) {
  const auto make = usual_maker().createArray;
  if (make == nullptr || static_cast<std::int64_t>(items) > max_items_of_list) return nullptr;
  return make(task, items);
}

/// A server, or what else is at its address, may announce billions of items.
void bound_lists(redisReader& reader) {
  static ReplyMaker bounded = [&] {
    usual_maker() = *reader.fn;
    ReplyMaker maker = *reader.fn;
    maker.createArray = make_list;
    return maker;
  }();
  reader.fn = &bounded;
}

/// hiredis bounds how deep lists nest.
Reply convert(const redisReply& raw) {
  Reply reply;
  switch (raw.type) {
    case REDIS_REPLY_NIL:
      break;
    case REDIS_REPLY_INTEGER:
      reply.kind = Reply::Kind::integer;
      reply.integer = raw.integer;
      break;
    case REDIS_REPLY_ARRAY:
      reply.kind = Reply::Kind::list;
      reply.list.reserve(raw.elements);
      for (std::size_t i = 0; i < raw.elements; ++i) reply.list.push_back(convert(*raw.element[i]));
      break;
    default:
      reply.kind = raw.type == REDIS_REPLY_ERROR ? Reply::Kind::error : Reply::Kind::text;
      reply.text.assign(raw.str, raw.len);
  }
  return reply;
}

/// While it lives, writing to a closed socket is an error of this thread's
/// write and not a signal that ends the program: hiredis asks for no such thing.
class NoSigpipe {
 public:
  NoSigpipe() {
    sigemptyset(&sigpipe_);
    sigaddset(&sigpipe_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
  }
  ~NoSigpipe() {
    const timespec at_once{};
    if (!was_pending_) sigtimedwait(&sigpipe_, nullptr, &at_once);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

 private:
  sigset_t sigpipe_{};
  sigset_t before_{};
  bool was_pending_ = false;
};

/// Waits for `events` until the deadline; 0 if it passed.
short wait_for(int fd, short events, Steady::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - Steady::now()).count();
    pollfd waited{fd, events, 0};
    const int ready =
        poll(&waited, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000)));
    if (ready > 0) return waited.revents;
    if (ready == 0 && left <= 0) return 0;
    if (ready < 0 && errno != EINTR)
      throw std::system_error(errno, std::generic_category(), "poll");
  }
}

}  // namespace

/// What ends a connection; its text holds no secret.
struct Client::Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::optional<Address> parse_url(std::string_view url, std::string& error) {
  return config::parse_redis_url(url, error);
}

void Client::Close::operator()(redisContext* context) const noexcept { redisFree(context); }

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
  drop_if_dead();
  if (!context_) connect();
  replies.reserve(commands.size());
  try {
    while (replies.size() < commands.size()) {
      const auto first = replies.size();
      const auto end = std::min(first + max_commands_on_wire, commands.size());
      for (auto i = first; i < end; ++i) send(commands[i]);
      exchange(end, Steady::now(), settings_.command_timeout, replies);
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
    greet();
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

/// Connects, says who we are and hears the server answer: a stopped server
/// still lets its kernel accept connections.
void Client::greet() {
  const auto begun = Steady::now();
  context_.reset(address_.path.empty() ? redisConnectNonBlock(address_.host.c_str(), address_.port)
                                       : redisConnectUnixNonBlock(address_.path.c_str()));
  if (!context_) throw std::bad_alloc();
  if (context_->err != 0) throw Failure(std::string("cannot connect: ") + context_->errstr);
  bound_lists(*context_->reader);
  fcntl(context_->fd, F_SETFD, FD_CLOEXEC);
  if (wait_for(context_->fd, POLLOUT, begun + settings_.connect_timeout) == 0) {
    throw Failure("cannot connect: no answer within " + format_duration(settings_.connect_timeout));
  }
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(context_->fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    throw Failure("cannot connect: " + std::generic_category().message(error));
  }

  // One after another: a server that refuses says why only to the first.
  for (const auto& command : greeting()) {
    std::vector<Reply> replies;
    send(command);
    exchange(1, begun, settings_.connect_timeout, replies);
    const auto& reply = replies.front();
    // A user who may not PING is served all the same.
    const bool may_not_ping = command.front() == "PING" && first_word(reply.text) == "NOPERM";
    if (reply.kind == Reply::Kind::error && !may_not_ping) {
      throw Failure("refuses to serve: " + reply.text + about_password(reply.text, settings_));
    }
  }
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

/// Between two calls nothing is to be read: a socket that has something to read
/// was closed by the server, which may have been restarted since.
void Client::drop_if_dead() {
  if (context_ && wait_for(context_->fd, POLLIN, Steady::time_point{}) != 0) context_.reset();
}

void Client::send(const Command& command) {
  std::vector<const char*> words;
  std::vector<std::size_t> lengths;
  for (const auto& word : command) {
    words.push_back(word.data());
    lengths.push_back(word.size());
  }
  if (redisAppendCommandArgv(context_.get(), static_cast<int>(words.size()), words.data(),
                             lengths.data()) != REDIS_OK) {
    throw Failure(context_->errstr);
  }
}

/// Writes what send() collected and reads until there are `expected` replies.
/// The limit is one for all of it, however slowly bytes trickle in.
void Client::exchange(std::size_t expected, Steady::time_point begun, Duration limit,
                      std::vector<Reply>& replies) {
  const auto deadline = begun + limit;
  int written = 0;
  while (replies.size() < expected) {
    void* raw = nullptr;
    if (redisGetReplyFromReader(context_.get(), &raw) != REDIS_OK) {
      throw Failure(context_->err == REDIS_ERR_OOM ? "answers more than there is room for"
                                                   : context_->errstr);
    }
    if (raw != nullptr) {
      replies.push_back(convert(*RawReply(static_cast<redisReply*>(raw))));
      continue;
    }
    const auto events = static_cast<short>(written == 0 ? POLLIN | POLLOUT : POLLIN);
    const auto ready = Steady::now() < deadline ? wait_for(context_->fd, events, deadline) : 0;
    if (ready == 0) throw Failure("no answer within " + format_duration(limit));
    if ((ready & POLLOUT) != 0) {
      const NoSigpipe guard;
      if (redisBufferWrite(context_.get(), &written) != REDIS_OK) throw Failure(context_->errstr);
    }
    if ((ready & ~POLLOUT) != 0 && redisBufferRead(context_.get()) != REDIS_OK) {
      throw Failure(context_->errstr);
    }
  }
}

void Client::fail(const std::string& what) {
  context_.reset();
  std::string text = place_ + ": " + what;
  const auto& secret = password_;
  for (auto at = text.find(secret); !secret.empty() && at != std::string::npos;
       at = text.find(secret, at + 3)) {
    text.replace(at, secret.size(), "***");
  }
  last_error_ = text;
  state_.report_down(text);
  throw Unavailable("redis", text);
}

}  // namespace saathii::redis
