#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "saathii/base/time.hpp"
#include "saathii/base/time_zone.hpp"

// What views are drawn on.

namespace saathii::ctl {

enum class Style { plain, bold, dim, good, attention, bad, heading };

enum class Symbol {
  good,       ///< ● *
  attention,  ///< ! !
  bad,        ///< × x
  idle,       ///< ○ -
  busy        ///< ↻ >
};

struct Screen {
  std::size_t width = 80;  ///< columns; 0: as wide as it takes
  bool utf8 = true;
  bool color = false;
  bool legend = true;  ///< headings and closing remarks
  Instant now;
  TimeZone zone = nullptr;  ///< of local times; never null when a view draws

  [[nodiscard]] std::string paint(Style style, std::string_view text) const;
  /// `style` as a colour stands for it.
  [[nodiscard]] std::string symbol(Symbol symbol) const;
  [[nodiscard]] std::string_view ellipsis() const { return utf8 ? "…" : "..."; }
  /// As the terminal can show it, in one line. What a terminal would obey is not in
  /// the model any more.
  [[nodiscard]] std::string shown(std::string_view text) const;
  /// Whole lines that fit: painted where one is enough, else broken at blanks.
  /// `mark` stands before it, one column wide and painted already.
  struct Part {
    std::string text;
    Style style = Style::plain;
  };
  [[nodiscard]] std::string lines(const std::vector<Part>& parts,
                                  const std::string& mark = {}) const;
  [[nodiscard]] std::string rupees(std::string_view amount) const;
};

/// The style that goes with an outcome, a health level or a job's state.
[[nodiscard]] Style style_of(std::string_view word);

}  // namespace saathii::ctl
