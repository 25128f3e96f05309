#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <stop_token>
#include <string>

#include "catch.hpp"
#include "saathii/base/errors.hpp"
#include "saathii/jobs/job.hpp"
#include "saathii/log/files.hpp"

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using namespace saathii;

namespace saathii::jobs {
Kind log_rotation();
}

namespace {

constexpr Instant now = Instant{std::chrono::seconds{1'795'000'000}};

/// Folders of a test's own, and the job as a worker runs it.
class Bench {
 public:
  Bench() {
    std::string pattern = (fs::temp_directory_path() / "saathii-logs-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    root = pattern;
    logs = root / "logs";
    archive = root / "archive";
    fs::create_directory(logs);
    settings.set("folders", std::vector<std::string>{logs.string()});
  }
  ~Bench() {
    for (const auto& mounted : mounts_) umount2(mounted.c_str(), MNT_DETACH);
    std::error_code ignored;
    fs::remove_all(root, ignored);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  jobs::Report run(std::stop_token stop = {}) {
    return kind.make()->run({now, settings, platform, pool, redis, std::move(stop)});
  }

  /// The run's error.
  std::string failure() {
    try {
      run();
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "(no failure)";
  }

  /// A file that was last written so long ago.
  fs::path file(const std::string& name, Duration age, const std::string& text = "line\n") {
    const auto path = logs / name;
    std::ofstream(path, std::ios::binary) << text;
    set_age(path, age);
    return path;
  }

  static void set_age(const fs::path& path, Duration age) {
    const auto at = (now - age).time_since_epoch();
    const timespec time{std::chrono::floor<std::chrono::seconds>(at).count(), at % 1s / 1us * 1000};
    const timespec times[] = {time, time};
    REQUIRE(utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
  }

  /// A file system of few bytes at `path`; false where that is not allowed.
  bool mount_small(const fs::path& path) {
    fs::create_directories(path);
    if (mount("none", path.c_str(), "tmpfs", 0, "size=64k") != 0) return false;
    mounts_.push_back(path);
    return true;
  }
  static bool make_read_only(const fs::path& path) {
    return mount("none", path.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr) == 0;
  }

  fs::path root;
  fs::path logs;
  fs::path archive;
  jobs::Kind kind = jobs::log_rotation();
  config::Settings settings{kind.info.settings};
  config::Platform platform;
  ServerState postgres_state{"postgres"};
  ServerState redis_state{"redis"};
  postgres::Pool pool{config::Postgres{}, postgres_state};
  redis::Client redis{config::Redis{}, redis_state};

 private:
  std::vector<fs::path> mounts_;
};

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename());
  return names;
}

using Names = std::set<std::string>;

std::map<std::string, std::int64_t> counts_of(const jobs::Report& report) {
  return {report.counts.begin(), report.counts.end()};
}

std::string unzip(const fs::path& path) {
  gzFile file = gzopen(path.c_str(), "rb");
  REQUIRE(file != nullptr);
  std::string text(1 << 20, '\0');
  const int size = gzread(file, text.data(), static_cast<unsigned>(text.size()));
  REQUIRE(size >= 0);
  CHECK(gzclose(file) == Z_OK);
  text.resize(static_cast<std::size_t>(size));
  return text;
}

/// Text that no compression makes much smaller.
std::string noise(std::size_t bytes) {
  std::mt19937 random(7);
  std::string text;
  while (text.size() < bytes) text += static_cast<char>(random() & 0xffU);
  return text;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

constexpr Duration day = 24h;

}  // namespace

TEST_CASE("what was written before max_age goes, and nothing else") {
  Bench bench;
  bench.file("old.log", 8 * day, "12345");
  bench.file("just.log", 7 * day + 1us);
  bench.file("not-yet.log", 7 * day);
  bench.file("future.log", -30 * day);
  bench.file("old.txt", 30 * day);
  bench.file(".hidden.log", 30 * day);
  bench.file("strange\nname \xff.log", 30 * day);
  bench.file("-rf.log", 30 * day);
  const auto report = bench.run();
  CHECK(names_in(bench.logs) == Names{"not-yet.log", "future.log", "old.txt", ".hidden.log"});
  CHECK(report.counts == std::vector<std::pair<std::string, std::int64_t>>{{"examined", 6},
                                                                           {"deleted", 4},
                                                                           {"archived", 0},
                                                                           {"bytes_freed", 20},
                                                                           {"in_use", 0},
                                                                           {"unknown", 0},
                                                                           {"errors", 0}});
  CHECK(report.summary == "4 of 6 log files deleted, 20 bytes freed");

  CHECK(counts_of(bench.run())["deleted"] == 0);
}

TEST_CASE("a pattern and an age of one's own, in several folders") {
  Bench bench;
  const auto other = bench.root / "other";
  fs::create_directory(other);
  bench.file("a.log.1", 2h);
  bench.file("a.log", 2h);
  fs::rename(bench.file("b.log.2", 2h), other / "b.log.2");
  bench.settings.set("folders", std::vector<std::string>{bench.logs.string(), other.string()});
  bench.settings.set("pattern", std::string("*.log.[0-9]"));
  bench.settings.set("max_age", Duration{1h});
  CHECK(counts_of(bench.run())["deleted"] == 2);
  CHECK(names_in(bench.logs) == Names{"a.log"});
  CHECK(names_in(other).empty());
}

TEST_CASE("only plain files, and never out of the folder") {
  Bench bench;
  const auto outside = bench.root / "outside.log";
  fs::rename(bench.file("x.log", 30 * day), outside);
  const auto below = bench.logs / "below.log";
  fs::create_directory(below);
  std::ofstream(below / "old.log") << "line\n";
  Bench::set_age(below / "old.log", 30 * day);
  Bench::set_age(below, 30 * day);
  const auto link = bench.logs / "link.log";
  fs::create_symlink(outside, link);
  Bench::set_age(link, 30 * day);
  fs::create_symlink("/nowhere", bench.logs / "dangling.log");
  fs::create_directory_symlink(below, bench.logs / "folder-link.log");
  REQUIRE(mkfifo((bench.logs / "fifo.log").c_str(), 0600) == 0);
  Bench::set_age(bench.logs / "fifo.log", 30 * day);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto socket_path = bench.logs / "socket.log";
  REQUIRE(socket_path.string().size() < sizeof address.sun_path);
  std::strcpy(address.sun_path, socket_path.c_str());
  const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  REQUIRE(bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  Bench::set_age(socket_path, 30 * day);

  const auto before = names_in(bench.logs);
  CHECK(counts_of(bench.run())["examined"] == 0);
  CHECK(names_in(bench.logs) == before);
  CHECK(fs::exists(outside));
  CHECK(fs::exists(below / "old.log"));
  close(listener);
}

TEST_CASE("a file that a program has open is left whole") {
  Bench bench;
  const auto path = bench.file("open.log", 30 * day);
  const auto twin = bench.file("linked.log", 30 * day);
  const auto elsewhere = bench.root / "its-other-name";
  fs::create_hard_link(twin, elsewhere);
  bench.file("closed.log", 30 * day);
  for (const int flags : {O_WRONLY | O_APPEND, O_RDWR, O_RDONLY}) {
    const int writer = open(path.c_str(), flags | O_CLOEXEC);
    const int other = open(elsewhere.c_str(), flags | O_CLOEXEC);
    const auto report = bench.run();
    CHECK(counts_of(report)["in_use"] == 2);
    CHECK(contains(report.summary, "2 in use and kept"));
    CHECK(names_in(bench.logs) == Names{"open.log", "linked.log"});
    bench.settings.set("archive_folder", bench.archive.string());
    CHECK(counts_of(bench.run())["in_use"] == 2);
    CHECK(names_in(bench.archive).empty());
    bench.settings.set("archive_folder", std::string());
    close(writer);
    close(other);
  }
  CHECK(counts_of(bench.run())["deleted"] == 2);
  CHECK(fs::exists(elsewhere));
}

TEST_CASE("two names of one file free its bytes once") {
  Bench bench;
  fs::create_hard_link(bench.file("a.log", 30 * day, "12345"), bench.logs / "b.log");
  auto counts = counts_of(bench.run());
  CHECK(counts["deleted"] == 2);
  CHECK(counts["bytes_freed"] == 5);
}

TEST_CASE("the archive holds the whole file before it goes") {
  Bench bench;
  bench.settings.set("archive_folder", bench.archive.string());
  const auto text = noise(300'000);
  bench.file("a.log", 30 * day, text);
  bench.file("empty.log", 30 * day, "");
  const auto report = bench.run();
  CHECK(counts_of(report)["archived"] == 2);
  CHECK(counts_of(report)["deleted"] == 2);
  CHECK(contains(report.summary, "2 archived first"));
  CHECK(names_in(bench.logs).empty());
  CHECK(names_in(bench.archive) == Names{"a.log.gz", "empty.log.gz"});
  CHECK(unzip(bench.archive / "a.log.gz") == text);
  CHECK(unzip(bench.archive / "empty.log.gz").empty());
  struct stat status {};
  REQUIRE(stat((bench.archive / "a.log.gz").c_str(), &status) == 0);
  CHECK(Instant{std::chrono::seconds{status.st_mtim.tv_sec}} == now - 30 * day);

  SECTION("a name that is taken gets a number") {
    for (const auto* again : {"second", "third"}) {
      bench.file("a.log", 30 * day, again);
      CHECK(counts_of(bench.run())["archived"] == 1);
    }
    CHECK(names_in(bench.archive) == Names{"a.log.gz", "a.log.1.gz", "a.log.2.gz", "empty.log.gz"});
    CHECK(unzip(bench.archive / "a.log.gz") == text);
    CHECK(unzip(bench.archive / "a.log.2.gz") == "third");
  }
  SECTION("what a crash left half written is begun anew") {
    const auto path = bench.file("b.log", 30 * day, "whole");
    REQUIRE(stat(path.c_str(), &status) == 0);
    const auto partial = "." + std::to_string(status.st_ino) + ".partial";
    std::ofstream(bench.archive / partial) << "hal";
    CHECK(counts_of(bench.run())["archived"] == 1);
    CHECK(unzip(bench.archive / "b.log.gz") == "whole");
    CHECK_FALSE(fs::exists(bench.archive / partial));
  }
  SECTION("a link in the way is not followed") {
    const auto outside = bench.root / "outside";
    std::ofstream(outside) << "precious";
    fs::create_symlink(outside, bench.archive / "b.log.gz");
    bench.file("b.log", 30 * day, "text");
    CHECK(counts_of(bench.run())["archived"] == 1);
    CHECK(unzip(bench.archive / "b.log.1.gz") == "text");
    std::ifstream in(outside);
    CHECK(std::string(std::istreambuf_iterator<char>(in), {}) == "precious");
  }
}

TEST_CASE("an archive that cannot be") {
  Bench bench;
  bench.file("a.log", 30 * day);
  SECTION("is one of the folders") {
    bench.settings.set("archive_folder", (bench.root / "logs" / ".").string());
    CHECK(contains(bench.failure(), "is the archive_folder too; name another"));
  }
  SECTION("has no folder above it") {
    bench.settings.set("archive_folder", (bench.root / "none" / "archive").string());
    CHECK(contains(bench.failure(), "cannot open the archive_folder"));
  }
  SECTION("is not absolute") {
    bench.settings.set("archive_folder", std::string("archive"));
    CHECK(contains(bench.failure(), "the archive_folder archive is not an absolute path"));
  }
  CHECK(names_in(bench.logs) == Names{"a.log"});
}

TEST_CASE("a full disk keeps the original, and the rest goes on") {
  Bench bench;
  if (geteuid() != 0 || !bench.mount_small(bench.archive)) {
    WARN("skipped: mounting is not allowed here");
    return;
  }
  bench.settings.set("archive_folder", bench.archive.string());
  bench.file("large.log", 30 * day, noise(200'000));
  bench.file("small.log", 30 * day, "small");
  const auto error = bench.failure();
  CHECK(contains(error,
                 "1 of 2 log files deleted, 5 bytes freed, 1 archived first; 1 error, the "
                 "first: cannot archive large.log: No space left on device"));
  CHECK(names_in(bench.logs) == Names{"large.log"});
  CHECK(fs::file_size(bench.logs / "large.log") == 200'000);
  CHECK(names_in(bench.archive) == Names{"small.log.gz"});
}

TEST_CASE("a folder that cannot be written is an error, and the others are done") {
  Bench bench;
  if (geteuid() != 0 || !bench.mount_small(bench.root / "fixed")) {
    WARN("skipped: mounting is not allowed here");
    return;
  }
  const auto fixed = bench.root / "fixed";
  std::ofstream(fixed / "old.log") << "line\n";
  Bench::set_age(fixed / "old.log", 30 * day);
  REQUIRE(Bench::make_read_only(fixed));
  bench.file("old.log", 30 * day);
  bench.settings.set("folders", std::vector<std::string>{fixed.string(), bench.logs.string()});
  bench.settings.set("max_folder_size", std::int64_t{1});
  CHECK(contains(bench.failure(),
                 "; 1 error, the first: cannot delete old.log: Read-only file "
                 "system"));
  CHECK(names_in(bench.logs).empty());

  SECTION("and leaves nothing in the archive") {
    bench.settings.set("archive_folder", bench.archive.string());
    CHECK(contains(bench.failure(), "cannot delete old.log"));
    CHECK(names_in(bench.archive).empty());
  }
}

TEST_CASE("missing folders") {
  Bench bench;
  bench.file("old.log", 30 * day);
  const auto none = (bench.root / "none").string();
  bench.settings.set("folders", std::vector<std::string>{none, "relative", bench.logs.string()});
  CHECK(contains(bench.failure(), "2 errors, the first: cannot open the folder " + none +
                                      ": No such file or directory"));
  CHECK(names_in(bench.logs).empty());

  if (fs::exists("/var/log/saathii")) return;
  bench.settings.set("folders", std::vector<std::string>{"/var/log/saathii"});
  CHECK(counts_of(bench.run())["examined"] == 0);
}

TEST_CASE("a size limit takes the oldest first") {
  Bench bench;
  bench.file("1.log", 4h, "1111");
  bench.file("2.log", 3h, "2222");
  bench.file("3.log", 2h, "3333");
  bench.file("4.log", -1h, "4444");
  bench.file("ancient.log", 30 * day, "0000");
  bench.settings.set("max_folder_size", std::int64_t{8});

  SECTION("until the rest is no larger") {
    auto counts = counts_of(bench.run());
    CHECK(names_in(bench.logs) == Names{"3.log", "4.log"});
    CHECK(counts["deleted"] == 3);
    CHECK(counts["bytes_freed"] == 12);
  }
  SECTION("with the archive") {
    bench.settings.set("archive_folder", bench.archive.string());
    CHECK(counts_of(bench.run())["archived"] == 3);
    CHECK(names_in(bench.archive) == Names{"1.log.gz", "2.log.gz", "ancient.log.gz"});
  }
  SECTION("but not those in use, each counted once") {
    const int old = open((bench.logs / "ancient.log").c_str(), O_WRONLY | O_CLOEXEC);
    const int young = open((bench.logs / "1.log").c_str(), O_WRONLY | O_CLOEXEC);
    bench.settings.set("max_folder_size", std::int64_t{4});
    const auto report = bench.run();
    CHECK(names_in(bench.logs) == Names{"1.log", "ancient.log"});
    CHECK(counts_of(report)["in_use"] == 2);
    CHECK(contains(report.summary, "1 folder still above max_folder_size"));
    close(old);
    close(young);
  }
}

TEST_CASE("a size limit in a folder of more files than are looked at in one go") {
  Bench bench;
  constexpr int files = 4'100;
  for (int i = 0; i < files; ++i) bench.file(std::to_string(i) + ".log", 1h + i * 1s, "x");
  bench.settings.set("max_folder_size", std::int64_t{10});
  CHECK(counts_of(bench.run())["deleted"] == files - 10);
  Names newest;
  for (int i = 0; i < 10; ++i) newest.insert(std::to_string(i) + ".log");
  CHECK(names_in(bench.logs) == newest);
}

TEST_CASE("another user's file: the kernel does not say, the setting decides") {
  if (geteuid() != 0) {
    WARN("skipped: needs root");
    return;
  }
  Bench bench;
  bench.file("theirs.log", 30 * day);
  const auto secret = bench.file("unreadable.log", 30 * day);
  fs::permissions(secret, fs::perms::owner_read);
  fs::permissions(bench.root, fs::perms::all);
  fs::permissions(bench.logs, fs::perms::all);
  const auto run_as_nobody = [&] {
    REQUIRE(seteuid(65534) == 0);
    const auto report = bench.run();
    REQUIRE(seteuid(0) == 0);
    return report;
  };
  const auto report = run_as_nobody();
  CHECK(counts_of(report)["unknown"] == 2);
  CHECK(contains(report.summary, "2 kept that may be in use (see when_unknown)"));
  CHECK(names_in(bench.logs) == Names{"theirs.log", "unreadable.log"});
  bench.settings.set("when_unknown", std::string("delete"));
  CHECK(counts_of(run_as_nobody())["deleted"] == 2);
}

TEST_CASE("a run that is stopped removes nothing more") {
  Bench bench;
  bench.file("old.log", 30 * day);
  std::stop_source stop;
  stop.request_stop();
  CHECK_THROWS_AS(bench.run(stop.get_token()), Stopped);
  CHECK(names_in(bench.logs) == Names{"old.log"});
}

TEST_CASE("a folder given by a link is the operator's wish") {
  Bench bench;
  bench.file("old.log", 30 * day);
  fs::create_directory_symlink(bench.logs, bench.root / "link");
  bench.settings.set("folders", std::vector<std::string>{(bench.root / "link").string()});
  CHECK(counts_of(bench.run())["deleted"] == 1);
}

TEST_CASE("the daemon's own files are left whole until they are rotated or nobody writes them") {
  Bench bench;
  bench.settings.set("pattern", std::string("*.log*"));
  log::Files files(bench.logs.string());
  const log::Files::Time start{};
  CHECK_FALSE(files.write("daily", "1\n", start));
  CHECK_FALSE(files.write("other", "1\n", start));
  Bench::set_age(bench.logs / "daily.log", 8 * day);
  auto counts = counts_of(bench.run());
  CHECK(counts["in_use"] == 1);
  CHECK(counts["deleted"] == 0);

  // Renamed by another program, it is held until the next line, of whatever job.
  fs::rename(bench.logs / "daily.log", bench.logs / "daily.log.1");
  CHECK(counts_of(bench.run())["in_use"] == 1);
  CHECK_FALSE(files.write("other", "2\n", start + 1s));
  CHECK(counts_of(bench.run())["deleted"] == 1);
  CHECK(names_in(bench.logs) == Names{"other.log"});

  // One that nobody writes to is let go of, and begun anew where it is missed.
  CHECK_FALSE(files.write("daily", "2\n", start + 2s));
  CHECK_FALSE(files.write("other", "3\n", start + 3s + log::Files::closed_after));
  Bench::set_age(bench.logs / "daily.log", 8 * day);
  CHECK(counts_of(bench.run())["deleted"] == 1);
  CHECK_FALSE(files.write("daily", "3\n", start + 4s + log::Files::closed_after));
  CHECK(names_in(bench.logs) == Names{"daily.log", "other.log"});
}
