#include "saathii/log/file_writer.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "saathii/base/signal_block.hpp"

namespace saathii::log {

namespace {

FileWriter::Write write_by_files() {
  return [files = std::shared_ptr<Files>{}](
             const FileWriter::Line& line) mutable -> std::optional<Files::Change> {
    if (line.folder.empty()) {
      files.reset();
      return std::nullopt;
    }
    if (files == nullptr || files->folder() != line.folder) {
      files = std::make_shared<Files>(line.folder);
    }
    return files->write(line.job, line.text, std::chrono::steady_clock::now());
  };
}

}  // namespace

/// Shared with the thread, which may hang for as long as its disk does.
struct FileWriter::Core {
  Core(Write write_line, Tell tell_operator, std::size_t queue_bytes)
      : write(std::move(write_line)), tell(std::move(tell_operator)), limit(queue_bytes) {}

  static std::size_t size_of(const Line& line) {
    return sizeof(Line) + line.folder.size() + line.job.size() + line.text.size();
  }

  void run();
  void write_next(std::unique_lock<std::mutex>& lock);
  void write_and_tell(const Line& line) noexcept;
  void tell_safely(const Files::Change& change) const noexcept;

  const Write write;  ///< by the thread alone
  const Tell tell;
  const std::size_t limit;
  std::mutex mutex;  ///< of what follows
  std::condition_variable work;
  std::condition_variable written;
  std::string folder;
  std::deque<Line> lines;  ///< the first one may be being written
  std::size_t bytes = 0;
  std::size_t dropped = 0;  ///< since the queue became full
  bool running = false;
};

void FileWriter::Core::write_and_tell(const Line& line) noexcept {
  try {
    if (const auto change = write(line)) {
      tell_safely(*change);
    }
  } catch (...) {
    // Out of memory: the journal or stderr has the line, the file has not.
  }
}

void FileWriter::Core::tell_safely(const Files::Change& change) const noexcept {
  try {
    tell(change);
  } catch (...) {
    // Out of memory or a broken stderr: there is nobody left to tell.
  }
}

void FileWriter::Core::write_next(std::unique_lock<std::mutex>& lock) {
  // Nobody else takes lines out, and a deque leaves them where they are.
  const Line& line = lines.front();
  lock.unlock();
  write_and_tell(line);
  lock.lock();
  if (lines.size() == 1 && dropped > 0) {
    const Files::Change change{line.folder, {}, std::exchange(dropped, 0)};
    lock.unlock();
    tell_safely(change);
    lock.lock();
  }
  bytes -= size_of(line);
  lines.pop_front();
  if (lines.empty()) {
    written.notify_all();
  }
}

void FileWriter::Core::run() {
  std::unique_lock lock(mutex);
  for (;;) {
    work.wait(lock, [this] { return !lines.empty() || folder.empty(); });
    if (!lines.empty()) {
      write_next(lock);
      continue;
    }
    lock.unlock();
    write_and_tell({});
    lock.lock();
    if (lines.empty() && folder.empty()) {
      running = false;
      written.notify_all();
      return;
    }
  }
}

FileWriter::FileWriter(Tell tell) : FileWriter(write_by_files(), std::move(tell)) {}

FileWriter::FileWriter(Write write, Tell tell, std::size_t queue_bytes)
    : core_(std::make_shared<Core>(std::move(write), std::move(tell), queue_bytes)) {}

FileWriter::~FileWriter() {
  const std::scoped_lock lock(core_->mutex);
  core_->folder.clear();
  core_->work.notify_all();
}

void FileWriter::use(const std::string& folder) {
  const std::scoped_lock lock(core_->mutex);
  if (!folder.empty() && !core_->running) {
    const SignalBlock block;
    std::thread([core = core_] { core->run(); }).detach();
    core_->running = true;
  }
  core_->folder = folder;
  core_->work.notify_all();
}

std::optional<Files::Change> FileWriter::add(std::string_view job, std::string_view text) {
  const std::scoped_lock lock(core_->mutex);
  if (core_->folder.empty()) {
    return std::nullopt;
  }
  Line line{core_->folder, std::string(job), std::string(text)};
  const std::size_t size = Core::size_of(line);
  if (core_->bytes + size > core_->limit) {
    if (core_->dropped++ > 0) {
      return std::nullopt;
    }
    return Files::Change{core_->folder, "the disk does not take lines as fast as they come", 0};
  }
  core_->lines.push_back(std::move(line));
  core_->bytes += size;
  core_->work.notify_one();
  return std::nullopt;
}

std::string FileWriter::folder() const {
  const std::scoped_lock lock(core_->mutex);
  return core_->folder;
}

std::size_t FileWriter::flush(std::chrono::milliseconds limit) {
  std::unique_lock lock(core_->mutex);
  core_->written.wait_for(lock, limit, [this] { return core_->lines.empty(); });
  return core_->lines.size();
}

}  // namespace saathii::log
