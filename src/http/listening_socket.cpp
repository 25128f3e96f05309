#include "listening_socket.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace saathii::http {

namespace {

/// Connections that the kernel keeps for us until there is room.
constexpr int backlog = 64;
/// The service's user, and its group: who may ask.
constexpr mode_t socket_mode = 0660;

[[noreturn]] void fail(const std::string& what, int error) {
  throw std::runtime_error(what + ": " + std::generic_category().message(error));
}

/// Closes a descriptor at the end of a scope.
class Closer {
 public:
  explicit Closer(int fd) : fd_(fd) {}
  ~Closer() {
    if (fd_ >= 0) ::close(fd_);
  }
  Closer(const Closer&) = delete;
  Closer& operator=(const Closer&) = delete;

 private:
  int fd_;
};

// The socket interface takes every address as a sockaddr.
template <typename Address>
const sockaddr* generic(const Address& address) {
  return static_cast<const sockaddr*>(static_cast<const void*>(&address));
}

sockaddr_un unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy_n(path.begin(), std::min(path.size(), sizeof address.sun_path - 1), address.sun_path);
  return address;
}

/// Removes a socket's file at which nobody listens: what a crash left behind.
void remove_if_stale(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    return;  // bind() says what is wrong, if anything is
  }
  if (!S_ISSOCK(status.st_mode)) {
    throw std::runtime_error("there is a file that is no socket; remove it or name another path");
  }
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (probe < 0) {
    fail("cannot open a socket", errno);
  }
  const Closer closer(probe);
  const sockaddr_un address = unix_address(path);
  if (::connect(probe, generic(address), sizeof address) == 0 || errno == EAGAIN) {
    throw std::runtime_error("another program answers there; stop it or name another path");
  }
  if (errno != ECONNREFUSED) {
    fail("cannot find out whether another program answers there", errno);
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    fail("cannot remove the socket that was left there", errno);
  }
}

}  // namespace

ListeningSocket::ListeningSocket(const config::ListenAddress& address) {
  try {
    address.kind == config::ListenAddress::Kind::tcp ? open_tcp(address) : open_unix(address);
  } catch (...) {
    const Closer closer(release());
    throw;
  }
}

ListeningSocket::~ListeningSocket() {
  const Closer closer(release());
  struct stat status {};
  if (!path_.empty() && ::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
      status.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
}

int ListeningSocket::release() noexcept { return std::exchange(fd_, -1); }

void ListeningSocket::open(int family) {
  family_ = family;
  fd_ = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) {
    fail("cannot open a socket", errno);
  }
}

void ListeningSocket::open_tcp(const config::ListenAddress& address) {
  const bool is_v6 = address.host.find(':') != std::string::npos;
  sockaddr_in6 v6{};
  sockaddr_in v4{};
  v6.sin6_family = AF_INET6;
  v4.sin_family = AF_INET;
  v6.sin6_port = v4.sin_port = htons(address.port);
  if (::inet_pton(is_v6 ? AF_INET6 : AF_INET, address.host.c_str(),
                  is_v6 ? static_cast<void*>(&v6.sin6_addr) : &v4.sin_addr) != 1) {
    throw std::runtime_error("it is no address in numbers");
  }
  open(is_v6 ? AF_INET6 : AF_INET);
  const int on = 1;
  ::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr* name = is_v6 ? generic(v6) : generic(v4);
  socklen_t size = is_v6 ? sizeof v6 : sizeof v4;
  if (::bind(fd_, name, size) != 0 || ::listen(fd_, backlog) != 0) {
    fail("cannot listen there", errno);
  }
  void* bound = is_v6 ? static_cast<void*>(&v6) : &v4;
  if (::getsockname(fd_, static_cast<sockaddr*>(bound), &size) != 0) {
    fail("cannot read its port", errno);
  }
  address_ = (is_v6 ? "[" + address.host + "]" : address.host) + ":" +
             std::to_string(ntohs(is_v6 ? v6.sin6_port : v4.sin_port));
}

void ListeningSocket::open_unix(const config::ListenAddress& address) {
  remove_if_stale(address.path);
  open(AF_UNIX);
  const sockaddr_un name = unix_address(address.path);
  if (::bind(fd_, generic(name), sizeof name) != 0) {
    fail("cannot make the socket", errno);
  }
  path_ = address.path;
  struct stat status {};
  // Nobody can connect until listen(), so its mode is right before anybody tries.
  if (::chmod(path_.c_str(), socket_mode) != 0 || ::lstat(path_.c_str(), &status) != 0 ||
      ::listen(fd_, backlog) != 0) {
    const int error = errno;
    ::unlink(path_.c_str());
    fail("cannot listen there", error);
  }
  device_ = status.st_dev;
  inode_ = status.st_ino;
  address_ = "unix:" + path_;
}

}  // namespace saathii::http
