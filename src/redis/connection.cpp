#include "connection.hpp"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <system_error>
#include <type_traits>
#include <utility>

namespace saathii::redis {
namespace {

using Steady = Connection::Steady;
using std::chrono::milliseconds;

/// Far more than any answer to us: the memory is taken as soon as a list begins.
constexpr std::int64_t max_items_of_list = 1 << 20;

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

std::string within(Duration limit) {
  return "no answer within " + format_duration(std::chrono::ceil<milliseconds>(limit));
}

}  // namespace

std::string_view first_word(std::string_view text) { return text.substr(0, text.find(' ')); }

void Connection::Close::operator()(redisContext* context) const noexcept { redisFree(context); }

Connection::Connection(redisContext* context) : context_(context) {
  if (!context_) throw std::bad_alloc();
  if (context_->err != 0) throw Failure(std::string("cannot connect: ") + context_->errstr);
  bound_lists(*context_->reader);
  fcntl(context_->fd, F_SETFD, FD_CLOEXEC);
}

Connection::Connection(Connection&&) noexcept = default;
Connection& Connection::operator=(Connection&&) noexcept = default;
Connection::~Connection() = default;

Connection Connection::to_host(const std::string& host, int port) {
  return Connection(redisConnectNonBlock(host.c_str(), port));
}

Connection Connection::to_socket(const std::string& path) {
  return Connection(redisConnectUnixNonBlock(path.c_str()));
}

void Connection::wait_until_open(Steady::time_point deadline, Duration told_limit) {
  if (wait_for(context_->fd, POLLOUT, deadline) == 0) {
    throw Failure("cannot connect: " + within(told_limit));
  }
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(context_->fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) throw Failure("cannot connect: " + std::generic_category().message(error));
}

void Connection::send(const Command& command) {
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

void Connection::exchange(std::size_t expected, Steady::time_point deadline, Duration told_limit,
                          std::vector<Reply>& replies) {
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
    if (ready == 0) throw Failure(within(told_limit));
    if ((ready & POLLOUT) != 0) {
      const NoSigpipe guard;
      if (redisBufferWrite(context_.get(), &written) != REDIS_OK) throw Failure(context_->errstr);
    }
    if ((ready & ~POLLOUT) != 0 && redisBufferRead(context_.get()) != REDIS_OK) {
      throw Failure(context_->errstr);
    }
  }
}

Reply Connection::ask(const Command& command, Steady::time_point deadline, Duration told_limit) {
  std::vector<Reply> replies;
  send(command);
  exchange(1, deadline, told_limit, replies);
  return std::move(replies.front());
}

bool Connection::is_dead() const {
  return wait_for(context_->fd, POLLIN, Steady::time_point{}) != 0;
}

}  // namespace saathii::redis
