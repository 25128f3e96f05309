#include "screen.hpp"

#include <algorithm>

#include "text.hpp"

namespace saathii::ctl {

namespace {

const char* escape_of(Style style) {
  switch (style) {
    case Style::plain:
      break;
    case Style::bold:
      return "\x1b[1m";
    case Style::dim:
      return "\x1b[2m";
    case Style::good:
      return "\x1b[32m";
    case Style::attention:
      return "\x1b[33m";
    case Style::bad:
      return "\x1b[1;31m";
    case Style::heading:
      return "\x1b[4m";
  }
  return "";
}

}  // namespace

std::string Screen::paint(Style style, std::string_view text) const {
  if (!color || style == Style::plain || text.empty()) {
    return std::string{text};
  }
  return escape_of(style) + std::string{text} + "\x1b[0m";
}

std::string Screen::symbol(Symbol symbol) const {
  switch (symbol) {
    case Symbol::good:
      return paint(Style::good, utf8 ? "●" : "*");
    case Symbol::attention:
      return paint(Style::attention, "!");
    case Symbol::bad:
      return paint(Style::bad, utf8 ? "×" : "x");
    case Symbol::idle:
      return paint(Style::dim, utf8 ? "○" : "-");
    case Symbol::busy:
      return paint(Style::good, utf8 ? "↻" : ">");
  }
  return " ";
}

std::string Screen::shown(std::string_view text) const {
  std::string line{text};
  std::replace(line.begin(), line.end(), '\n', ' ');
  return utf8 ? line : to_ascii(line);
}

std::string Screen::lines(const std::vector<Part>& parts, const std::string& mark) const {
  std::string plain;
  std::string painted;
  for (const Part& part : parts) {
    plain += shown(part.text);
    painted += paint(part.style, shown(part.text));
  }
  const std::size_t indent = mark.empty() ? 0 : 2;
  std::string text = mark.empty() ? "" : mark + " ";
  if (width == 0 || indent + columns_of(plain) <= width) {
    return text + painted + "\n";
  }
  for (const std::string& line : wrap(plain, width > indent ? width - indent : 1)) {
    text += line + "\n" + std::string(indent, ' ');
  }
  text.resize(text.size() - indent);
  return text;
}

std::string Screen::rupees(std::string_view amount) const {
  return (utf8 ? "₹ " : "Rs ") + std::string{amount};
}

Style style_of(std::string_view word) {
  if (word == "succeeded" || word == "ok" || word == "up") {
    return Style::good;
  }
  if (word == "failed" || word == "timed_out" || word == "failing" || word == "down" ||
      word == "stuck") {
    return Style::bad;
  }
  if (word == "skipped" || word == "coalesced" || word == "missed" || word == "degraded" ||
      word == "retrying" || word == "paused") {
    return Style::attention;
  }
  return Style::plain;
}

}  // namespace saathii::ctl
