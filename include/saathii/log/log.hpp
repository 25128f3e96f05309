#pragma once

#include <chrono>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "saathii/log/messages.hpp"

// Log events with fields. Under systemd they go to the journal, each field as a
// journal field; elsewhere to stderr as "time level message KEY=value". Any
// thread. Writing never throws and never blocks on a server. A warning or an
// error that repeats (same message, same job) is folded: see fold.hpp. An event
// that an operator acts on names its Message: the journal's MESSAGE_ID.

namespace saathii::log {

enum class Level { trace, debug, info, warning, error };

/// A journal field: an upper-case name and its value.
using Field = std::pair<std::string, std::string>;

/// The least level written from now on, by all threads.
void set_level(Level least) noexcept;
[[nodiscard]] Level level() noexcept;

/// Whether events go to the journal, and not to stderr: as it was at the first use.
[[nodiscard]] bool is_journal() noexcept;

/// From now on events go to files in this folder, too: see files.hpp. Empty: no
/// longer. Any thread; it waits for no disk, because a thread of its own writes:
/// see file_writer.hpp. A file that cannot be written is told of once.
void write_files(const std::string& folder);

/// Until the files have all lines so far, or the limit; what they lack then is
/// told of. For the end of the program.
void finish_files(std::chrono::milliseconds limit);

/// "trace", "debug", "info", "warning", "error" (case does not matter);
/// anything else returns false and leaves `level` alone.
[[nodiscard]] bool parse_level(std::string_view text, Level& level);
[[nodiscard]] std::string_view to_string(Level level);

void write(Level level, Message id, std::string_view message,
           std::initializer_list<Field> fields = {});
inline void write(Level level, std::string_view message, std::initializer_list<Field> fields = {}) {
  write(level, Message::none, message, fields);
}

/// As write(), but never folded: for a change of state, which its caller
/// reports once however often it is seen.
void write_unfolded(Level level, Message id, std::string_view message,
                    std::initializer_list<Field> fields = {});
inline void write_unfolded(Level level, std::string_view message,
                           std::initializer_list<Field> fields = {}) {
  write_unfolded(level, Message::none, message, fields);
}

inline void debug(std::string_view message, std::initializer_list<Field> fields = {}) {
  write(Level::debug, message, fields);
}
inline void info(std::string_view message, std::initializer_list<Field> fields = {}) {
  write(Level::info, message, fields);
}
inline void info(Message id, std::string_view message, std::initializer_list<Field> fields = {}) {
  write(Level::info, id, message, fields);
}
inline void warning(std::string_view message, std::initializer_list<Field> fields = {}) {
  write(Level::warning, message, fields);
}
inline void warning(Message id, std::string_view message,
                    std::initializer_list<Field> fields = {}) {
  write(Level::warning, id, message, fields);
}
inline void error(std::string_view message, std::initializer_list<Field> fields = {}) {
  write(Level::error, message, fields);
}
inline void error(Message id, std::string_view message, std::initializer_list<Field> fields = {}) {
  write(Level::error, id, message, fields);
}

/// Fields that every event of this thread carries while the scope lives:
/// JOB, RUN_ID, SCHEDULED_AT of the run that the thread is busy with.
class Scope {
 public:
  explicit Scope(std::vector<Field> fields);
  explicit Scope(std::initializer_list<Field> fields) : Scope(std::vector<Field>(fields)) {}
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  std::vector<Field> saved_;
};

/// What the scopes of this thread hold: for the Scope of a thread that helps it.
[[nodiscard]] std::vector<Field> fields_in_scope();

}  // namespace saathii::log
