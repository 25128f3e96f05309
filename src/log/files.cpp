#include "saathii/log/files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace saathii::log {

namespace {

constexpr std::string_view name_of_the_rest = "saathiid";
constexpr std::size_t longest_name_bytes = 64;

bool is_file_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  };
  return !name.empty() && name.size() <= longest_name_bytes &&
         std::all_of(name.begin(), name.end(), allowed);
}

std::string reason_of(int error) {
  return error == ELOOP ? "it is a symbolic link" : std::generic_category().message(error);
}

}  // namespace

Files::~Files() {
  for (auto& [name, file] : files_) {
    close(file);
  }
}

std::optional<Files::Change> Files::write(std::string_view job, std::string_view line, Time now) {
  if (!looked_at_ || now - *looked_at_ >= looked_at_every) {
    looked_at_ = now;
    look_at_all(now);
  }
  File& file = file_of(job, now);
  file.last_written = now;
  if (file.failing && now < file.try_again) {
    ++file.missing;
    return std::nullopt;
  }
  std::string failure = file.fd < 0 ? open(file) : std::string{};
  if (failure.empty()) {
    failure = append(file, line);
  }
  if (failure.empty()) {
    if (!std::exchange(file.failing, false)) {
      return std::nullopt;
    }
    return Change{file.path, {}, std::exchange(file.missing, 0)};
  }
  ++file.missing;
  file.try_again = now + looked_at_every;
  if (std::exchange(file.failing, true)) {
    return std::nullopt;
  }
  return Change{file.path, std::move(failure), 0};
}

std::size_t Files::open_files() const noexcept {
  return static_cast<std::size_t>(std::count_if(
      files_.begin(), files_.end(), [](const auto& each) { return each.second.fd >= 0; }));
}

Files::File& Files::file_of(std::string_view job, Time now) {
  const std::string_view name = is_file_name(job) ? job : name_of_the_rest;
  auto found = files_.find(name);
  if (found == files_.end()) {
    if (files_.size() >= max_files) {
      forget_oldest();
    }
    File file;
    file.path = folder_ + "/" + std::string(name) + ".log";
    file.last_written = now;
    found = files_.emplace(name, std::move(file)).first;
  }
  return found->second;
}

/// Lets go of files that are no longer the ones of their names, and of those
/// that nobody has written to for a while.
void Files::look_at_all(Time now) {
  for (auto each = files_.begin(); each != files_.end();) {
    File& file = each->second;
    struct stat named {};
    const bool is_there = file.fd >= 0 && ::lstat(file.path.c_str(), &named) == 0 &&
                          named.st_dev == file.device && named.st_ino == file.inode;
    const auto kept = file.failing ? failure_forgotten_after : closed_after;
    if (now - file.last_written > kept) {
      close(file);
      each = files_.erase(each);
      continue;
    }
    if (!is_there) {
      close(file);
    }
    ++each;
  }
}

void Files::forget_oldest() {
  const auto oldest = std::min_element(
      files_.begin(), files_.end(),
      [](const auto& a, const auto& b) { return a.second.last_written < b.second.last_written; });
  close(oldest->second);
  files_.erase(oldest);
}

/// Returns why not, or nothing.
std::string Files::open(File& file) {
  // O_NONBLOCK: neither a pipe of that name nor somebody's lease holds up the writer.
  const int fd =
      ::open(file.path.c_str(),
             O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
             S_IRUSR | S_IWUSR | S_IRGRP);
  if (fd < 0) {
    return reason_of(errno);
  }
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(fd);
    return "it is not a plain file";
  }
  if (status.st_dev != file.device || status.st_ino != file.inode) {
    file.torn = false;
  }
  file.fd = fd;
  file.device = status.st_dev;
  file.inode = status.st_ino;
  return {};
}

/// Returns why not, or nothing.
std::string Files::append(File& file, std::string_view line) {
  const std::string mended = file.torn ? "\n" + std::string(line) : std::string{};
  std::string_view rest = file.torn ? std::string_view{mended} : line;
  while (!rest.empty()) {
    const ssize_t written = ::write(file.fd, rest.data(), rest.size());
    if (written > 0) {
      file.torn = true;
      rest.remove_prefix(static_cast<std::size_t>(written));
    } else if (written == 0 || errno != EINTR) {
      const int error = written == 0 ? EIO : errno;
      // A descriptor of a folder that came and went may never work again.
      close(file);
      return reason_of(error);
    }
  }
  file.torn = false;
  return {};
}

void Files::close(File& file) noexcept {
  if (file.fd >= 0) {
    ::close(std::exchange(file.fd, -1));
  }
}

}  // namespace saathii::log
