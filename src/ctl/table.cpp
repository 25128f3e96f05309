#include "table.hpp"

#include <algorithm>
#include <numeric>

#include "text.hpp"

namespace saathii::ctl {

namespace {

constexpr std::size_t gap = 2;
constexpr std::size_t mark_columns = 2;

std::size_t width_of(const Cell& cell) {
  return (cell.mark.empty() ? 0 : mark_columns) + columns_of(cell.text);
}

}  // namespace

struct Table::Layout {
  std::vector<std::vector<Cell>> rows;  ///< as they are shown
  std::vector<std::size_t> widths;      ///< of each column
  std::vector<bool> kept;

  /// Of the lines.
  [[nodiscard]] std::size_t total() const {
    std::size_t sum = 0;
    std::size_t count = 0;
    for (std::size_t at = 0; at < widths.size(); ++at) {
      if (kept[at]) {
        sum += widths[at];
        ++count;
      }
    }
    return count == 0 ? 0 : sum + (count - 1) * gap;
  }
};

Table::Layout Table::lay_out(const Screen& screen, std::size_t indent) const {
  Layout layout{rows_, {}, std::vector<bool>(columns_.size(), true)};
  for (const Column& column : columns_) {
    layout.widths.push_back(screen.legend ? columns_of(column.title) : 0);
  }
  for (auto& row : layout.rows) {
    for (std::size_t at = 0; at < row.size(); ++at) {
      row[at].text = screen.shown(row[at].text);
      layout.widths[at] = std::max(layout.widths[at], width_of(row[at]));
    }
  }
  if (screen.width == 0) {
    return layout;
  }
  const std::size_t room = screen.width > indent ? screen.width - indent : 1;
  const auto narrowed = [&] {
    Layout least = layout;
    for (std::size_t at = 0; at < columns_.size(); ++at) {
      if (columns_[at].least != 0) {
        least.widths[at] = std::min(least.widths[at], columns_[at].least);
      }
    }
    return least.total();
  };
  for (std::size_t at = columns_.size(); at-- > 0 && narrowed() > room;) {
    if (columns_[at].optional) {
      layout.kept[at] = false;
    }
  }
  for (std::size_t at = columns_.size(); at-- > 0 && layout.total() > room;) {
    if (layout.kept[at] && columns_[at].least != 0 && layout.widths[at] > columns_[at].least) {
      const std::size_t spare = layout.widths[at] - columns_[at].least;
      layout.widths[at] -= std::min(spare, layout.total() - room);
    }
  }
  return layout;
}

std::string Table::draw(const Screen& screen, std::size_t indent) const {
  const Layout layout = lay_out(screen, indent);
  std::size_t last = 0;
  for (std::size_t at = 0; at < columns_.size(); ++at) {
    last = layout.kept[at] ? at : last;
  }
  std::string text;
  const auto add_line = [&](const auto& cell_at, bool is_heading) {
    text.append(indent, ' ');
    for (std::size_t at = 0; at < columns_.size(); ++at) {
      if (!layout.kept[at]) {
        continue;
      }
      const Cell cell = cell_at(at);
      const std::size_t mark = cell.mark.empty() ? 0 : mark_columns;
      const std::size_t width = layout.widths[at];
      const std::string shown = fit(cell.text, width > mark ? width - mark : 0, screen.ellipsis());
      const std::size_t used = mark + columns_of(shown);
      const std::string blanks(width > used ? width - used : 0, ' ');
      const bool right = columns_[at].align == Column::Align::right;
      const bool is_last = at == last;
      text += right && !is_heading ? blanks : "";
      text += cell.mark.empty() ? "" : cell.mark + " ";
      if (is_heading) {
        // The line under the headings goes through, as those of systemd's tools.
        const std::string gap_after(is_last ? 0 : gap, ' ');
        text += screen.paint(Style::heading,
                             right ? blanks + shown + gap_after : shown + blanks + gap_after);
        continue;
      }
      text += screen.paint(cell.style, shown);
      text += is_last ? "" : (right ? "" : blanks) + std::string(gap, ' ');
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  };
  if (screen.legend) {
    add_line([&](std::size_t at) { return Cell{columns_[at].title, Style::plain, {}}; }, true);
  }
  for (const auto& row : layout.rows) {
    add_line([&](std::size_t at) { return row[at]; }, false);
  }
  return text;
}

}  // namespace saathii::ctl
