#include "saathii/base/counted.hpp"

#include "catch.hpp"

namespace saathii {

TEST_CASE("one thing is one, and no other number is") {
  CHECK(counted(0, "call") == "0 calls");
  CHECK(counted(1, "call") == "1 call");
  CHECK(counted(std::size_t{2}, "call") == "2 calls");
  CHECK(counted(-1, "coin") == "-1 coins");
}

}  // namespace saathii
