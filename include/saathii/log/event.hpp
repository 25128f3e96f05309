#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "saathii/log/log.hpp"

// An event as it goes out: pure, apart from where it goes.

namespace saathii::log {

struct Event {
  Level level = Level::info;
  std::string_view message;
  std::vector<Field> fields;
  Message id = Message::none;
};

/// Longer messages and values are cut off, with "…" at their end.
inline constexpr std::size_t max_text_bytes = 8192;

/// "message KEY=value KEY=\"two words\"", all in one line: line breaks, control
/// characters and invalid UTF-8 are escaped, so that no text of others can look
/// like a line of its own or command a terminal. The message's id is not in it.
[[nodiscard]] std::string to_line(const Event& event);

/// "NAME=value" for the journal: MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, MESSAGE_ID
/// where there is one, and the fields. A field whose name the journal would refuse is left out.
[[nodiscard]] std::vector<std::string> to_journal(const Event& event);

/// Whether `fd` is the stream that $JOURNAL_STREAM ("device:inode") names.
[[nodiscard]] bool is_journal_stream(int fd, const char* journal_stream) noexcept;

}  // namespace saathii::log
