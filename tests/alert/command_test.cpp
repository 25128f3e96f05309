#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stop_token>
#include <string>
#include <thread>

#include "catch.hpp"
#include "letters.hpp"

using namespace saathii;
using namespace saathii::alert;
using namespace std::chrono_literals;
using saathii::alert::test::delivery;

namespace {

/// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "saathii-alert-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::string file(const std::string& name) const { return (path_ / name).string(); }
  [[nodiscard]] std::string text(const std::string& name) const {
    std::stringstream text;
    text << std::ifstream(path_ / name).rdbuf();
    return text.str();
  }

 private:
  std::filesystem::path path_;
};

std::shared_ptr<Channel> command(std::vector<std::string> run, Duration timeout = 60s) {
  config::Alerts settings;
  settings.command.run = std::move(run);
  settings.command.timeout = timeout;
  return make_channel("command", settings);
}

/// A shell script; "$1" is the folder.
std::shared_ptr<Channel> shell(const Folder& folder, const std::string& script,
                               Duration timeout = 60s) {
  return command({"/bin/sh", "-c", script, "sh", folder.file("")}, timeout);
}

Verdict send(Channel& channel, const std::stop_token& stop = {}) {
  Delivery letter = delivery();
  return channel.send(letter, stop);
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Returns once nobody holds the lock on the file any more: all are dead who did.
void wait_for_lock(const std::string& file) {
  const int number = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(number >= 0);
  CHECK(::flock(number, LOCK_EX) == 0);
  ::close(number);
}

}  // namespace

TEST_CASE("a command gets the alert on its input and in its environment") {
  const Folder folder;
  const auto channel = shell(folder, "cat > $1/input; env > $1/environment; pwd > $1/pwd");
  ::setenv("DATABASE_URL", "postgresql://u:hunter2@db", 1);
  CHECK(send(*channel).kind == Verdict::Kind::delivered);
  ::unsetenv("DATABASE_URL");
  const auto json = nlohmann::json::parse(folder.text("input"));
  CHECK(json["title"] == "a failed");
  CHECK(json["kinds"] == nlohmann::json{"failed"});
  const std::string environment = folder.text("environment");
  CHECK(has(environment, "SAATHII_ALERT_EVENT=opened\n"));
  CHECK(has(environment, "SAATHII_ALERT_KINDS=failed\n"));
  CHECK(has(environment, "SAATHII_ALERT_SUBJECT=a\n"));
  CHECK(has(environment, "SAATHII_ALERT_RUN_ID=run-1\n"));
  CHECK_FALSE(has(environment, "hunter2"));
  CHECK(folder.text("pwd") == "/\n");
}

TEST_CASE("a command inherits no descriptor, no signal's mask and no signal that is ignored") {
  const Folder folder;
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  const int leaked = ::open("/dev/null", O_RDONLY);  // without O_CLOEXEC
  REQUIRE(leaked > STDERR_FILENO);
  // A shell that has become another program: while it is one it blocks and saves itself.
  const auto channels = {
      shell(folder, "exec ls /proc/self/fd > $1/fds"),
      shell(folder, "exec grep -E 'Sig(Blk|Ign)' /proc/self/status > $1/signals"),
      shell(folder, "exec awk '{print $1 == $5}' /proc/self/stat > $1/leads")};
  std::thread like_a_courier([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    for (const auto& channel : channels) {
      CHECK(send(*channel).kind == Verdict::Kind::delivered);
    }
  });
  like_a_courier.join();
  ::close(leaked);
  std::signal(SIGPIPE, before);
  CHECK(folder.text("fds") == "0\n1\n2\n3\n");  // 3 is that of ls
  // The two that glibc keeps for itself may be ignored: that of Debian 12 does so.
  std::string signals = folder.text("signals");
  if (const auto own = signals.find("180000000"); own != std::string::npos) {
    signals.replace(own, 3, "000");
  }
  CHECK(signals == "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
  CHECK(folder.text("leads") == "1\n");
}

TEST_CASE("a command that does not read its input is none the worse") {
  const Folder folder;
  CHECK(send(*shell(folder, "exec <&-; exit 0")).kind == Verdict::Kind::delivered);
}

TEST_CASE("a command that fails is tried again, and what it said is told") {
  const Folder folder;
  const Verdict failed = send(*shell(folder, "echo out; echo 'no modem' >&2; exit 3"));
  CHECK(failed.kind == Verdict::Kind::retry);
  CHECK(failed.is_letters_own);
  CHECK(failed.detail == "/bin/sh ended with exit code 3, after it said: out no modem ");
  const Verdict killed = send(*shell(folder, "kill -SEGV $$"));
  CHECK(killed.kind == Verdict::Kind::retry);
  CHECK(killed.detail == "/bin/sh ended with signal 11");
}

TEST_CASE("a command that cannot be run says what to do") {
  const Verdict missing = send(*command({"/no/such/program"}));
  CHECK(missing.kind == Verdict::Kind::retry);
  CHECK(missing.detail ==
        "/no/such/program cannot be run (No such file or directory): correct "
        "run of [alerts.command], or install it");
  CHECK(has(send(*command({"/etc/passwd"})).detail, "Permission denied"));
}

TEST_CASE("a command that says too much is cut short, not held up") {
  const Folder folder;
  const Verdict verdict =
      send(*shell(folder, "head -c 5000000 /dev/zero | tr '\\0' x >&2; exit 1"));
  CHECK(verdict.kind == Verdict::Kind::retry);
  CHECK(verdict.detail.size() < 1200);
}

TEST_CASE("a command that hangs is ended with all that it started") {
  const Folder folder;
  const std::string script =
      "exec 9> $1/lock; flock 9; (sleep 10000 & sleep 10000) & echo started; wait";
  const Verdict verdict = send(*shell(folder, script, 500ms));
  CHECK(verdict.kind == Verdict::Kind::retry);
  CHECK(has(verdict.detail, "was ended, because its time limit of 500 ms was over"));
  if (std::filesystem::exists(folder.file("lock"))) {
    wait_for_lock(folder.file("lock"));
  }
}

TEST_CASE("a command that will not hear is made to end") {
  const Folder folder;
  REQUIRE(::mkfifo(folder.file("deaf").c_str(), 0600) == 0);
  // Told only once it is deaf: a stop before that would end it by itself.
  const auto channel = shell(folder,
                             "exec 9> $1/lock; flock 9; trap '' TERM; echo deaf > $1/deaf; "
                             "while :; do sleep 10000; done",
                             1h);
  std::stop_source stop;
  Verdict verdict;
  std::thread sender([&] { verdict = send(*channel, stop.get_token()); });
  CHECK(folder.text("deaf") == "deaf\n");
  stop.request_stop();
  sender.join();
  CHECK(verdict.kind == Verdict::Kind::retry);
  CHECK(has(verdict.detail, "saathiid ended"));
  wait_for_lock(folder.file("lock"));
}

TEST_CASE("what a command leaves running is ended when it has ended") {
  const Folder folder;
  const std::string script =
      "exec 9> $1/lock; flock 9; sleep 10000 > /dev/null 2>&1 < /dev/null & exit 0";
  CHECK(send(*shell(folder, script)).kind == Verdict::Kind::delivered);
  wait_for_lock(folder.file("lock"));
  // Also where it keeps the output open.
  CHECK(send(*shell(folder, "exec 9> $1/lock; flock 9; sleep 10000 & exit 0")).kind ==
        Verdict::Kind::delivered);
  wait_for_lock(folder.file("lock"));
}

TEST_CASE("a stop ends a command at once") {
  const Folder folder;
  REQUIRE(::mkfifo(folder.file("ready").c_str(), 0600) == 0);
  const auto channel = shell(folder, "echo ready > $1/ready; sleep 10000", 1h);
  std::stop_source stop;
  Verdict verdict;
  std::thread sender([&] { verdict = send(*channel, stop.get_token()); });
  CHECK(folder.text("ready") == "ready\n");
  stop.request_stop();
  sender.join();
  CHECK(verdict.kind == Verdict::Kind::retry);
  CHECK(has(verdict.detail, "saathiid ended"));
}
