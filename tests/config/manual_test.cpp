#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "catch.hpp"
#include "config/keys.hpp"
#include "kinds.hpp"
#include "saathii/config/loader.hpp"
#include "saathii/jobs/job.hpp"

// saathiid.toml(5) promises every key with its default, what is allowed, and
// whether a reload applies it: this holds it to that.

using namespace saathii;
using namespace saathii::config;
using Catch::Matchers::ContainsSubstring;

namespace {

struct Entry {
  std::string value;
  std::string allowed;  ///< the line below; empty where only another default is told
};

struct ManualSection {
  std::string text;  ///< what stands before the keys
  std::map<std::string, Entry> keys;
};

std::string unquoted(std::string roff) {
  for (std::size_t at = 0; (at = roff.find("\\(dq", at)) != std::string::npos; ++at) {
    roff.replace(at, 4, "\"");
  }
  return roff;
}

/// By name: "", "postgres", "jobs.NAME".
std::map<std::string, ManualSection> manual() {
  static const std::regex section(R"(\.Ss (?:Top of the file|\[([A-Za-z_.]+)\]))");
  static const std::regex key(R"(\.It Li ([a-z_]+) = (.*))");
  static const std::regex other_default(R"(\.Dl ([a-z_]+) = (.*))");
  static const std::set<std::string> triggers = {"every", "at", "cron", "once"};
  std::ifstream page(std::string(SAATHII_SOURCE_DIR) + "/deploy/man/saathiid.toml.5");
  REQUIRE(page.good());
  std::map<std::string, ManualSection> sections;
  ManualSection* current = nullptr;
  std::smatch match;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with(".Sh ")) {
      current = nullptr;
    } else if (std::regex_match(line, match, section)) {
      current = &sections[match[1]];
    } else if (current != nullptr && std::regex_match(line, match, key)) {
      Entry entry{unquoted(match[2]), ""};
      const std::string name = match[1];
      REQUIRE(std::getline(page, entry.allowed));
      if (!triggers.contains(name)) REQUIRE(current->keys.emplace(name, entry).second);
    } else if (current != nullptr && std::regex_match(line, match, other_default)) {
      REQUIRE(current->keys.emplace(match[1], Entry{unquoted(match[2]), ""}).second);
    } else if (current != nullptr && current->keys.empty()) {
      current->text += line + "\n";
    }
  }
  return sections;
}

/// What the manual must say of the values that are allowed.
std::string allowed(const Rule& rule) {
  const auto range = [&](const std::string& min, const std::string& max) {
    return rule.max == INT64_MAX ? min + " or more" : min + " to " + max;
  };
  switch (rule.form) {
    case Form::flag:
      return "True or false.";
    case Form::integer:
      return range(std::to_string(rule.min), std::to_string(rule.max)) + ".";
    case Form::duration:
      return range(format_duration(Duration{rule.min}), format_duration(Duration{rule.max})) + ".";
    case Form::paise:
      return range(print_paise(rule.min), print_paise(rule.max)) + ".";
    case Form::path:
      return "An absolute path, or \"\".";
    default:
      return ".";
  }
}

void check(const Entry& entry, const std::string& value, const Rule& rule) {
  CHECK(entry.value == value);
  CHECK_THAT(unquoted(entry.allowed), ContainsSubstring(allowed(rule)));
  for (const auto choice : rule.choices) {
    std::string capital(choice);
    capital[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(capital[0])));
    CHECK((entry.allowed.find(choice) != std::string::npos || entry.allowed.starts_with(capital)));
  }
}

Job default_of(const KindInfo& kind) {
  const std::string toml = "postgres.url = \"postgresql://\"";
  auto loaded = parse(toml, "", jobs::kind_infos(), test::no_environment());
  for (auto& job : loaded.config.value().jobs) {
    if (job.name == kind.name) return job;
  }
  throw std::logic_error("no such job");
}

}  // namespace

TEST_CASE("the manual has every key, with its default and what is allowed") {
  const auto pages = manual();
  const Config defaults;
  for (const auto& section : sections()) {
    INFO("[" << section.name << "]");
    const auto page = pages.find(std::string(section.name));
    REQUIRE(page != pages.end());
    for (const auto& key : section.keys) {
      INFO(key.name);
      const auto entry = page->second.keys.find(std::string(key.name));
      REQUIRE(entry != page->second.keys.end());
      const bool has_default = key.rule.form != Form::postgres_url;
      check(entry->second, has_default ? print_value(key.get(defaults), key.rule) : "(none)",
            key.rule);
    }
    CHECK(page->second.keys.size() == section.keys.size());
  }
}

TEST_CASE("the manual says whether a reload applies a key") {
  const auto pages = manual();
  for (const auto& section : sections()) {
    INFO("[" << section.name << "]");
    CHECK_THAT(
        pages.at(std::string(section.name)).text,
        ContainsSubstring(section.needs_restart ? "A change takes effect with the next start."
                                                : "A change takes effect with a reload."));
  }
}

TEST_CASE("the manual has the keys of every job, and those of each kind") {
  const auto pages = manual();
  const auto& common = pages.at("jobs.NAME").keys;
  const KindInfo plain;
  const Job defaults = {.name = "",
                        .kind = "",
                        .trigger = {schedule::Every{std::chrono::minutes{1}}, nullptr},
                        .policy = {},
                        .run = {},
                        .settings = Settings({})};
  for (const auto& key : job_keys(plain)) {
    INFO(key.name);
    REQUIRE(common.contains(std::string(key.name)));
    check(common.at(std::string(key.name)), print_value(key.get(defaults), key.rule), key.rule);
  }
  CHECK(common.size() == job_keys(plain).size() + 2);  // kind and timezone

  for (const auto& kind : jobs::kind_infos()) {
    INFO(kind.name);
    const auto& own = pages.at("jobs." + std::string(kind.name)).keys;
    const Job job = default_of(kind);
    std::size_t told = 1;  // when it runs
    for (const auto& key : job_keys(kind)) {
      INFO(key.name);
      const std::string name(key.name);
      const std::string value = print_value(key.get(job), key.rule);
      const bool differs = !common.contains(name) || common.at(name).value != value;
      REQUIRE(own.contains(name) == differs);
      told += differs ? 1U : 0U;
      if (common.contains(name) && differs) CHECK(own.at(name).value == value);
      if (!common.contains(name)) check(own.at(name), value, key.rule);
    }
    CHECK(own.size() == told);
    const std::string trigger(kind.default_trigger);
    const auto when = own.find(trigger.substr(0, trigger.find(' ')));
    REQUIRE(when != own.end());
    CHECK(when->first + " = " + when->second.value == trigger);
  }
}

TEST_CASE("the manual knows no table that there is not") {
  std::set<std::string> known = {"jobs.NAME"};
  for (const auto& section : sections()) known.emplace(section.name);
  for (const auto& kind : jobs::kind_infos()) known.insert("jobs." + std::string(kind.name));
  for (const auto& [name, page] : manual()) {
    INFO(name);
    CHECK(known.contains(name));
  }
}
