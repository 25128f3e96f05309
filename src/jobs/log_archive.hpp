#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "saathii/base/descriptor.hpp"
#include "saathii/base/time.hpp"
#include "saathii/jobs/job.hpp"

// What log_rotation does to one file before it goes: a compressed copy.

namespace saathii::jobs {

/// What stops one file, but not the run.
struct FileError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A file's name as text that can stand in a log line.
[[nodiscard]] std::string printable(std::string_view name);

/// Throws a FileError: "cannot WHAT NAME: " and the error's text.
[[noreturn]] void fail_file(std::string_view what, std::string_view name, int error);

/// A plain file of a folder, as it was seen when it was chosen.
struct Seen {
  std::string name;
  struct stat status {};

  [[nodiscard]] Instant changed_at() const {
    return Instant{std::chrono::seconds{status.st_mtim.tv_sec}} +
           std::chrono::microseconds{status.st_mtim.tv_nsec / 1000};
  }
  [[nodiscard]] bool same_as(const struct stat& now) const {
    return S_ISREG(now.st_mode) && now.st_dev == status.st_dev && now.st_ino == status.st_ino &&
           now.st_size == status.st_size && now.st_mtim.tv_sec == status.st_mtim.tv_sec &&
           now.st_mtim.tv_nsec == status.st_mtim.tv_nsec;
  }
};

/// The folder of compressed logs. A file gets its name there only when it is
/// complete and on the disk.
class LogArchive {
 public:
  /// Opens the folder, which it makes where only the last part of the path is
  /// missing. Throws std::runtime_error if that fails.
  explicit LogArchive(const std::string& path);

  /// Returns the name under which the file stands in the archive: its own and
  /// ".gz", or ".1.gz" and so on where that is taken. Throws FileError and
  /// leaves nothing behind if that fails.
  std::string add(int file, const Seen& seen, const Context& context) const;

  void remove(const std::string& name) const;

  [[nodiscard]] bool is_same_folder(int folder) const;

 private:
  std::string give_name(const std::string& partial, const std::string& original) const;

  Descriptor folder_;
};

}  // namespace saathii::jobs
