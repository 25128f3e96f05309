#include <fstream>
#include <map>
#include <regex>
#include <sstream>
#include <string>

#include "catch.hpp"
#include "kinds.hpp"
#include "saathii/config/loader.hpp"
#include "saathii/jobs/job.hpp"

// config/saathiid.toml promises every key with its default: this holds it to that.

using namespace saathii;

namespace {

const std::string reference = std::string(SAATHII_SOURCE_DIR) + "/config/saathiid.toml";

/// "key = value" lines by section. Of comments, those that would be such a line.
using Lines = std::map<std::string, std::map<std::string, std::string>>;

Lines lines_of(std::istream& text) {
  static const std::regex section("(?:# )?\\[([A-Za-z_.]+)\\]\\s*");
  static const std::regex key(
      "(?:# )?([a-z_]+) = (\"[^\"]*\"|\\[[^\\]]*\\]|[^#\"\\s]+)\\s*(?:#.*)?");
  Lines lines;
  std::string current;
  std::smatch match;
  for (std::string line; std::getline(text, line);) {
    if (std::regex_match(line, match, section)) {
      current = match[1];
    } else if (std::regex_match(line, match, key)) {
      lines[current].emplace(match[1], match[2]);
    }
  }
  return lines;
}

config::Config load(const std::string& toml) {
  auto loaded = config::parse(toml, reference, jobs::kind_infos(), test::no_environment());
  for (const auto& problem : loaded.problems) FAIL(problem.to_string());
  return *std::move(loaded.config);
}

}  // namespace

TEST_CASE("the reference file says what holds without it") {
  auto loaded = config::load(reference, jobs::kind_infos(), test::no_environment());
  for (const auto& problem : loaded.problems) FAIL(problem.to_string());
  const auto& said = *loaded.config;
  // The only key without a default.
  auto defaults = load("postgres.url = \"" + said.postgres.url + "\"");
  CHECK(config::print(said, jobs::kind_infos()) == config::print(defaults, jobs::kind_infos()));
}

TEST_CASE("the reference file has every key, with its default") {
  std::ifstream file(reference);
  const auto said = lines_of(file);
  std::istringstream printed(config::print(
      load(
          "postgres.url = \"" +
          config::load(reference, jobs::kind_infos(), test::no_environment()).config->postgres.url +
          "\""),
      jobs::kind_infos()));
  const auto& common = said.at("jobs.NAME");
  for (const auto& [section, keys] : lines_of(printed)) {
    REQUIRE(said.count(section) == 1);
    for (const auto& [key, value] : keys) {
      INFO("[" << section << "] " << key << " = " << value);
      const auto& own = said.at(section);
      const bool is_own = own.count(key) == 1;
      const bool is_common = section.starts_with("jobs.") && common.count(key) == 1;
      REQUIRE((is_own || is_common));
      CHECK((is_own ? own : common).at(key) == value);
    }
  }
}

TEST_CASE("the reference file knows no key that there is not, in comments too") {
  std::ifstream file(reference);
  std::string toml;
  for (const auto& [section, keys] : lines_of(file)) {
    if (section == "jobs.NAME") continue;
    toml += section.empty() ? "" : "[" + section + "]\n";
    for (const auto& [key, value] : keys) toml += key + " = " + value + "\n";
  }
  load(toml);
}

TEST_CASE("what every job may have is told in the reference file") {
  std::ifstream file(reference);
  const auto said = lines_of(file);
  std::string toml = "postgres.url = \"postgresql://\"\n[jobs.more]\nevery = \"1s\"\n";
  for (auto [key, value] : said.at("jobs.NAME")) {
    toml += key + " = " + (key == "kind" ? "\"log_rotation\"" : value) + "\n";
  }
  load(toml);
  for (const auto* trigger : {"every = ", "at = ", "cron = ", "once = "}) {
    std::ifstream again(reference);
    const std::string text(std::istreambuf_iterator<char>(again), {});
    CHECK(text.find(std::string("#     ") + trigger) != std::string::npos);
  }
}

TEST_CASE("the container's configuration is valid") {
  const auto loaded =
      config::load(std::string(SAATHII_SOURCE_DIR) + "/deploy/saathiid.container.toml",
                   jobs::kind_infos(), test::no_environment());
  for (const auto& problem : loaded.problems) FAIL(problem.to_string());
  // The image's HEALTHCHECK asks there.
  CHECK(loaded.config->http.listen == "127.0.0.1:9464");
}
