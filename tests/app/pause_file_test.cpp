#include "app/pause_file.hpp"

#include <fstream>

#include "base/capture_stderr.hpp"
#include "catch.hpp"
#include "support/temp_folder.hpp"

namespace saathii::app {

namespace {

const Instant since = *parse_iso8601("2026-11-22T12:00:00.25Z");

TEST_CASE("pauses are there again after a restart") {
  const test::TempFolder folder;
  const PauseFile file(StateFile(folder.path() / "paused.json"));
  CHECK(file.load().empty());
  file.save({{"charge", {"root", since}}, {"clean", {"uid 1000", since}}});
  const auto pauses = file.load();
  REQUIRE(pauses.size() == 2);
  CHECK(pauses.at("charge").by == "root");
  CHECK(pauses.at("clean").since == since);
  file.save({});
  CHECK(file.load().empty());
}

TEST_CASE("a file that cannot be understood pauses nothing") {
  const test::TempFolder folder;
  const auto path = folder.path() / "paused.json";
  for (const char* text : {"", "nonsense", "[1]", "{\"a\": 1}", "{\"a\": {\"by\": \"root\"}}",
                           "{\"a\": {\"by\": \"root\", \"since\": \"soon\"}}"}) {
    std::ofstream(path) << text;
    CHECK(PauseFile(StateFile(path)).load().empty());
  }
}

TEST_CASE("a file that cannot even be looked for pauses nothing, and is told of") {
  const test::TempFolder folder;
  const auto path = folder.path() / "paused.json";
  std::filesystem::create_symlink(path, path);
  const CaptureStderr log;
  CHECK(PauseFile(StateFile(path)).load().empty());
  CHECK_THAT(log.text(),
             Catch::Matchers::ContainsSubstring("so no job is paused: Too many levels"));
}

TEST_CASE("a file that cannot be written says what that means, and leaves the old one") {
  const test::TempFolder folder;
  const PauseFile file(StateFile(folder.path() / "gone" / "paused.json"));
  CHECK_THROWS_WITH(file.save({}),
                    Catch::Matchers::ContainsSubstring("holds until the next restart only"));
}

TEST_CASE("without a state folder nothing is kept") {
  const PauseFile file{StateFile({})};
  file.save({{"charge", {"root", since}}});
  CHECK(file.load().empty());
}

}  // namespace

}  // namespace saathii::app
