#include "saathii/postgres/array.hpp"

#include <climits>

#include "catch.hpp"

namespace saathii::postgres {

TEST_CASE("an array is written as PostgreSQL reads it") {
  CHECK(to_array(std::vector<int>{}) == "{}");
  CHECK(to_array(std::vector{7}) == "{7}");
  CHECK(to_array(std::vector{1, -2, INT_MIN, INT_MAX}) == "{1,-2,-2147483648,2147483647}");
  CHECK(to_array(std::vector<std::string>{"api", "waived"}) == "{api,waived}");
  CHECK(to_array(std::vector<std::optional<std::int64_t>>{LLONG_MIN, std::nullopt}) ==
        "{-9223372036854775808,NULL}");
}

TEST_CASE("an array holds what a member or a function gives of each item") {
  struct Item {
    int id;
  };
  const std::vector<Item> items{{3}, {4}};
  CHECK(to_array(items, &Item::id) == "{3,4}");
  CHECK(to_array(items, [](const Item& item) { return item.id * 10; }) == "{30,40}");
}

TEST_CASE("an int array is read back, however long") {
  CHECK(parse_int_array("{}").empty());
  CHECK(parse_int_array("{1,-2}") == std::vector<int>{1, -2});
  std::vector<int> many;
  for (int number = 0; number < 500'000; ++number) {
    many.push_back(number % 2 == 0 ? number : -number);
  }
  CHECK(parse_int_array(to_array(many)) == many);
  const std::vector<int> widest(1000, INT_MIN);
  CHECK(parse_int_array(to_array(widest)) == widest);
}

TEST_CASE("what is no int array is refused") {
  const char* const text = GENERATE("", "{", "}", "1,2", "{1,}", "{,1}", "{1,NULL}", "{1;2}",
                                    "{1 ,2}", "{99999999999}", "{{1},{2}}", "[0:1]={1,2}", "{x}");
  CAPTURE(text);
  CHECK_THROWS_AS(parse_int_array(text), std::invalid_argument);
}

}  // namespace saathii::postgres
