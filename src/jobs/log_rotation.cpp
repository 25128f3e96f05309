#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "log_archive.hpp"
#include "saathii/base/counted.hpp"
#include "saathii/base/time.hpp"
#include "saathii/jobs/job.hpp"
#include "saathii/log/log.hpp"

// Deletes old logs. A file goes only while this job holds the kernel's write
// lease on it, which is given to nobody while any program has the file open,
// for reading or writing, under whatever name. The kernel gives leases to a
// file's owner only (and to who has CAP_LEASE), and not on network file systems:
// for other files the setting when_unknown decides.
//
// What remains is the instant between the last look at a name and its unlinking:
// a program that opens or replaces the file in that very instant is not seen.

namespace saathii::jobs {
namespace {

constexpr const char* default_folder = "/var/log/saathii";
constexpr std::size_t oldest_kept = 4096;
constexpr std::int64_t most_errors_logged = 10;

enum class Use { none, in_use, unknown };

/// Asks for the write lease on a file, which closing it or give_back() ends. Who
/// opens the file meanwhile waits until then.
Use take_lease(int fd) {
  // The kernel tells a lease's holder of that by a signal: by one that is
  // ignored unless somebody asks for it, as the usual SIGIO ends a program.
  fcntl(fd, F_SETSIG, SIGURG);
  if (fcntl(fd, F_SETLEASE, F_WRLCK) == 0) return Use::none;
  return errno == EAGAIN ? Use::in_use : Use::unknown;
}

void give_back(int fd) { fcntl(fd, F_SETLEASE, F_UNLCK); }

/// One run over all folders.
class Rotation {
 public:
  explicit Rotation(const Context& context)
      : context_(context),
        pattern_(context.settings.text("pattern")),
        remove_unknown_(context.settings.text("when_unknown") == "delete"),
        oldest_to_keep_(context.at.value_or(wall_now()) - context.settings.duration("max_age")),
        size_limit_(context.settings.integer("max_folder_size")) {
    const auto& archive = context.settings.text("archive_folder");
    if (!archive.empty()) archive_.emplace(archive);
  }

  Report run() {
    for (const auto& path : context_.settings.list("folders")) {
      context_.throw_if_stopped();
      try {
        rotate(path);
      } catch (const FileError& error) {
        note(error);
      }
    }
    auto report = make_report();
    if (errors_ > 0) throw std::runtime_error(report.summary);
    return report;
  }

 private:
  void rotate(const std::string& path) {
    if (!path.starts_with('/')) throw FileError("the folder " + path + " is not an absolute path");
    const Descriptor folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder.is_open()) {
      // Nothing has logged there yet.
      if (errno == ENOENT && path == default_folder) return;
      fail_file("open the folder", path, errno);
    }
    if (archive_ && archive_->is_same_folder(folder.get())) {
      throw FileError("the folder " + path + " is the archive_folder too; name another");
    }
    scan_ = 0;
    for_each_file(folder.get(), path, [&](const Seen& seen) {
      ++examined_;
      if (is_old(seen)) remove(folder.get(), seen);
    });
    if (size_limit_ > 0) shrink(folder.get(), path);
  }

  [[nodiscard]] bool is_old(const Seen& seen) const { return seen.changed_at() < oldest_to_keep_; }

  template <class Visit>
  void for_each_file(int folder, const std::string& path, Visit visit) {
    Descriptor own(openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(
        own.is_open() ? fdopendir(own.get()) : nullptr, closedir);
    if (!entries) fail_file("read the folder", path, errno);
    static_cast<void>(own.release());
    for (;;) {
      context_.throw_if_stopped();
      errno = 0;
      const auto* entry = readdir(entries.get());
      if (entry == nullptr && errno != 0) fail_file("read the folder", path, errno);
      if (entry == nullptr) return;
      if (fnmatch(pattern_.c_str(), entry->d_name, FNM_PERIOD) != 0) continue;
      Seen seen{entry->d_name, {}};
      const bool is_there = fstatat(folder, entry->d_name, &seen.status, AT_SYMLINK_NOFOLLOW) == 0;
      if (is_there && S_ISREG(seen.status.st_mode)) visit(seen);
    }
  }

  /// Removes the oldest files until the rest is no larger than the limit.
  void shrink(int folder, const std::string& path) {
    const auto is_older = [](const Seen& a, const Seen& b) {
      return a.changed_at() < b.changed_at();
    };
    for (bool again = true; again;) {
      ++scan_;
      std::int64_t total = 0;
      std::vector<Seen> oldest;
      for_each_file(folder, path, [&](const Seen& seen) {
        total += seen.status.st_size;
        oldest.push_back(seen);
        std::push_heap(oldest.begin(), oldest.end(), is_older);
        if (oldest.size() > oldest_kept) {
          std::pop_heap(oldest.begin(), oldest.end(), is_older);
          oldest.pop_back();
        }
      });
      const bool is_all = oldest.size() < oldest_kept;
      std::sort_heap(oldest.begin(), oldest.end(), is_older);
      bool has_shrunk = false;
      for (const auto& seen : oldest) {
        if (total <= size_limit_) return;
        context_.throw_if_stopped();
        if (!remove(folder, seen)) continue;
        total -= seen.status.st_size;
        has_shrunk = true;
      }
      again = total > size_limit_ && has_shrunk && !is_all;
      if (total > size_limit_ && !again) ++still_too_large_;
    }
  }

  /// Whether the file is gone. What keeps it from going is counted.
  bool remove(int folder, const Seen& seen) {
    try {
      return try_remove(folder, seen);
    } catch (const FileError& error) {
      if (is_first_met(seen)) note(error);
      return false;
    }
  }

  bool try_remove(int folder, const Seen& seen) {
    constexpr int flags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    Descriptor file(openat(folder, seen.name.c_str(), O_RDONLY | flags));
    if (!file.is_open() && errno == EACCES && !archive_) {
      file = Descriptor(openat(folder, seen.name.c_str(), O_PATH | flags));
    }
    if (!file.is_open()) {
      if (errno == ENOENT || errno == ELOOP) return false;
      if (errno == EWOULDBLOCK) return keep(in_use_, seen);
      fail_file("open", seen.name, errno);
    }
    if (!is_unchanged(file.get(), seen)) return keep(in_use_, seen);
    if (!may_go(file.get(), seen)) return false;
    std::string archived;
    if (archive_) {
      // A program that opens the file meanwhile need not wait for so long.
      give_back(file.get());
      archived = archive_->add(file.get(), seen, context_);
      const bool is_whole = is_unchanged(file.get(), seen);
      if (!is_whole || !may_go(file.get(), seen)) {
        archive_->remove(archived);
        return is_whole ? false : keep(in_use_, seen);
      }
    }
    struct stat named {};
    const bool has_its_name =
        fstatat(folder, seen.name.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 && seen.same_as(named);
    if (!has_its_name || unlinkat(folder, seen.name.c_str(), 0) != 0) {
      const int error = errno;
      if (archive_) archive_->remove(archived);
      if (!has_its_name) return false;
      fail_file("delete", seen.name, error);
    }
    ++deleted_;
    if (archive_) ++archived_;
    if (named.st_nlink == 1) bytes_freed_ += named.st_size;
    return true;
  }

  static bool is_unchanged(int file, const Seen& seen) {
    struct stat now {};
    return fstat(file, &now) == 0 && seen.same_as(now);
  }

  /// Takes the lease where there is one to be had.
  bool may_go(int file, const Seen& seen) {
    switch (take_lease(file)) {
      case Use::none:
        return true;
      case Use::in_use:
        return keep(in_use_, seen);
      case Use::unknown:
        return remove_unknown_ || keep(unknown_, seen);
    }
    return false;
  }

  bool keep(std::int64_t& count, const Seen& seen) {
    if (is_first_met(seen)) ++count;
    return false;
  }

  /// Scan 0 meets the old files; where there is a size limit, scan 1 meets them
  /// again and the others for the first time, and later scans meet what is left.
  [[nodiscard]] bool is_first_met(const Seen& seen) const {
    return scan_ == 0 || (scan_ == 1 && !is_old(seen));
  }

  void note(const FileError& error) {
    if (errors_ == 0) first_error_ = error.what();
    ++errors_;
    if (errors_ <= most_errors_logged) log::warning(log::Message::log_removal_failed, error.what());
  }

  [[nodiscard]] Report make_report() const {
    Report report;
    report.counts = {{"examined", examined_}, {"deleted", deleted_},
                     {"archived", archived_}, {"bytes_freed", bytes_freed_},
                     {"in_use", in_use_},     {"unknown", unknown_},
                     {"errors", errors_}};
    auto& text = report.summary;
    text = fmt::format("{} of {} deleted, {} freed", deleted_, counted(examined_, "log file"),
                       counted(bytes_freed_, "byte"));
    if (archived_ > 0) text += fmt::format(", {} archived first", archived_);
    if (in_use_ > 0) text += fmt::format(", {} in use and kept", in_use_);
    if (unknown_ > 0) {
      text += fmt::format(", {} kept that may be in use (see when_unknown)", unknown_);
    }
    if (still_too_large_ > 0) {
      text += fmt::format(", {} still above max_folder_size", counted(still_too_large_, "folder"));
    }
    if (errors_ > 0)
      text += fmt::format("; {}, the first: {}", counted(errors_, "error"), first_error_);
    return report;
  }

  const Context& context_;
  const std::string& pattern_;
  const bool remove_unknown_;
  const Instant oldest_to_keep_;
  const std::int64_t size_limit_;
  std::optional<LogArchive> archive_;
  int scan_ = 0;  ///< of the present folder
  std::int64_t examined_ = 0;
  std::int64_t deleted_ = 0;
  std::int64_t archived_ = 0;
  std::int64_t bytes_freed_ = 0;
  std::int64_t in_use_ = 0;
  std::int64_t unknown_ = 0;
  std::int64_t errors_ = 0;
  std::int64_t still_too_large_ = 0;
  std::string first_error_;
};

std::vector<CountMetric> metrics() {
  constexpr auto gauge = CountMetric::Type::gauge;
  return {{.count = "examined",
           .name = "saathiid_log_files",
           .type = gauge,
           .help = "Files in the log folders that match the pattern, before the old ones went"},
          {.count = "deleted",
           .name = "saathiid_log_files_deleted_total",
           .help = "Old log files deleted"},
          {.count = "archived",
           .name = "saathiid_log_files_archived_total",
           .help = "Old log files compressed into the archive before they were deleted"},
          {.count = "bytes_freed",
           .name = "saathiid_log_freed_bytes_total",
           .help = "Bytes of the log files deleted"},
          {.count = "in_use",
           .name = "saathiid_log_files_in_use",
           .type = gauge,
           .help = "Old log files kept, because a program has them open"},
          {.count = "unknown",
           .name = "saathiid_log_files_unknown",
           .type = gauge,
           .help = "Old log files kept, because a program may have them open"}};
}

class LogRotation final : public Job {
 public:
  Report run(const Context& context) override { return Rotation(context).run(); }
};

}  // namespace

Kind log_rotation() {
  using namespace std::chrono_literals;
  return {.info = {.name = "log_rotation",
                   .summary = "deletes old logs, compressing them into an archive first if wanted",
                   .default_trigger = "at = \"01:00\"",
                   .default_policy = {.misfire_grace = 12h},
                   .default_run = {.timeout = 30min},
                   .settings =
                       {
                           {.name = "folders",
                            .default_value = std::vector<std::string>{default_folder},
                            .help = "Folders to look into, not into those below them.",
                            .min = 1,
                            .max = 1000},
                           {.name = "pattern",
                            .default_value = std::string("*.log"),
                            .help = "Which files, by name, as a shell would match it."},
                           {.name = "max_age",
                            .default_value = Duration{24h * 7},
                            .help = "Files not written for longer than this go.",
                            .min = 60'000'000},
                           {.name = "archive_folder",
                            .default_value = std::string(),
                            .help = "Where to put each file, compressed with gzip, before it is "
                                    "deleted; empty: nowhere."},
                           {.name = "max_folder_size",
                            .default_value = std::int64_t{0},
                            .help = "The most bytes of matching files in one folder; the oldest go "
                                    "first. 0: no limit."},
                           {.name = "when_unknown",
                            .default_value = std::string("keep"),
                            .help = "What becomes of an old file of which the kernel does not say "
                                    "whether a program has it open, as it is another user's: "
                                    "keep or delete.",
                            .choices = {"keep", "delete"}},
                       },
                   .scope = config::Scope::host},
          .make = [] { return std::make_unique<LogRotation>(); },
          .metrics = metrics()};
}

}  // namespace saathii::jobs
