#include "state_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <system_error>

#include "saathii/base/descriptor.hpp"

namespace saathii::app {

namespace {

/// Returns what failed, or nothing.
const char* write_file(const std::string& file, const std::string& text) {
  const Descriptor out(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (out.get() < 0) {
    return "opened";
  }
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t done = ::write(out.get(), text.data() + written, text.size() - written);
    if (done < 0 && errno != EINTR) {
      return "written";
    }
    written += done > 0 ? static_cast<std::size_t>(done) : 0;
  }
  return ::fsync(out.get()) == 0 ? nullptr : "written";
}

/// A rename lasts once its folder does.
const char* sync_folder(const std::filesystem::path& folder) {
  const Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd.get() >= 0 && ::fsync(fd.get()) == 0 ? nullptr : "made to last";
}

}  // namespace

StateFile StateFile::in_state_folder(std::string_view name) {
  const char* const folders = std::getenv("STATE_DIRECTORY");
  if (folders == nullptr || *folders == '\0') {
    return StateFile({});
  }
  const std::string all(folders);
  return StateFile(std::filesystem::path(all.substr(0, all.find(':'))) / name);
}

std::optional<std::string> StateFile::read() const {
  if (file_.empty()) {
    return std::nullopt;
  }
  const Descriptor in(::open(file_.c_str(), O_RDONLY | O_CLOEXEC));
  if (in.get() < 0 && errno == ENOENT) {
    return std::nullopt;
  }
  std::string text(largest_bytes, '\0');
  std::size_t got = 0;
  while (got < text.size()) {
    const ssize_t part = in.get() < 0 ? -1 : ::read(in.get(), text.data() + got, text.size() - got);
    if (part < 0 && errno != EINTR) {
      throw std::system_error(errno, std::generic_category());
    }
    if (part == 0) {
      break;
    }
    got += part > 0 ? static_cast<std::size_t>(part) : 0;
  }
  text.resize(got);
  return text;
}

void StateFile::write(const std::string& text) const {
  if (file_.empty()) {
    return;
  }
  const std::string fresh = file_.string() + ".new";
  const char* failed = write_file(fresh, text);
  if (failed == nullptr && ::rename(fresh.c_str(), file_.c_str()) != 0) {
    failed = "put in its place";
  }
  if (failed == nullptr) {
    failed = sync_folder(file_.parent_path());
  }
  if (failed != nullptr) {
    const std::string reason = std::generic_category().message(errno);
    ::unlink(fresh.c_str());
    throw std::runtime_error(fmt::format("{} cannot be {}: {}", fresh, failed, reason));
  }
}

}  // namespace saathii::app
