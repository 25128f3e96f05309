#pragma once

#include <cstdio>

#include "command_line.hpp"
#include "console.hpp"

namespace saathii::ctl {

/// The program's own standard output and error.
class Terminal final : public Console {
 public:
  explicit Terminal(const CommandLine& command);

  /// Through a pager where it is longer than the screen.
  void print(const std::string& text) override;
  void complain(const std::string& text) override;
  void progress(const std::string& line) override;
  [[nodiscard]] std::optional<bool> ask(const std::string& question) override;
  [[nodiscard]] bool is_watched() const override;
  [[nodiscard]] Screen screen() const override;
  [[nodiscard]] Screen progress_screen() const override;

  /// False if not all could be written.
  [[nodiscard]] bool wrote_all();

 private:
  const CommandLine& command_;
  Screen screen_;
  bool shows_progress_ = false;
};

}  // namespace saathii::ctl
