#include <cctype>
#include <filesystem>
#include <set>

#include "catch.hpp"
#include "saathii/jobs/job.hpp"

namespace saathii::jobs {

namespace {

bool is_lower_snake(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char letter) {
    return std::islower(letter) != 0 || std::isdigit(letter) != 0 || letter == '_';
  });
}

}  // namespace

TEST_CASE("each kind describes itself and makes instances") {
  std::set<std::string_view> names;
  for (const auto& kind : kinds()) {
    CAPTURE(kind.info.name);
    CHECK(is_lower_snake(kind.info.name));
    CHECK(names.insert(kind.info.name).second);
    CHECK_FALSE(kind.info.summary.empty());
    CHECK(kind.info.summary.find('\n') == std::string_view::npos);
    CHECK_FALSE(kind.info.default_trigger.empty());
    CHECK(kind.info.default_run.timeout > Duration{0});
    CHECK(kind.info.default_policy.misfire_grace > Duration{0});
    std::set<std::string_view> settings;
    for (const auto& setting : kind.info.settings) {
      CAPTURE(setting.name);
      CHECK(is_lower_snake(setting.name));
      CHECK(settings.insert(setting.name).second);
      CHECK_FALSE(setting.help.empty());
      CHECK(setting.min <= setting.max);
    }
    REQUIRE(kind.make != nullptr);
    const auto first = kind.make();
    CHECK(first != nullptr);
    CHECK(first != kind.make());
    const auto source = std::filesystem::path{SAATHII_SOURCE_DIR} / "src" / "jobs" /
                        (std::string{kind.info.name} + ".cpp");
    CHECK(std::filesystem::exists(source));
  }
  for (const char* name :
       {"presence_cleanup", "coin_deduction", "call_cleanup", "badge_assignment", "log_rotation"}) {
    CAPTURE(name);
    CHECK(names.contains(name));
  }
}

TEST_CASE("the configuration gets the kinds in their order") {
  const auto infos = kind_infos();
  REQUIRE(infos.size() == kinds().size());
  for (std::size_t index = 0; index < infos.size(); ++index) {
    CHECK(infos[index].name == kinds()[index].info.name);
  }
}

}  // namespace saathii::jobs
