#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "capture_stderr.hpp"
#include "catch.hpp"
#include "saathii/log/files.hpp"
#include "saathii/log/log.hpp"

namespace fs = std::filesystem;
namespace log_ = saathii::log;
using namespace std::chrono_literals;
using log_::Files;

namespace {

class Folder {
 public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "saathii-files-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  [[nodiscard]] std::string text(const std::string& name) const {
    std::ifstream file(path / name);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  fs::path path;
};

/// While it lives, no file can grow beyond so many bytes.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &saved_) == 0);
    const rlimit limited{bytes, saved_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &limited) == 0);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &saved_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit saved_{};
  void (*handler_)(int);
};

constexpr Files::Time start{};
/// Only ends a test that would hang.
constexpr std::chrono::minutes patience{1};

}  // namespace

TEST_CASE("each job has its file, and one is for the rest") {
  const Folder folder;
  Files files(folder.path.string());
  CHECK_FALSE(files.write("coin_deduction", "a\n", start));
  CHECK_FALSE(files.write("", "b\n", start));
  CHECK_FALSE(files.write("coin_deduction", "c\n", start));
  for (const char* no_name : {"../up", "a/b", ".hidden", "a b", "\xff"}) {
    CHECK_FALSE(files.write(no_name, "d\n", start));
  }
  CHECK_FALSE(files.write(std::string(65, 'x'), "d\n", start));
  CHECK(folder.text("coin_deduction.log") == "a\nc\n");
  CHECK(folder.text("saathiid.log") == "b\nd\nd\nd\nd\nd\nd\n");
  CHECK(std::distance(fs::directory_iterator(folder.path), {}) == 2);
  // Others than the group have no business in it.
  const auto mode = fs::status(folder.path / "saathiid.log").permissions();
  CHECK((mode & fs::perms::others_all) == fs::perms::none);
}

TEST_CASE("a file that is there is gone on with") {
  const Folder folder;
  std::ofstream(folder.path / "job.log") << "from before\n";
  Files files(folder.path.string());
  CHECK_FALSE(files.write("job", "now\n", start));
  CHECK(folder.text("job.log") == "from before\nnow\n");
}

TEST_CASE("a file that was renamed is left whole and begun anew") {
  const Folder folder;
  Files files(folder.path.string());
  CHECK_FALSE(files.write("job", "1\n", start));
  fs::rename(folder.path / "job.log", folder.path / "job.log.1");
  // It is looked for once a second only.
  CHECK_FALSE(files.write("job", "2\n", start + 999ms));
  CHECK(folder.text("job.log.1") == "1\n2\n");
  CHECK_FALSE(files.write("job", "3\n", start + 1s));
  CHECK(folder.text("job.log.1") == "1\n2\n");
  CHECK(folder.text("job.log") == "3\n");
  // As logrotate's `create` does it: somebody else has made the new one.
  fs::rename(folder.path / "job.log", folder.path / "job.log.2");
  std::ofstream(folder.path / "job.log") << "new\n";
  CHECK_FALSE(files.write("job", "4\n", start + 2s));
  CHECK(folder.text("job.log") == "new\n4\n");
  CHECK(folder.text("job.log.2") == "3\n");
  CHECK(files.open_files() == 1);
}

TEST_CASE("a file that was removed is begun anew") {
  const Folder folder;
  Files files(folder.path.string());
  CHECK_FALSE(files.write("job", "1\n", start));
  fs::remove(folder.path / "job.log");
  CHECK_FALSE(files.write("job", "2\n", start + 1s));
  CHECK(folder.text("job.log") == "2\n");
}

TEST_CASE("a job that is quiet holds neither a rotated file nor an old one") {
  const Folder folder;
  Files files(folder.path.string());
  CHECK_FALSE(files.write("daily", "1\n", start));
  CHECK_FALSE(files.write("other", "1\n", start));
  CHECK(files.open_files() == 2);
  fs::rename(folder.path / "daily.log", folder.path / "daily.log.1");
  CHECK_FALSE(files.write("other", "2\n", start + 1s));
  CHECK(files.open_files() == 1);
  CHECK_FALSE(fs::exists(folder.path / "daily.log"));
  CHECK_FALSE(files.write("daily", "2\n", start + 2s));
  CHECK(folder.text("daily.log") == "2\n");
  CHECK_FALSE(files.write("other", "3\n", start + 2s + Files::closed_after));
  CHECK(files.open_files() == 2);
  CHECK_FALSE(files.write("other", "4\n", start + 3s + Files::closed_after));
  CHECK(files.open_files() == 1);
  CHECK_FALSE(files.write("daily", "3\n", start + 4s + Files::closed_after));
  CHECK(folder.text("daily.log") == "2\n3\n");
}

TEST_CASE("a folder that is not there costs lines, is told of once, and tried again") {
  const Folder folder;
  const auto missing = folder.path / "missing";
  Files files(missing.string());
  const auto failed = files.write("job", "1\n", start);
  REQUIRE(failed);
  CHECK(failed->file == (missing / "job.log").string());
  CHECK(failed->failure == "No such file or directory");
  CHECK_FALSE(files.write("job", "2\n", start + 5s));
  fs::create_directory(missing);
  // Tried again at most once a second.
  CHECK_FALSE(files.write("job", "3\n", start + 5999ms));
  CHECK_FALSE(fs::exists(missing / "job.log"));
  const auto restored = files.write("job", "4\n", start + 6s);
  REQUIRE(restored);
  CHECK(restored->file == failed->file);
  CHECK(restored->failure.empty());
  CHECK(restored->missing == 3);
  CHECK_FALSE(files.write("job", "5\n", start + 6s));
  CHECK(folder.text("missing/job.log") == "4\n5\n");
  // A failure later is a new one, and counts its own lines.
  fs::remove_all(missing);
  CHECK(files.write("job", "6\n", start + 7s));
  fs::create_directory(missing);
  CHECK(files.write("job", "7\n", start + 8s)->missing == 1);
}

TEST_CASE("a line that was cut off for want of room is ended before the next") {
  const Folder folder;
  Files files(folder.path.string());
  CHECK_FALSE(files.write("job", "first\n", start));
  {
    const FileSizeLimit full(8);
    const auto failed = files.write("job", "second\n", start + 1s);
    REQUIRE(failed);
    CHECK(failed->failure == "File too large");
    CHECK_FALSE(files.write("job", "third\n", start + 2s));
  }
  const auto restored = files.write("job", "fourth\n", start + 3s);
  REQUIRE(restored);
  CHECK(restored->missing == 2);
  CHECK(folder.text("job.log") == "first\nse\nfourth\n");
  CHECK_FALSE(files.write("job", "fifth\n", start + 3s));
  CHECK(folder.text("job.log") == "first\nse\nfourth\nfifth\n");
}

TEST_CASE("what is no plain file is not written to") {
  const Folder folder;
  std::ofstream(folder.path / "target") << "precious\n";
  fs::create_symlink(folder.path / "target", folder.path / "link.log");
  REQUIRE(::mkfifo((folder.path / "pipe.log").c_str(), 0600) == 0);
  fs::create_directory(folder.path / "folder.log");
  Files files(folder.path.string());
  CHECK(files.write("link", "x\n", start)->failure == "it is a symbolic link");
  CHECK(files.write("pipe", "x\n", start));
  CHECK(files.write("folder", "x\n", start)->failure == "Is a directory");
  CHECK(folder.text("target") == "precious\n");
  CHECK(files.open_files() == 0);
}

TEST_CASE("so many files are open at once, however many jobs there are") {
  const Folder folder;
  Files files(folder.path.string());
  for (std::size_t i = 0; i < 3 * Files::max_files; ++i) {
    CHECK_FALSE(files.write("job" + std::to_string(i), "x\n", start + i * 1ms));
    CHECK_FALSE(files.write("kept", "x\n", start + i * 1ms));
  }
  CHECK(files.open_files() == Files::max_files);
  CHECK(folder.text("kept.log").size() == 3 * Files::max_files * 2);
}

TEST_CASE("files get the lines that stderr gets") {
  const Folder folder;
  const CaptureStderr capture;
  log_::set_level(log_::Level::info);
  log_::write_files(folder.path.string());
  log_::info(log_::Message::started, "started");
  {
    const log_::Scope run({{"JOB", "daily"}, {"RUN_ID", "r1"}});
    log_::info("from a worker");
    log_::debug("not written");
  }
  log_::write(log_::Level::info, "from the loop", {{"JOB", "daily"}, {"RUN_ID", "r1"}});
  for (int i = 0; i < 9; ++i) {
    log_::warning("folded in files, too");
  }
  log_::write_files("");
  log_::info("no longer to files");
  log_::finish_files(patience);
  const std::string daily = folder.text("daily.log");
  const std::string rest = folder.text("saathiid.log");
  INFO(daily << rest);
  const std::string time = R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z )";
  CHECK(std::regex_match(daily, std::regex(time + "info from a worker JOB=daily RUN_ID=r1\n" +
                                           time + "info from the loop JOB=daily RUN_ID=r1\n")));
  CHECK(std::regex_match(
      rest, std::regex(time + "info started\n" + time + "warning folded in files, too\n")));
  CHECK(std::count(daily.begin(), daily.end(), '\n') + std::count(rest.begin(), rest.end(), '\n') +
            1 ==
        [&] {
          const auto text = capture.text();
          return std::count(text.begin(), text.end(), '\n');
        }());
}

TEST_CASE("files that cannot be written are told of once, and events go on") {
  const Folder folder;
  const CaptureStderr capture;
  log_::set_level(log_::Level::info);
  log_::write_files((folder.path / "missing").string());
  log_::info("one");
  // Told by the thread that writes: here, before anything else happens.
  log_::finish_files(patience);
  {
    const log_::Scope run({{"JOB", "daily"}, {"RUN_ID", "r1"}});
    log_::info("two");
  }
  log_::info("three");
  log_::write_files("");
  log_::finish_files(patience);
  const std::string text = capture.text();
  INFO(text);
  // Once, and not as if it were the run's.
  CHECK(std::regex_match(
      text, std::regex("\\S+ info one\n"
                       "\\S+ warning a log file cannot be written: No such file or directory; "
                       "[^\n]* FILE=\\S+/missing/saathiid.log\n"
                       "\\S+ info two [^\n]*\n"
                       "\\S+ info three\n")));
}

TEST_CASE("the level and the folder may change under threads that write") {
  const Folder folder;
  const CaptureStderr capture;
  log_::set_level(log_::Level::error);
  std::atomic<bool> done{false};
  int slowest = 0;
  std::atomic<int> written[3] = {};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([t, &done, &written] {
      const log_::Scope scope({{"JOB", "job" + std::to_string(t)}});
      while (!done) {
        log_::debug("whole");
        ++written[t];
      }
    });
  }
  // Until each thread has written under many of the changes.
  for (int i = 0; i < 200 || slowest < 200; ++i) {
    log_::set_level(i % 2 == 0 ? log_::Level::debug : log_::Level::error);
    log_::write_files(i % 3 == 0 ? "" : folder.path.string());
    slowest = std::min({written[0].load(), written[1].load(), written[2].load()});
  }
  done = true;
  for (auto& thread : threads) {
    thread.join();
  }
  log_::write_files("");
  log_::finish_files(patience);
  log_::set_level(log_::Level::error);
  CHECK(log_::level() == log_::Level::error);
  log_::set_level(log_::Level::info);
  for (const auto& file : fs::directory_iterator(folder.path)) {
    const std::string text = folder.text(file.path().filename().string());
    const std::string line = "debug whole JOB=" + file.path().stem().string() + "\n";
    std::size_t lines = 0;
    for (std::size_t at = text.find(line); at != std::string::npos; at = text.find(line, at + 1)) {
      ++lines;
    }
    CHECK(lines == static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')));
  }
}
