#pragma once

#include <string>
#include <vector>

#include "screen.hpp"

// Rows in columns that fit the screen.

namespace saathii::ctl {

struct Column {
  std::string title;
  enum class Align { left, right } align = Align::left;
  /// Where the screen is too narrow: not narrower than this, while that is enough.
  /// 0: narrowed at last only.
  std::size_t least = 0;
  /// Left out before any column is narrowed; the last of them first.
  bool optional = false;
};

struct Cell {
  std::string text;
  Style style = Style::plain;
  std::string mark = {};  ///< before the text, one column wide and painted already
  std::size_t lines = 1;  ///< goes on below for so many lines, before it is cut off
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// As many cells as there are columns. Text is made one line of what the
  /// screen can show.
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }

  [[nodiscard]] bool empty() const { return rows_.empty(); }

  /// The headings (if the screen has a legend) and the rows, each line after
  /// `indent` blanks.
  [[nodiscard]] std::string draw(const Screen& screen, std::size_t indent = 0) const;

 private:
  struct Layout;
  [[nodiscard]] Layout lay_out(const Screen& screen, std::size_t indent) const;
  void draw_line(const Layout& layout, const std::vector<Cell>& cells, bool is_heading,
                 const Screen& screen, std::string& text) const;

  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace saathii::ctl
