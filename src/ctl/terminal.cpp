#include "terminal.hpp"

#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string_view>

#include "pager.hpp"
#include "text.hpp"

namespace saathii::ctl {

namespace {

constexpr std::size_t usual_width = 80;
constexpr std::size_t usual_height = 24;
constexpr std::size_t least_width = 20;

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view{} : std::string_view{value};
}

std::optional<std::size_t> number_in(const char* name) {
  const std::string text{environment(name)};
  char* end = nullptr;
  const unsigned long number = std::strtoul(text.c_str(), &end, 10);
  return text.empty() || *end != '\0' || number == 0 || number > 10'000
             ? std::nullopt
             : std::optional<std::size_t>{number};
}

bool on_terminal() { return ::isatty(STDOUT_FILENO) == 1; }

winsize size_of_terminal(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0) {
    return {};
  }
  return size;
}

/// Of the terminal at `fd`. 0: not cut to any width, because no terminal shows it.
std::size_t width(int fd) {
  if (const auto columns = number_in("COLUMNS")) {
    return std::max(*columns, least_width);
  }
  if (::isatty(fd) != 1) {
    return 0;
  }
  const std::size_t columns = size_of_terminal(fd).ws_col;
  return columns == 0 ? usual_width : std::max(columns, least_width);
}

std::size_t height() {
  if (const auto lines = number_in("LINES")) {
    return *lines;
  }
  const std::size_t lines = size_of_terminal(STDOUT_FILENO).ws_row;
  return lines == 0 ? usual_height : lines;
}

bool wants_color() {
  return on_terminal() && environment("NO_COLOR").empty() && environment("TERM") != "dumb";
}

}  // namespace

Terminal::Terminal(const CommandLine& command) : command_(command) {
  std::setlocale(LC_CTYPE, "");
  screen_.width = command.full ? 0 : width(STDOUT_FILENO);
  screen_.utf8 = std::string_view{::nl_langinfo(CODESET)} == "UTF-8";
  screen_.color = wants_color();
  screen_.legend = command.legend;
}

Screen Terminal::screen() const {
  Screen now = screen_;
  now.now = wall_now();
  return now;
}

Screen Terminal::progress_screen() const {
  Screen now = screen();
  now.width = width(STDERR_FILENO);
  return now;
}

void Terminal::print(const std::string& text) {
  const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  if (command_.pager && on_terminal() && lines >= height() && page(text)) {
    return;
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void Terminal::complain(const std::string& text) {
  std::fflush(stdout);
  const std::string shown = screen_.utf8 ? text : to_ascii(text);
  std::fwrite(shown.data(), 1, shown.size(), stderr);
}

std::optional<bool> Terminal::ask(const std::string& question) {
  if (::isatty(STDIN_FILENO) != 1 || ::isatty(STDERR_FILENO) != 1) {
    return std::nullopt;
  }
  complain(question + " [y/N] ");
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

bool Terminal::is_watched() const {
  return !command_.quiet && command_.json == JsonForm::none && ::isatty(STDERR_FILENO) == 1 &&
         environment("TERM") != "dumb";
}

void Terminal::progress(const std::string& line) {
  if (!is_watched() || (line.empty() && !shows_progress_)) {
    return;
  }
  std::fprintf(stderr, "\r%s\x1b[K", line.c_str());
  std::fflush(stderr);
  shows_progress_ = !line.empty();
}

bool Terminal::wrote_all() { return std::fflush(stdout) == 0 && std::ferror(stdout) == 0; }

}  // namespace saathii::ctl
