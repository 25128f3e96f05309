#include "pause_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <system_error>

#include "saathii/log/log.hpp"

namespace saathii::app {

namespace {

constexpr std::size_t largest_file_bytes = 1 << 20;

PauseFile::Pauses parse(const std::string& text) {
  PauseFile::Pauses pauses;
  const auto json = nlohmann::json::parse(text);
  for (const auto& [job, entry] : json.items()) {
    const auto since = parse_iso8601(entry.at("since").get<std::string>());
    if (!since) {
      throw std::runtime_error("\"since\" of " + job + " is no moment");
    }
    pauses[job] = {entry.at("by").get<std::string>(), *since};
  }
  return pauses;
}

std::string print(const PauseFile::Pauses& pauses) {
  auto json = nlohmann::ordered_json::object();
  for (const auto& [job, pause] : pauses) {
    json[job] = {{"by", pause.by}, {"since", to_iso8601(pause.since)}};
  }
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

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

}  // namespace

PauseFile PauseFile::in_state_folder() {
  const char* const folders = std::getenv("STATE_DIRECTORY");
  if (folders == nullptr || *folders == '\0') {
    return PauseFile({});
  }
  const std::string all(folders);
  return PauseFile(std::filesystem::path(all.substr(0, all.find(':'))) / "paused.json");
}

PauseFile::Pauses PauseFile::load() const {
  if (file_.empty() || !std::filesystem::exists(file_)) {
    return {};
  }
  try {
    std::ifstream in(file_, std::ios::binary);
    std::string text(largest_file_bytes, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(in.gcount()));
    return parse(text);
  } catch (const std::exception& error) {
    log::error(
        log::Message::pauses_unread,
        fmt::format("{} cannot be read, so no job is paused: {}", file_.string(), error.what()),
        {{"FILE", file_.string()}});
    return {};
  }
}

void PauseFile::save(const Pauses& pauses) const {
  if (file_.empty()) {
    return;
  }
  const std::string fresh = file_.string() + ".new";
  const char* failed = write_file(fresh, print(pauses));
  if (failed == nullptr && ::rename(fresh.c_str(), file_.c_str()) != 0) {
    failed = "put in its place";
  }
  if (failed != nullptr) {
    const std::string reason = std::generic_category().message(errno);
    ::unlink(fresh.c_str());
    throw std::runtime_error(fmt::format(
        "it holds until the next restart only: {} cannot be {}: {}", fresh, failed, reason));
  }
}

}  // namespace saathii::app
