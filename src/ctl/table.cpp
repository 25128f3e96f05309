#include "table.hpp"

#include <algorithm>
#include <numeric>

#include "text.hpp"

namespace saathii::ctl {

namespace {

constexpr std::size_t gap = 2;
constexpr std::size_t mark_columns = 2;
/// So that something can be told: three characters and an ellipsis.
constexpr std::size_t narrowest = 4;

std::size_t width_of(const Cell& cell) {
  return (cell.mark.empty() ? 0 : mark_columns) + columns_of(cell.text);
}

/// Leaves in `cell` what fits in `width`, and returns what goes on the line
/// below: an empty cell at the end.
Cell split(Cell& cell, std::size_t width) {
  Cell rest;
  const std::size_t mark = cell.mark.empty() ? 0 : mark_columns;
  if (cell.lines <= 1 || width <= mark || width_of(cell) <= width) {
    return rest;
  }
  const std::string first = wrap(cell.text, width - mark).front();
  rest = cell;
  rest.text = cell.text.substr(first.size());
  rest.text.erase(0, rest.text.find_first_not_of(' '));
  rest.mark = cell.mark.empty() ? "" : " ";
  rest.lines = cell.lines - 1;
  cell.text = first;
  return rest;
}

}  // namespace

struct Table::Layout {
  std::vector<std::vector<Cell>> rows;  ///< as they are shown
  std::vector<std::size_t> widths;      ///< of each column
  std::vector<bool> kept;
  std::size_t last = 0;  ///< of the columns that are kept

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

  /// The last resort: takes from the widest column again and again, and then the
  /// last column away.
  void squeeze(std::size_t room) {
    while (total() > room) {
      std::size_t widest = 0;
      std::size_t kept_last = 0;
      for (std::size_t at = 0; at < widths.size(); ++at) {
        if (kept[at]) {
          widest = widths[at] > widths[widest] || !kept[widest] ? at : widest;
          kept_last = at;
        }
      }
      if (widths[widest] > narrowest) {
        --widths[widest];
      } else if (kept_last > 0) {
        kept[kept_last] = false;
      } else {
        return;
      }
    }
  }
};

Table::Layout Table::lay_out(const Screen& screen, std::size_t indent) const {
  Layout layout{rows_, {}, std::vector<bool>(columns_.size(), true), columns_.size() - 1};
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
  layout.squeeze(room);
  while (layout.last > 0 && !layout.kept[layout.last]) {
    --layout.last;
  }
  return layout;
}

void Table::draw_line(const Layout& layout, const std::vector<Cell>& cells, bool is_heading,
                      const Screen& screen, std::string& text) const {
  for (std::size_t at = 0; at < columns_.size(); ++at) {
    if (!layout.kept[at]) {
      continue;
    }
    const Cell& cell = cells[at];
    const std::size_t mark = cell.mark.empty() ? 0 : mark_columns;
    const std::size_t width = layout.widths[at];
    const std::string shown = fit(cell.text, width > mark ? width - mark : 0, screen.ellipsis());
    const std::size_t used = mark + columns_of(shown);
    const std::string blanks(width > used ? width - used : 0, ' ');
    const std::string after(at == layout.last ? 0 : gap, ' ');
    const bool right = columns_[at].align == Column::Align::right;
    if (is_heading) {
      // The line under the headings goes through, as those of systemd's tools.
      std::string title = right ? blanks : "";
      title += shown;
      title += right || at == layout.last ? "" : blanks;
      title += after;
      text += screen.paint(Style::heading, title);
      continue;
    }
    text += right ? blanks : "";
    text += cell.mark.empty() ? "" : cell.mark + " ";
    text += screen.paint(cell.style, shown) + (right ? "" : blanks) + after;
  }
  text.erase(text.find_last_not_of(' ') + 1);
  text += '\n';
}

std::string Table::draw(const Screen& screen, std::size_t indent) const {
  const Layout layout = lay_out(screen, indent);
  const std::string margin(indent, ' ');
  std::string text;
  if (screen.legend) {
    std::vector<Cell> titles;
    for (const Column& column : columns_) {
      titles.push_back({column.title});
    }
    text += margin;
    draw_line(layout, titles, true, screen, text);
  }
  for (std::vector<Cell> row : layout.rows) {
    for (bool more = true; more;) {
      more = false;
      std::vector<Cell> line = row;
      for (std::size_t at = 0; at < row.size(); ++at) {
        // A cell with lines left takes what fits, and the rest of it goes below.
        row[at] = split(line[at], layout.widths[at]);
        more = more || (layout.kept[at] && !row[at].text.empty());
      }
      text += margin;
      draw_line(layout, line, false, screen, text);
    }
  }
  return text;
}

}  // namespace saathii::ctl
