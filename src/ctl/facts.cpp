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
  // On a very narrow screen the label has a line of its own.
  const bool beside = screen.width == 0 || screen.width >= widest + 4 + least_value;
  std::string text;
  for (const Line& line : lines_) {
    const std::size_t mark = line.mark.empty() ? 0 : 2;
    const std::size_t indent = (beside ? widest + 2 : 2) + mark;
    const std::size_t room =
        screen.width == 0 ? SIZE_MAX / 2 : screen.width - std::min(screen.width, indent);
    if (beside) {
      text.append(widest - columns_of(line.label), ' ');
    }
    text += screen.paint(Style::bold, line.label);
    text += line.label.empty() ? "  " : beside ? ": " : ":\n  ";
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
