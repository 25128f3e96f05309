// A server that answers any bytes to a client of Redis: the client has as many replies
// as commands, or says why it has none; it neither waits for more nor tells its password.

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "fuzz.hpp"
#include "saathii/base/errors.hpp"
#include "saathii/base/server_state.hpp"
#include "saathii/log/log.hpp"
#include "saathii/redis/client.hpp"

namespace {

using saathii::fuzz::Input;
using saathii::fuzz::require;

constexpr std::string_view secret = "Geheim77";

/// Answers each connection what it was told to, hears the other side out, and closes.
class Server {
 public:
  Server() {
    std::array<char, 32> folder{"/tmp/saathii-fuzz-XXXXXX"};
    require(::mkdtemp(folder.data()) != nullptr, "a folder for the socket");
    folder_ = folder.data();
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, sizeof address.sun_path - 1);
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
                ::listen(listener_, 1) == 0,
            "a listening socket");
    thread_ = std::thread([this] { serve(); });
  }

  ~Server() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
    ::unlink(path().c_str());
    ::rmdir(folder_.c_str());
  }

  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  [[nodiscard]] std::string path() const { return folder_ + "/s"; }

  /// What the next connection is answered.
  void answer(std::string_view bytes) {
    const std::scoped_lock lock(mutex_);
    bytes_ = bytes;
  }

 private:
  void serve() {
    for (;;) {
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0 && errno == EINTR) {
        continue;  // libFuzzer's alarm came to this thread
      }
      if (client < 0) {
        return;
      }
      std::string bytes;
      {
        const std::scoped_lock lock(mutex_);
        bytes = bytes_;
      }
      // Fits in the socket's buffer: it never waits for the client.
      (void)::send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      ::shutdown(client, SHUT_WR);
      std::array<char, 4096> heard{};
      while (::read(client, heard.data(), heard.size()) > 0) {
      }
      ::close(client);
    }
  }

  std::string folder_;
  int listener_ = -1;
  std::mutex mutex_;
  std::string bytes_;
  std::thread thread_;
};

void check(const saathii::redis::Reply& reply, int depth) {
  using Kind = saathii::redis::Reply::Kind;
  require(depth < 16, "lists nest so deep only");
  require(reply.kind == Kind::list || reply.list.empty(), "only a list has items");
  for (const auto& item : reply.list) {
    check(item, depth + 1);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Server server;
  saathii::log::set_level(saathii::log::Level::error);
  Input input(data, size);
  const auto form = input.byte();
  std::string answers;
  const bool with_password = form % 2 == 0;
  if (form / 2 % 2 == 0) {
    answers = with_password ? "+OK\r\n+PONG\r\n" : "+PONG\r\n";
  }
  server.answer(answers.append(input.rest()));

  saathii::config::Redis settings;
  settings.url = "unix://";
  if (with_password) {
    settings.url.append(":").append(secret).append("@");
  }
  settings.url += server.path();
  // Long enough that only a client that waits in vain gets there.
  settings.connect_timeout = settings.command_timeout = std::chrono::minutes{5};
  saathii::ServerState state("redis");
  saathii::redis::Client client(settings, state);
  const std::vector<saathii::redis::Command> commands(1U + form / 4U % 4U, {"GET", "key"});
  try {
    const auto replies = client.pipeline(commands);
    require(replies.size() == commands.size(), "as many replies as commands");
    require(state.snapshot().state == saathii::ServerState::State::up, "who answers is up");
    for (const auto& reply : replies) {
      check(reply, 0);
    }
  } catch (const saathii::Unavailable& error) {
    require(!with_password || std::string_view(error.what()).find(secret) == std::string_view::npos,
            "no error holds the password", error.what());
    require(state.snapshot().state == saathii::ServerState::State::down, "who fails is down");
  }
  return 0;
}
