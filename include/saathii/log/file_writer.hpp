#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "saathii/log/files.hpp"

namespace saathii::log {

/// Lines on their way to files: a bounded queue, and one thread that empties it,
/// so that a disk that hangs holds up nobody who logs. The thread is there only
/// while there is a folder, or lines to write. A line that finds the queue full
/// is left out and counted. Any thread.
class FileWriter {
 public:
  struct Line {
    std::string folder;  ///< empty, as all else: let go of every file
    std::string job;
    std::string text;
  };
  /// Both are called by the writer's thread.
  using Write = std::function<std::optional<Files::Change>(const Line&)>;
  using Tell = std::function<void(const Files::Change&)>;

  static constexpr std::size_t max_bytes = std::size_t{4} << 20;

  /// Writes by Files.
  explicit FileWriter(Tell tell);
  FileWriter(Write write, Tell tell, std::size_t queue_bytes = max_bytes);
  /// Waits for nothing: what is queued is written if the process lives.
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  /// Lines go to this folder from now on; empty: nowhere. Those that wait still
  /// go where they were to go. Throws std::system_error if there can be no thread.
  void use(const std::string& folder);
  [[nodiscard]] std::string folder() const;

  /// Never waits for a disk. Returns what an operator should know of, once.
  [[nodiscard]] std::optional<Files::Change> add(std::string_view job, std::string_view text);

  /// Until all lines are written, or the limit; returns how many are not.
  [[nodiscard]] std::size_t flush(std::chrono::milliseconds limit);

 private:
  struct Core;
  const std::shared_ptr<Core> core_;
};

}  // namespace saathii::log
