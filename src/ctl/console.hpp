#pragma once

#include <optional>
#include <string>

#include "screen.hpp"

// Where a command's words go: the terminal in the program, strings in tests.

namespace saathii::ctl {

class Console {
 public:
  virtual ~Console() = default;

  /// The answer. Once for each command, but for one that asks in between.
  virtual void print(const std::string& text) = 0;
  /// To the standard error.
  virtual void complain(const std::string& text) = 0;
  /// One line that takes the place of the last one, where somebody looks on;
  /// "" takes it away.
  virtual void progress(const std::string& line) = 0;
  /// Yes or no; nothing where there is nobody to ask.
  [[nodiscard]] virtual std::optional<bool> ask(const std::string& question) = 0;
  /// Whether progress() is seen by anybody.
  [[nodiscard]] virtual bool is_watched() const = 0;
  /// How to draw, now.
  [[nodiscard]] virtual Screen screen() const = 0;
  /// How to draw what progress() shows, which may be on another terminal, or the
  /// only thing that is on one.
  [[nodiscard]] virtual Screen progress_screen() const = 0;
};

}  // namespace saathii::ctl
