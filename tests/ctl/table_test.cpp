#include "ctl/table.hpp"

#include "catch.hpp"
#include "ctl/facts.hpp"
#include "sample.hpp"

using namespace saathii;
using namespace saathii::ctl;

namespace {

Table sample() {
  Table table(
      {{"NAME", {}, 6}, {"COINS", Column::Align::right}, {"ALSO", {}, 0, true}, {"TEXT", {}, 8}});
  table.add({{"coin_deduction"}, {"1,170"}, {"x"}, {"seven calls were charged"}});
  table.add({{"b"}, {"7"}, {"y"}, {"all right"}});
  return table;
}

}  // namespace

TEST_CASE("a table is as wide as it needs to be") {
  CHECK(sample().draw(test::screen(80)) ==
        "NAME            COINS  ALSO  TEXT\n"
        "coin_deduction  1,170  x     seven calls were charged\n"
        "b                   7  y     all right\n");
  CHECK(sample().draw(test::screen(0)) == sample().draw(test::screen(80)));
}

TEST_CASE("on a narrow screen text is cut, and then columns are left out") {
  CHECK(sample().draw(test::screen(46)) ==
        "NAME            COINS  ALSO  TEXT\n"
        "coin_deduction  1,170  x     seven calls were…\n"
        "b                   7  y     all right\n");
  CHECK(sample().draw(test::screen(24)) ==
        "NAME     COINS  TEXT\n"
        "coin_d…  1,170  seven c…\n"
        "b            7  all rig…\n");
}

TEST_CASE("a table fits every screen that has room for its narrowest form") {
  for (std::size_t width = 23; width < 100; ++width) {
    INFO(width);
    CHECK(test::width_of(sample().draw(test::screen(width))) <= width);
  }
}

TEST_CASE("without a legend there are only rows, narrow as their text") {
  auto screen = test::screen(80);
  screen.legend = false;
  CHECK(sample().draw(screen, 2) ==
        "  coin_deduction  1,170  x  seven calls were charged\n"
        "  b                   7  y  all right\n");
}

TEST_CASE("a cell may go on below for some lines") {
  Table table({{"A"}, {"TEXT", {}, 8}});
  table.add({{"1", Style::plain, "●"}, {"one two three four five six", Style::plain, {}, 3}});
  table.add({{"2", Style::plain, "●"}, {"short", Style::plain, {}, 3}});
  CHECK(table.draw(test::screen(14)) ==
        "A    TEXT\n"
        "● 1  one two\n"
        "     three\n"
        "     four fiv…\n"
        "● 2  short\n");
}

TEST_CASE("no line feed gets into a table") {
  Table table({{"TEXT"}});
  table.add({{"a\nb"}});
  CHECK(table.draw(test::screen(80)) == "TEXT\na b\n");
}

TEST_CASE("colour is put around text alone, and counts no columns") {
  auto screen = test::screen(80);
  screen.color = true;
  Table table({{"A"}, {"B"}});
  table.add({{"x", Style::bad, screen.symbol(Symbol::bad)}, {"y"}});
  CHECK(table.draw(screen) ==
        "\x1b[4mA    \x1b[0m\x1b[4mB\x1b[0m\n"
        "\x1b[1;31m×\x1b[0m \x1b[1;31mx\x1b[0m  y\n");
}

TEST_CASE("facts stand in one column and go on where they began") {
  Facts facts;
  facts.add("Since", "today");
  facts.add("Servers", "postgres down: it does not answer", Style::plain, "×");
  facts.add("", "redis up", Style::plain, "●");
  CHECK(facts.draw(test::screen(38)) ==
        "      Since: today\n"
        "    Servers: × postgres down: it does\n"
        "               not answer\n"
        "             ● redis up\n");
}
