#include "saathii/log/event.hpp"

#include <sys/stat.h>
#include <syslog.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>

#include "saathii/base/utf8.hpp"

namespace saathii::log {

namespace {

constexpr std::string_view ellipsis = "…";

/// Whether a terminal or a reader of lines takes this character for a command:
/// C0, DEL, C1, and Unicode's line and paragraph separators.
bool is_control(std::string_view character) {
  const auto lead = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) {
    return lead < 0x20 || lead == 0x7F;
  }
  if (character.size() == 2) {
    return lead == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
  }
  return character == "\u2028" || character == "\u2029";
}

void append_escaped_bytes(std::string& out, std::string_view bytes) {
  static constexpr std::string_view hex = "0123456789abcdef";
  for (const char c : bytes) {
    switch (c) {
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default: {
        const auto byte = static_cast<unsigned char>(c);
        out += "\\x";
        out += hex[byte >> 4];
        out += hex[byte & 0xF];
      }
    }
  }
}

void append_escaped(std::string& out, std::string_view text, std::string_view also_escape) {
  const bool too_long = text.size() > max_text_bytes;
  text = text.substr(0, max_text_bytes);
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const std::string_view character = text.substr(0, std::max<std::size_t>(length, 1));
    if (length == 0 || is_control(character)) {
      append_escaped_bytes(out, character);
    } else {
      if (also_escape.find(character) != std::string_view::npos) {
        out += '\\';
      }
      out += character;
    }
    text.remove_prefix(character.size());
  }
  if (too_long) {
    out += ellipsis;
  }
}

bool is_journal_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !name.empty() && name.size() <= 64 && name[0] >= 'A' && name[0] <= 'Z' &&
         std::all_of(name.begin(), name.end(), allowed);
}

int priority(Level level) {
  switch (level) {
    case Level::trace:
    case Level::debug:
      return LOG_DEBUG;
    case Level::info:
      return LOG_INFO;
    case Level::warning:
      return LOG_WARNING;
    case Level::error:
      return LOG_ERR;
  }
  return LOG_ERR;
}

std::string journal_field(std::string_view name, std::string_view value) {
  std::string text(name);
  text.append("=").append(value.substr(0, max_text_bytes));
  if (value.size() > max_text_bytes) {
    text += ellipsis;
  }
  return text;
}

}  // namespace

std::string to_line(const Event& event) {
  std::string line;
  append_escaped(line, event.message, "");
  for (const auto& [name, value] : event.fields) {
    line += ' ';
    append_escaped(line, name, " =\"\\");
    line += '=';
    const bool plain = !value.empty() && value.find_first_of(" =\"\\\n\r\t") == std::string::npos;
    if (plain) {
      append_escaped(line, value, "");
    } else {
      line += '"';
      append_escaped(line, value, "\"\\");
      line += '"';
    }
  }
  return line;
}

std::vector<std::string> to_journal(const Event& event) {
  std::vector<std::string> lines;
  lines.reserve(event.fields.size() + 4);
  lines.push_back(journal_field("MESSAGE", event.message));
  lines.push_back("PRIORITY=" + std::to_string(priority(event.level)));
  lines.emplace_back("SYSLOG_IDENTIFIER=saathiid");
  if (event.id != Message::none) {
    lines.push_back(journal_field("MESSAGE_ID", id_of(event.id)));
  }
  for (const auto& [name, value] : event.fields) {
    if (is_journal_name(name)) {
      lines.push_back(journal_field(name, value));
    }
  }
  return lines;
}

bool is_journal_stream(int fd, const char* journal_stream) noexcept {
  if (journal_stream == nullptr) {
    return false;
  }
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  const char* end = journal_stream + std::strlen(journal_stream);
  const auto [colon, device_error] = std::from_chars(journal_stream, end, device);
  if (device_error != std::errc{} || colon == end || *colon != ':') {
    return false;
  }
  const auto [after, inode_error] = std::from_chars(colon + 1, end, inode);
  struct stat status {};
  return inode_error == std::errc{} && after == end && ::fstat(fd, &status) == 0 &&
         status.st_dev == device && status.st_ino == inode;
}

}  // namespace saathii::log
