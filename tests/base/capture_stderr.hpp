#pragma once

#include <unistd.h>

#include <cstdio>
#include <string>
#include <system_error>

/// While it lives, what the process writes to stderr goes to a file instead.
class CaptureStderr {
 public:
  CaptureStderr() : file_(std::tmpfile()), saved_fd_(::dup(STDERR_FILENO)) {
    if (file_ == nullptr || saved_fd_ < 0 || ::dup2(::fileno(file_), STDERR_FILENO) < 0) {
      throw std::system_error(errno, std::generic_category(), "capture stderr");
    }
  }
  ~CaptureStderr() {
    ::dup2(saved_fd_, STDERR_FILENO);
    ::close(saved_fd_);
    std::fclose(file_);
  }
  CaptureStderr(const CaptureStderr&) = delete;
  CaptureStderr& operator=(const CaptureStderr&) = delete;

  [[nodiscard]] std::string text() const {
    std::fflush(stderr);
    std::string all;
    char buffer[4096];
    for (off_t offset = 0;;) {
      const ssize_t got = ::pread(::fileno(file_), buffer, sizeof buffer, offset);
      if (got <= 0) {
        return all;
      }
      all.append(buffer, static_cast<std::size_t>(got));
      offset += got;
    }
  }

  [[nodiscard]] int fd() const { return ::fileno(file_); }

 private:
  std::FILE* file_;
  int saved_fd_;
};
