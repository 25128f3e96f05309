#pragma once

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>

namespace saathii {

/// Where a server's password, or another secret, lies if its URL holds none.
struct PasswordSource {
  std::string file = {};  ///< as configured, absolute; empty: the credential
  /// Where the service manager puts one that the operator gave it; empty if
  /// there is no such manager. No file, or an empty one: there is no password.
  std::string credential = {};
  /// What an error calls it; its key is called so, too: "password_file".
  std::string name = "password";

  friend bool operator==(const PasswordSource&, const PasswordSource&) = default;
};

/// A password file that is of no use. The text tells which, why and what to do,
/// and nothing of what it holds.
class PasswordUnreadable : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Longer than any server takes.
inline constexpr std::size_t max_password_bytes = 4096;

/// Reads the password anew, so that a file that was changed counts at the next
/// connection; without the line's end, as editors leave one. Nothing if there is
/// none. A file that every user of the machine can read is warned of, once. Any
/// thread; waits for the file system alone. Throws PasswordUnreadable.
[[nodiscard]] std::optional<std::string> read_password(const PasswordSource& source);

}  // namespace saathii
