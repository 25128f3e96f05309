#include "saathii/log/log.hpp"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>

// The journal would otherwise name this file as the origin of every event.
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "saathii/log/event.hpp"
#include "saathii/log/file_writer.hpp"
#include "saathii/log/fold.hpp"

namespace saathii::log {

namespace {

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::trace:
      return spdlog::level::trace;
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warning:
      return spdlog::level::warn;
    case Level::error:
      break;
  }
  return spdlog::level::err;
}

/// As on stderr and in the files; on a terminal the level is coloured.
std::unique_ptr<spdlog::pattern_formatter> make_formatter() {
  return std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%eZ %^%l%$ %v",
                                                     spdlog::pattern_time_type::utc);
}

bool wants_color() {
  const char* no_color = std::getenv("NO_COLOR");
  return ::isatty(STDERR_FILENO) == 1 && (no_color == nullptr || *no_color == '\0');
}

std::shared_ptr<spdlog::logger> make_stderr_logger() {
  const auto mode = wants_color() ? spdlog::color_mode::always : spdlog::color_mode::never;
  auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>(mode);
  auto logger = std::make_shared<spdlog::logger>("saathiid", std::move(sink));
  logger->set_level(spdlog::level::trace);
  logger->set_formatter(make_formatter());
  logger->set_error_handler([](const std::string&) {});
  return logger;
}

void tell(const Files::Change& change);

struct State {
  std::atomic<Level> least{Level::info};
  const bool journal{is_journal_stream(STDERR_FILENO, std::getenv("JOURNAL_STREAM"))};
  std::shared_ptr<spdlog::logger> stderr_logger = make_stderr_logger();
  std::mutex fold_mutex;
  Fold fold;
  std::atomic<bool> has_files{false};
  std::mutex files_mutex;  ///< of what follows, and of the order of the lines
  std::unique_ptr<spdlog::pattern_formatter> files_formatter = make_formatter();
  FileWriter file_writer{tell};
};

/// Never destroyed, so that whatever runs at exit can still write.
State& state() {
  static State* const instance = new State;
  return *instance;
}

thread_local std::vector<Field> scope_fields;

std::vector<Field> with_scope(std::initializer_list<Field> fields) {
  std::vector<Field> all;
  all.reserve(scope_fields.size() + fields.size());
  for (const Field& field : scope_fields) {
    const bool overridden = std::any_of(fields.begin(), fields.end(), [&](const Field& other) {
      return other.first == field.first;
    });
    if (!overridden) {
      all.push_back(field);
    }
  }
  all.insert(all.end(), fields.begin(), fields.end());
  return all;
}

bool send_to_journal(const Event& event) {
  const std::vector<std::string> lines = to_journal(event);
  std::vector<iovec> parts;
  parts.reserve(lines.size());
  for (const std::string& line : lines) {
    parts.push_back({const_cast<char*>(line.data()), line.size()});
  }
  return sd_journal_sendv(parts.data(), static_cast<int>(parts.size())) == 0;
}

void send_to_operator(const Event& event) {
  if (is_journal() && send_to_journal(event)) {
    return;
  }
  state().stderr_logger->log(to_spdlog(event.level), "{}", to_line(event));
}

std::string_view job_of(const Event& event) {
  std::string_view job;
  for (const auto& [name, value] : event.fields) {
    if (name == "JOB") {
      job = value;
    }
  }
  return job;
}

std::optional<Files::Change> write_to_file(const Event& event) {
  const std::string text = to_line(event);
  const spdlog::details::log_msg message("saathiid", to_spdlog(event.level), text);
  spdlog::memory_buf_t line;
  const std::scoped_lock lock(state().files_mutex);
  state().files_formatter->format(message, line);
  return state().file_writer.add(job_of(event), {line.data(), line.size()});
}

/// How often this event has come, or 0 if it is not to be written.
std::uint64_t folded_count(const Event& event) {
  std::string key = std::to_string(static_cast<int>(event.level)) + '\n';
  key.append(job_of(event)).append("\n").append(event.message);
  const std::scoped_lock lock(state().fold_mutex);
  return state().fold.count(key, std::chrono::steady_clock::now());
}

/// Not to the files themselves, and of no run. Files that fail alike are told
/// of as one: they mostly do so together.
void tell(const Files::Change& change) {
  Event event{Level::info,
              "a log file is written again",
              {{"FILE", change.file}},
              Message::log_files_restored};
  const std::string failed = "a log file cannot be written: " + change.failure +
                             "; no event is lost here, and it is tried again each second";
  if (change.failure.empty()) {
    event.fields.emplace_back("LINES_MISSING", std::to_string(change.missing));
  } else {
    event.level = Level::warning;
    event.message = failed;
    event.id = Message::log_files_failed;
  }
  if (folded_count(event) != 0) {
    send_to_operator(event);
  }
}

void send(const Event& event) {
  send_to_operator(event);
  if (state().has_files.load(std::memory_order_relaxed)) {
    if (const auto change = write_to_file(event)) {
      tell(*change);
    }
  }
}

bool is_written(Level each) { return each >= level(); }

}  // namespace

void set_level(Level least) noexcept { state().least.store(least, std::memory_order_relaxed); }

Level level() noexcept { return state().least.load(std::memory_order_relaxed); }

bool is_journal() noexcept { return state().journal; }

void write_files(const std::string& folder) {
  try {
    state().file_writer.use(folder);
    state().has_files = !folder.empty();
  } catch (const std::system_error& error) {
    state().has_files = false;
    tell({folder, error.code().message(), 0});
  }
}

void finish_files(std::chrono::milliseconds limit) {
  const std::size_t left = state().file_writer.flush(limit);
  if (left > 0) {
    const Event event{
        Level::warning,
        "lines that had yet to be written to log files at the end are lost there",
        {{"FILE", state().file_writer.folder()}, {"LINES_MISSING", std::to_string(left)}},
        Message::log_files_failed};
    send_to_operator(event);
  }
}

bool parse_level(std::string_view text, Level& level) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  });
  for (const Level known :
       {Level::trace, Level::debug, Level::info, Level::warning, Level::error}) {
    if (to_string(known) == lower) {
      level = known;
      return true;
    }
  }
  return false;
}

std::string_view to_string(Level level) {
  switch (level) {
    case Level::trace:
      return "trace";
    case Level::debug:
      return "debug";
    case Level::info:
      return "info";
    case Level::warning:
      return "warning";
    case Level::error:
      break;
  }
  return "error";
}

void write(Level level, Message id, std::string_view message, std::initializer_list<Field> fields) {
  try {
    if (!is_written(level)) {
      return;
    }
    Event event{level, message, with_scope(fields), id};
    std::string folded;
    if (level >= Level::warning) {
      const std::uint64_t times = folded_count(event);
      if (times == 0) {
        return;
      }
      if (times > 1) {
        folded = std::string(message.substr(0, max_text_bytes)) + " (repeated " +
                 std::to_string(times) + " times)";
        event.message = folded;
      }
    }
    send(event);
  } catch (...) {
    // Out of memory or a broken stderr: there is nobody left to tell.
  }
}

void write_unfolded(Level level, Message id, std::string_view message,
                    std::initializer_list<Field> fields) {
  try {
    if (is_written(level)) {
      send(Event{level, message, with_scope(fields), id});
    }
  } catch (...) {
    // As in write().
  }
}

Scope::Scope(std::vector<Field> fields) : saved_(scope_fields) {
  for (Field& field : fields) {
    const auto same = std::find_if(scope_fields.begin(), scope_fields.end(),
                                   [&](const Field& other) { return other.first == field.first; });
    if (same == scope_fields.end()) {
      scope_fields.push_back(std::move(field));
    } else {
      same->second = std::move(field.second);
    }
  }
}

Scope::~Scope() { scope_fields = std::move(saved_); }

std::vector<Field> fields_in_scope() { return scope_fields; }

}  // namespace saathii::log
