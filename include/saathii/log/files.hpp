#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace saathii::log {

/// A file for each job in one folder, JOB.log, and saathiid.log for what is of
/// no job. A file that was renamed or removed is left alone and begun anew,
/// which is looked for at most once a second, as lines are written; one that
/// nobody writes to is closed after a while, so that others can remove it. A
/// file that cannot be written costs its lines, and is tried again at most once
/// a second. Bounded: `max_files` are known at once. Takes plain files only,
/// and follows no link. Not locked: one thread at a time.
class Files {
 public:
  using Time = std::chrono::steady_clock::time_point;

  static constexpr std::size_t max_files = 64;
  static constexpr std::chrono::seconds looked_at_every{1};
  static constexpr std::chrono::seconds closed_after = std::chrono::minutes{1};
  static constexpr std::chrono::seconds failure_forgotten_after = std::chrono::hours{1};

  /// `folder` is an absolute path; it is not created.
  explicit Files(std::string folder) : folder_(std::move(folder)) {}
  ~Files();
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  /// What an operator should know of, once.
  struct Change {
    std::string file;           ///< its path
    std::string failure;        ///< why it cannot be written; empty: it can again
    std::uint64_t missing = 0;  ///< lines that it lacks, once it can
  };

  /// Appends `line`, which ends with a line break, in one write. `job` may be
  /// empty; a name that is none for a file is taken for that. Never throws but
  /// for want of memory.
  [[nodiscard]] std::optional<Change> write(std::string_view job, std::string_view line, Time now);

  [[nodiscard]] const std::string& folder() const noexcept { return folder_; }
  [[nodiscard]] std::size_t open_files() const noexcept;

 private:
  struct File {
    std::string path;
    int fd = -1;
    dev_t device = 0;
    ino_t inode = 0;
    bool torn = false;  ///< the last line was cut off, for want of room
    bool failing = false;
    Time try_again;
    Time last_written;
    std::uint64_t missing = 0;
  };

  File& file_of(std::string_view job, Time now);
  void look_at_all(Time now);
  void forget_oldest();
  static std::string open(File& file);
  static std::string append(File& file, std::string_view line);
  static void close(File& file) noexcept;

  const std::string folder_;
  std::map<std::string, File, std::less<>> files_;
  std::optional<Time> looked_at_;
};

}  // namespace saathii::log
