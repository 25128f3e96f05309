#include "saathii/log/file_writer.hpp"

#include <pthread.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <memory>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "support/temp_folder.hpp"
#include "support/watched.hpp"

namespace saathii::log {

namespace {

using test::patience;
using Line = FileWriter::Line;

/// A disk that a test makes hang, and what the operator is told of it.
struct Disk {
  bool hangs = false;
  int attempts = 0;
  std::vector<Line> lines;
  std::vector<Files::Change> told;
  bool signals_blocked = false;
  int let_go = 0;
};

struct Setup {
  explicit Setup(std::size_t queue_bytes = FileWriter::max_bytes)
      : writer([disk = disk](const Line& line) { return write(*disk, line); },
               [disk = disk](const Files::Change& change) {
                 disk->change([&](Disk& d) { d.told.push_back(change); });
               },
               queue_bytes) {}
  ~Setup() { recover(); }
  Setup(const Setup&) = delete;
  Setup& operator=(const Setup&) = delete;

  static std::optional<Files::Change> write(test::Watched<Disk>& disk, const Line& line) {
    disk.change([](Disk& d) { ++d.attempts; });
    (void)disk.wait([](const Disk& d) { return !d.hangs; });
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
    disk.change([&](Disk& d) {
      d.signals_blocked = sigismember(&blocked, SIGTERM) == 1;
      if (line.folder.empty()) {
        ++d.let_go;
      } else {
        d.lines.push_back(line);
      }
    });
    return std::nullopt;
  }

  void hang() {
    disk->change([](Disk& d) { d.hangs = true; });
  }
  void recover() {
    disk->change([](Disk& d) { d.hangs = false; });
  }
  [[nodiscard]] std::vector<std::string> texts() const {
    std::vector<std::string> all;
    for (const Line& line : disk->get().lines) {
      all.push_back(line.folder + "/" + line.job + ":" + line.text);
    }
    return all;
  }

  /// Its thread may outlive the writer.
  std::shared_ptr<test::Watched<Disk>> disk = std::make_shared<test::Watched<Disk>>();
  FileWriter writer;
};

using Texts = std::vector<std::string>;

TEST_CASE("lines are written in their order by a thread that no signal reaches") {
  Setup setup;
  setup.writer.use("/a");
  CHECK_FALSE(setup.writer.add("job", "1"));
  CHECK_FALSE(setup.writer.add("", "2"));
  CHECK(setup.writer.flush(patience) == 0);
  CHECK(setup.texts() == Texts{"/a/job:1", "/a/:2"});
  CHECK(setup.disk->get().signals_blocked);
}

TEST_CASE("a disk that hangs holds nobody up, costs what the queue cannot hold, and is told of") {
  const std::size_t each = sizeof(Line) + 2 + 3 + 1;
  Setup setup(3 * each);
  setup.writer.use("/a");
  setup.hang();
  CHECK_FALSE(setup.writer.add("job", "1"));
  REQUIRE(setup.disk->wait([](const Disk& d) { return d.attempts == 1; }));
  CHECK_FALSE(setup.writer.add("job", "2"));
  CHECK_FALSE(setup.writer.add("job", "3"));
  const auto full = setup.writer.add("job", "4");
  REQUIRE(full);
  CHECK(full->file == "/a");
  CHECK(full->failure == "the disk does not take lines as fast as they come");
  // Once.
  CHECK_FALSE(setup.writer.add("job", "5"));
  CHECK(setup.writer.flush(std::chrono::milliseconds{0}) == 3);
  setup.recover();
  CHECK(setup.writer.flush(patience) == 0);
  const auto told = setup.disk->get().told;
  REQUIRE(told.size() == 1);
  CHECK(told[0].file == "/a");
  CHECK(told[0].failure.empty());
  CHECK(told[0].missing == 2);
  CHECK_FALSE(setup.writer.add("job", "6"));
  CHECK(setup.writer.flush(patience) == 0);
  CHECK(setup.texts() == Texts{"/a/job:1", "/a/job:2", "/a/job:3", "/a/job:6"});
  CHECK(setup.disk->get().told.size() == 1);
}

TEST_CASE("another folder is for the lines that come after, and none lets go of the files") {
  Setup setup;
  setup.writer.use("/a");
  setup.hang();
  CHECK_FALSE(setup.writer.add("job", "1"));
  setup.writer.use("/b");
  CHECK_FALSE(setup.writer.add("job", "2"));
  setup.writer.use("");
  CHECK_FALSE(setup.writer.add("job", "nowhere"));
  setup.recover();
  REQUIRE(setup.disk->wait([](const Disk& d) { return d.let_go == 1; }));
  CHECK(setup.texts() == Texts{"/a/job:1", "/b/job:2"});
  // Begun anew.
  setup.writer.use("/c");
  CHECK_FALSE(setup.writer.add("job", "3"));
  CHECK(setup.writer.flush(patience) == 0);
  CHECK(setup.texts().back() == "/c/job:3");
}

TEST_CASE("nothing is lost of what several threads write and then flush") {
  const test::TempFolder folder;
  test::Watched<std::vector<Files::Change>> told;
  FileWriter writer(
      [&](const Files::Change& change) { told.change([&](auto& all) { all.push_back(change); }); });
  writer.use(folder.path());
  constexpr int threads = 4;
  constexpr int lines = 500;
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([t, &writer] {
      for (int i = 0; i < lines; ++i) {
        (void)writer.add("job" + std::to_string(t), std::to_string(i) + "\n");
      }
    });
  }
  for (auto& each : all) {
    each.join();
  }
  REQUIRE(writer.flush(patience) == 0);
  std::string expected;
  for (int i = 0; i < lines; ++i) {
    expected += std::to_string(i) + "\n";
  }
  for (int t = 0; t < threads; ++t) {
    std::ifstream file(folder.path() / ("job" + std::to_string(t) + ".log"));
    CHECK(std::string(std::istreambuf_iterator<char>(file), {}) == expected);
  }
  CHECK(told.get().empty());
}

}  // namespace

}  // namespace saathii::log
