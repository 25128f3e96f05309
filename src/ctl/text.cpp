#include "text.hpp"

#include <algorithm>

#include "saathii/base/utf8.hpp"

namespace saathii::ctl {

namespace {

constexpr char32_t broken = 0xFFFD;

/// The next code point of `text`, which is not empty; takes its bytes away.
char32_t take(std::string_view& text) {
  const std::size_t length = utf8_length(text);
  if (length == 0) {
    text.remove_prefix(1);
    return broken;
  }
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  char32_t code = length == 1 ? byte(0) : byte(0) & (0x7FU >> length);
  for (std::size_t at = 1; at < length; ++at) {
    code = (code << 6U) | (byte(at) & 0x3FU);
  }
  text.remove_prefix(length);
  return code;
}

bool between(char32_t code, char32_t first, char32_t last) { return code >= first && code <= last; }

/// Control characters, and the format characters that change how what follows
/// is shown.
bool is_obeyed(char32_t code) {
  return code < 0x20 || between(code, 0x7F, 0x9F) || between(code, 0x200B, 0x200F) ||
         between(code, 0x2028, 0x202E) || between(code, 0x2060, 0x206F) || code == 0xFEFF;
}

std::size_t width_of(char32_t code) {
  if (between(code, 0x0300, 0x036F) || between(code, 0x0900, 0x0902) ||
      between(code, 0x093A, 0x093A) || between(code, 0x0941, 0x0948) || code == 0x094D ||
      between(code, 0xFE00, 0xFE0F)) {
    return 0;
  }
  const bool wide = between(code, 0x1100, 0x115F) || between(code, 0x2E80, 0xA4CF) ||
                    between(code, 0xAC00, 0xD7A3) || between(code, 0xF900, 0xFAFF) ||
                    between(code, 0xFE30, 0xFE6F) || between(code, 0xFF00, 0xFF60) ||
                    between(code, 0x1F300, 0x1FAFF) || between(code, 0x20000, 0x3FFFD);
  return wide ? 2 : 1;
}

/// How many bytes of `text` fit in `columns`.
std::size_t bytes_that_fit(std::string_view text, std::size_t columns) {
  std::string_view rest = text;
  std::size_t used = 0;
  while (!rest.empty()) {
    std::string_view after = rest;
    used += width_of(take(after));
    if (used > columns) {
      break;
    }
    rest = after;
  }
  return text.size() - rest.size();
}

}  // namespace

std::string clean(std::string_view text) {
  std::string cleaned;
  cleaned.reserve(text.size());
  while (!text.empty()) {
    const std::string_view before = text;
    const char32_t code = take(text);
    if (code == U'\n') {
      cleaned += '\n';
    } else if (code == U'\t') {
      cleaned += ' ';
    } else if (code == broken) {
      cleaned += "\xEF\xBF\xBD";
    } else if (!is_obeyed(code)) {
      cleaned += before.substr(0, before.size() - text.size());
    }
  }
  return cleaned;
}

std::string one_line(std::string_view text) {
  std::string line = clean(text);
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

std::size_t columns_of(std::string_view text) {
  std::size_t columns = 0;
  while (!text.empty()) {
    columns += width_of(take(text));
  }
  return columns;
}

std::string fit(std::string_view text, std::size_t columns, std::string_view ellipsis) {
  if (columns_of(text) <= columns) {
    return std::string{text};
  }
  const std::size_t mark = columns_of(ellipsis);
  if (columns <= mark) {
    return std::string{text.substr(0, bytes_that_fit(text, columns))};
  }
  std::string cut{text.substr(0, bytes_that_fit(text, columns - mark))};
  cut.erase(cut.find_last_not_of(' ') + 1);
  return cut.append(ellipsis);
}

std::vector<std::string> wrap(std::string_view text, std::size_t columns) {
  std::vector<std::string> lines;
  columns = std::max<std::size_t>(columns, 1);
  do {
    const std::size_t newline = text.find('\n');
    std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    do {
      std::size_t end = bytes_that_fit(line, columns);
      std::size_t next = end;
      if (end < line.size()) {
        if (const auto blank = line.rfind(' ', end); blank != std::string_view::npos && blank > 0) {
          end = blank;
          next = blank + 1;
        } else if (end == 0) {
          std::string_view after = line;
          take(after);
          next = end = line.size() - after.size();
        }
      }
      lines.emplace_back(line.substr(0, end));
      line.remove_prefix(next);
    } while (!line.empty());
  } while (!text.empty());
  return lines;
}

std::string to_ascii(std::string_view text) {
  std::string ascii;
  while (!text.empty()) {
    const char32_t code = take(text);
    if (code < 0x80) {
      ascii += static_cast<char>(code);
    } else if (code == U'₹') {
      ascii += "Rs";
    } else if (code == U'…') {
      ascii += "...";
    } else {
      ascii += width_of(code) == 0 ? "" : "?";
    }
  }
  return ascii;
}

std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  const std::size_t first = digits[0] == '-' ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

}  // namespace saathii::ctl
