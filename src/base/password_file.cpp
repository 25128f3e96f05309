#include "saathii/base/password_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <mutex>
#include <set>
#include <string_view>
#include <system_error>

#include "saathii/base/descriptor.hpp"
#include "saathii/log/log.hpp"

namespace saathii {

namespace {

[[noreturn]] void refuse(const std::string& name, const std::string& file, const std::string& why,
                         const std::string& what_to_do) {
  throw PasswordUnreadable("the " + name + " file " + file + " " + why + ": " + what_to_do);
}

/// More files than there are keys to name one are not remembered.
constexpr std::size_t max_warned = 16;

void warn_if_public(const std::string& name, const std::string& file, const struct stat& about) {
  if ((about.st_mode & S_IROTH) == 0) return;
  static std::mutex mutex;
  static std::set<std::string> warned;
  {
    const std::scoped_lock lock(mutex);
    if (warned.size() >= max_warned || !warned.insert(file).second) return;
  }
  log::warning(log::Message::password_public,
               "every user of this machine can read the " + name + " file " + file +
                   ": take that right away (chmod o-rwx) and change the " + name,
               {{"FILE", file}});
}

/// What the file holds, or nothing if there is no such file.
std::optional<std::string> read_small(const std::string& name, const std::string& file) {
  const std::string nothing_else = "the " + name + " and nothing else";
  // A pipe in its place would not let go of the thread.
  const Descriptor open_file{::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (open_file.get() < 0) {
    const int error = errno;
    if (error == ENOENT) return std::nullopt;
    refuse(name, file, "cannot be read (" + std::generic_category().message(error) + ")",
           "give the user that saathiid runs as the right to read it");
  }
  struct stat about {};
  if (::fstat(open_file.get(), &about) != 0 || !S_ISREG(about.st_mode)) {
    refuse(name, file, "is not a plain file", "name one that holds " + nothing_else);
  }
  warn_if_public(name, file, about);
  std::array<char, max_password_bytes + 2> bytes{};  // with its line's end
  std::size_t size = 0;
  while (size < bytes.size()) {
    const auto got = ::read(open_file.get(), bytes.data() + size, bytes.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      refuse(name, file, "cannot be read (" + std::generic_category().message(errno) + ")",
             "see to the file system that it is on");
    }
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  std::string text(bytes.data(), size);
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  if (text.size() > max_password_bytes) {
    refuse(name, file, "is longer than " + std::to_string(max_password_bytes) + " bytes",
           "let it hold " + nothing_else);
  }
  if (text.find_first_of(std::string_view("\0\r\n", 3)) != std::string::npos) {
    refuse(name, file, "has more than one line", "let it hold " + nothing_else);
  }
  return text;
}

}  // namespace

std::optional<std::string> read_password(const PasswordSource& source) {
  const std::string& name = source.name;
  if (source.file.empty()) {
    auto handed_over =
        source.credential.empty() ? std::nullopt : read_small(name, source.credential);
    return handed_over && !handed_over->empty() ? handed_over : std::nullopt;
  }
  auto secret = read_small(name, source.file);
  if (!secret) {
    refuse(name, source.file, "does not exist",
           "write the " + name + " into it, or correct " + name + "_file");
  }
  if (secret->empty()) {
    refuse(name, source.file, "is empty",
           "write the " + name + " into it, or set " + name + "_file = \"\"");
  }
  return secret;
}

}  // namespace saathii
