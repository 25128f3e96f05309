#pragma once

#include <sys/types.h>

#include <string>

#include "saathii/config/listen.hpp"

namespace saathii::http {

/// A socket that listens. A Unix socket's file goes when this does, if it is
/// still this socket's.
class ListeningSocket {
 public:
  /// Does not block. Throws std::runtime_error: what failed and what to do.
  explicit ListeningSocket(const config::ListenAddress& address);
  ~ListeningSocket();
  ListeningSocket(const ListeningSocket&) = delete;
  ListeningSocket& operator=(const ListeningSocket&) = delete;

  [[nodiscard]] int family() const noexcept { return family_; }
  /// As one would write it in the configuration; with the port that the kernel gave.
  [[nodiscard]] const std::string& address() const noexcept { return address_; }
  /// The descriptor, which is the caller's from now on.
  [[nodiscard]] int release() noexcept;

 private:
  void open_tcp(const config::ListenAddress& address);
  void open_unix(const config::ListenAddress& address);
  void open(int family);

  int fd_ = -1;
  int family_ = 0;
  std::string address_;
  std::string path_;  ///< of its file; empty: there is none
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace saathii::http
