#pragma once

#include <string>
#include <vector>

#include "screen.hpp"

// Labels and what stands beside them, as `systemctl status` shows a unit.

namespace saathii::ctl {

class Facts {
 public:
  /// Under the same label again if `label` is empty. `mark` is painted already.
  void add(std::string label, std::string value, Style style = Style::plain, std::string mark = {});

  /// Labels end in the same column; long values go on below where they began.
  [[nodiscard]] std::string draw(const Screen& screen) const;

 private:
  struct Line {
    std::string label;
    std::string value;
    Style style;
    std::string mark;
  };
  std::vector<Line> lines_;
};

}  // namespace saathii::ctl
