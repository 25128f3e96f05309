#pragma once

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "saathii/config/config.hpp"

// A real Redis of a test's own, on a Unix socket in a directory of its own. It
// is gone when the object is, and when the test program dies.

namespace saathii::test {

class RedisServer {
 public:
  /// Starts the server; `arguments` are added to its command line, for example
  /// {"--requirepass", "word"}; a configuration file comes first.
  explicit RedisServer(std::vector<std::string> arguments = {}) : arguments_(std::move(arguments)) {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "saathii-redis-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
    folder_ = pattern;
    start();
  }

  ~RedisServer() {
    stop();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  [[nodiscard]] std::string socket() const { return (folder_ / "redis.sock").string(); }

  /// For config::Redis; with `credentials` such as ":word" or "user:word".
  [[nodiscard]] std::string url(const std::string& credentials = "") const {
    return "unix://" + (credentials.empty() ? "" : credentials + "@") + socket();
  }

  /// A client's settings, with time enough for a loaded machine.
  [[nodiscard]] config::Redis settings() const { return patient(url()); }
  static config::Redis patient(const std::string& at) {
    return {at, std::chrono::seconds{30}, std::chrono::seconds{30}};
  }

  /// Starts it empty, and returns once it takes connections.
  void start() {
    if (pid_ != 0) return;
    std::array<int, 2> log{};
    if (pipe2(log.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    const bool has_file = !arguments_.empty() && !arguments_.front().starts_with("--");
    std::vector<std::string> words = {"redis-server"};
    if (has_file) words.push_back(arguments_.front());
    words.insert(words.end(), {"--port", "0", "--unixsocket", socket(), "--save", "",
                               "--appendonly", "no", "--dir", folder_.string()});
    words.insert(words.end(), arguments_.begin() + (has_file ? 1 : 0), arguments_.end());
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ < 0) throw std::runtime_error("fork");
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      dup2(log[1], STDOUT_FILENO);
      dup2(log[1], STDERR_FILENO);
      execvp(argv[0], argv.data());
      _exit(127);
    }
    close(log[1]);
    if (log_ >= 0) close(log_);
    log_ = log[0];
    wait_until_ready();
  }

  /// Kills it: what it held is gone.
  void stop() {
    if (pid_ == 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
    close(log_);
    log_ = -1;
  }

  /// A port of 127.0.0.1 that nobody listens at now.
  static int free_port() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool bound = bind(listener, reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
                       getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0;
    close(listener);
    if (!bound) throw std::runtime_error("no free port");
    return ntohs(address.sin_port);
  }

  /// The process stands still: its kernel takes connections, nobody answers.
  /// Returns once it does.
  void pause() {
    kill(pid_, SIGSTOP);
    int status = 0;
    waitpid(pid_, &status, WUNTRACED);
  }

  void resume() { kill(pid_, SIGCONT); }

 private:
  void wait_until_ready() {
    std::string seen;
    std::array<char, 4096> part{};
    while (seen.find("eady to accept connections") == std::string::npos &&
           seen.find("Sentinel ID is") == std::string::npos) {
      const auto size = read(log_, part.data(), part.size());
      if (size < 0 && errno == EINTR) continue;
      if (size <= 0) {
        waitpid(pid_, nullptr, 0);
        pid_ = 0;
        throw std::runtime_error("redis-server did not start:\n" + seen);
      }
      seen.append(part.data(), static_cast<std::size_t>(size));
    }
  }

  const std::vector<std::string> arguments_;
  std::filesystem::path folder_;
  pid_t pid_ = 0;
  int log_ = -1;
};

}  // namespace saathii::test
