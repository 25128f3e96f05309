#include "facts.hpp"

#include <algorithm>

#include "text.hpp"

namespace saathii::ctl {

namespace {

constexpr std::size_t least_label = 11;
constexpr std::size_t least_value = 20;

}  // namespace

void Facts::add(std::string label, std::string value, Style style, std::string mark) {
  lines_.push_back({std::move(label), std::move(value), style, std::move(mark)});
}

std::string Facts::draw(const Screen& screen) const {
  std::size_t widest = least_label;
  for (const Line& line : lines_) {
    widest = std::max(widest, columns_of(line.label));
  }
  std::string text;
  for (const Line& line : lines_) {
    const std::size_t indent = widest + 2 + (line.mark.empty() ? 0 : 2);
    const std::size_t room =
        screen.width == 0 ? SIZE_MAX / 2
                          : std::max(least_value, screen.width - std::min(screen.width, indent));
    text.append(widest - columns_of(line.label), ' ').append(screen.paint(Style::bold, line.label));
    text += line.label.empty() ? "  " : ": ";
    text += line.mark.empty() ? "" : line.mark + " ";
    bool first = true;
    for (const std::string& part : wrap(screen.shown(line.value), room)) {
      if (!first) {
        text.append(indent, ' ');
      }
      first = false;
      text += screen.paint(line.style, part) + "\n";
    }
  }
  return text;
}

}  // namespace saathii::ctl
