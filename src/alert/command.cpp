#include "command.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <optional>
#include <system_error>

#include "saathii/base/descriptor.hpp"
#include "saathii/log/log.hpp"

namespace saathii::alert {

namespace {

constexpr std::size_t max_output_bytes = 1000;  ///< of what it says that is logged
constexpr std::size_t max_drain_reads = 64;
constexpr std::size_t max_value_bytes = 8192;
/// After it was asked to end, before it is made to.
constexpr std::chrono::seconds end_grace{2};

using Steady = std::chrono::steady_clock;

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

/// What it reads: a file in memory, so that nobody waits for it to read.
void fill_input(Descriptor& input, const std::string& text) {
  input.reset(::memfd_create("saathiid-alert", MFD_CLOEXEC));
  if (input.get() < 0) {
    fail("memfd_create");
  }
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t part = ::write(input.get(), text.data() + done, text.size() - done);
    if (part <= 0) {
      fail("write");
    }
    done += static_cast<std::size_t>(part);
  }
  if (::lseek(input.get(), 0, SEEK_SET) != 0) {
    fail("lseek");
  }
}

std::vector<std::string> environment_of(const Letter& letter) {
  const Message& message = letter.message;
  std::vector<std::string> all = {
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"};
  const auto add = [&](std::string_view name, std::string value) {
    value.resize(std::min(value.size(), max_value_bytes));
    std::erase(value, '\0');
    all.push_back(fmt::format("SAATHII_ALERT_{}={}", name, value));
  };
  std::string kinds;
  for (const Kind kind : message.kinds) {
    kinds += (kinds.empty() ? "" : ",") + std::string(to_string(kind));
  }
  add("EVENT", std::string(to_string(message.event)));
  add("KINDS", kinds);
  add("SUBJECT", message.subject);
  add("HOST", letter.host);
  add("TITLE", letter.title);
  add("BODY", letter.body);
  add("REASON", message.reason);
  add("ID", message.alerts.empty() ? "" : message.alerts.front());
  add("AT", to_iso8601(message.at));
  add("SINCE", to_iso8601(message.since));
  add("TIMES", std::to_string(message.times));
  add("RUN_ID", message.run_id);
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  all.reserve(texts.size() + 1);
  for (std::string& text : texts) {
    all.push_back(text.data());
  }
  all.push_back(nullptr);
  return all;
}

/// posix_spawn's two objects.
struct SpawnPlan {
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
};

/// A program in a process group of its own, which this object outlives none of.
class Child {
 public:
  /// Throws std::system_error.
  Child(std::vector<std::string> arguments, const Letter& letter) {
    fill_input(input_, to_json(letter));
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
      fail("pipe2");
    }
    output_.reset(pipe[0]);
    const Descriptor theirs(pipe[1]);
    ::fcntl(output_.get(), F_SETFL, O_NONBLOCK);
    spawn(arguments, letter, theirs.get());
    input_.reset();
    // Not pidfd_open(): the header of glibc 2.36 forgets that C++ may include it.
    exited_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    if (exited_.get() < 0) {
      const int error = errno;
      end_group(SIGKILL);
      reap();
      errno = error;
      fail("pidfd_open");
    }
  }
  ~Child() {
    if (pid_ > 0) {
      end_group(SIGKILL);
      reap();
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Until it has ended, `until` or `woken` becomes readable; keeps what it says.
  /// True: it has ended.
  bool wait(Steady::time_point until, int woken) {
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Steady::now());
      std::array<pollfd, 3> waited{
          {{exited_.get(), POLLIN, 0}, {woken, POLLIN, 0}, {output_.get(), POLLIN, 0}}};
      ::poll(waited.data(), waited.size(),
             static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
      if (waited[2].revents != 0 && !read_some()) {
        output_.reset();
      }
      if (waited[0].revents != 0) {
        return true;
      }
      if (waited[1].revents != 0 || Steady::now() >= until) {
        return false;
      }
    }
  }

  /// It, too, by name: it may have gone to another group.
  void end_group(int signal) const {
    ::kill(-pid_, signal);
    ::kill(pid_, signal);
  }

  /// Asks, then makes it end. False: the kernel does not let go of it.
  bool end() {
    const Descriptor never(::eventfd(0, EFD_CLOEXEC));
    for (const int signal : {SIGTERM, SIGKILL}) {
      end_group(signal);
      if (wait(Steady::now() + end_grace, never.get())) {
        return true;
      }
    }
    return false;
  }

  /// It is ended some day, by itself.
  void leave() { pid_ = -1; }

  /// Ends what it has left behind, and returns how it ended itself.
  siginfo_t reap() {
    siginfo_t how{};
    // It keeps its number, and with it the group's, until the second call.
    while (::waitid(P_PID, static_cast<id_t>(pid_), &how, WEXITED | WNOWAIT) != 0 &&
           errno == EINTR) {
    }
    end_group(SIGKILL);
    while (::waitid(P_PID, static_cast<id_t>(pid_), &how, WEXITED) != 0 && errno == EINTR) {
    }
    pid_ = -1;
    for (std::size_t i = 0; i < max_drain_reads && output_.get() >= 0 && read_some(); ++i) {
    }
    return how;
  }

  [[nodiscard]] std::string output() const { return one_line(said_, max_output_bytes); }

 private:
  void spawn(std::vector<std::string>& arguments, const Letter& letter, int output) {
    SpawnPlan plan;
    posix_spawn_file_actions_adddup2(&plan.actions, input_.get(), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&plan.actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&plan.actions, output, STDERR_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&plan.actions, STDERR_FILENO + 1);
    posix_spawn_file_actions_addchdir_np(&plan.actions, "/");
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&plan.attributes, &none);
    posix_spawnattr_setsigdefault(&plan.attributes, &all);
    posix_spawnattr_setpgroup(&plan.attributes, 0);
    posix_spawnattr_setflags(
        &plan.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    std::vector<std::string> environment = environment_of(letter);
    const std::vector<char*> argv = pointers(arguments);
    const std::vector<char*> envp = pointers(environment);
    errno =
        ::posix_spawn(&pid_, argv[0], &plan.actions, &plan.attributes, argv.data(), envp.data());
    if (errno != 0) {
      pid_ = -1;
      fail(argv[0]);
    }
  }

  /// False: nothing more comes, or not now.
  bool read_some() {
    std::array<char, 4096> bytes{};
    const ssize_t got = ::read(output_.get(), bytes.data(), bytes.size());
    if (got > 0) {
      // The beginning: what a program says first is mostly why it fails.
      const auto room = max_output_bytes + 1 - std::min(said_.size(), max_output_bytes + 1);
      said_.append(bytes.data(), std::min(static_cast<std::size_t>(got), room));
    }
    return got > 0 || (got < 0 && errno == EINTR);
  }

  pid_t pid_ = -1;
  Descriptor input_;
  Descriptor output_;
  Descriptor exited_;
  std::string said_;
};

std::string describe(const siginfo_t& how) {
  return how.si_code == CLD_EXITED ? fmt::format("exit code {}", how.si_status)
                                   : fmt::format("signal {}", how.si_status);
}

class Command final : public Channel {
 public:
  explicit Command(const config::AlertCommand& settings) : settings_(settings) {}

  Verdict send(Delivery& delivery, const std::stop_token& stop) override {
    try {
      return run(*delivery.letter, stop);
    } catch (const std::system_error& error) {
      return {Verdict::Kind::retry,
              fmt::format("{} cannot be run ({}): correct run of [alerts.command], or install it",
                          settings_.run.front(), error.code().message())};
    } catch (const std::exception& error) {
      return {Verdict::Kind::retry, error.what()};
    }
  }

 private:
  [[nodiscard]] Verdict run(const Letter& letter, const std::stop_token& stop) const {
    const Descriptor woken(::eventfd(0, EFD_CLOEXEC));
    if (woken.get() < 0) {
      fail("eventfd");
    }
    Child child(settings_.run, letter);
    bool ended = false;
    {
      const std::stop_callback wake(stop, [&] { ::eventfd_write(woken.get(), 1); });
      ended = child.wait(Steady::now() + settings_.timeout, woken.get());
    }
    if (!ended && !child.end()) {
      child.leave();
      return {Verdict::Kind::retry,
              fmt::format("{} does not end even when killed", settings_.run.front())};
    }
    const siginfo_t how = child.reap();
    const std::string output = child.output();
    const std::string said = output.empty() ? "" : ", after it said: " + output;
    if (!ended) {
      const std::string why = stop.stop_requested() ? "saathiid ended"
                                                    : fmt::format("its time limit of {} was over",
                                                                  humanize(settings_.timeout));
      return {Verdict::Kind::retry,
              fmt::format("{} was ended, because {}{}", settings_.run.front(), why, said)};
    }
    if (how.si_code != CLD_EXITED || how.si_status != 0) {
      return {
          .kind = Verdict::Kind::retry,
          .detail = fmt::format("{} ended with {}{}", settings_.run.front(), describe(how), said),
          .is_letters_own = true};
    }
    if (!output.empty()) {
      log::debug(fmt::format("{} said: {}", settings_.run.front(), output));
    }
    return {};
  }

  const config::AlertCommand settings_;
};

}  // namespace

std::shared_ptr<Channel> make_command(const config::AlertCommand& settings) {
  return std::make_shared<Command>(settings);
}

}  // namespace saathii::alert
