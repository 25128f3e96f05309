#include "saathii/config/changes.hpp"
#include "catch.hpp"
#include "kinds.hpp"

namespace saathii::config {

namespace {

constexpr const char* base =
    "timezone = \"Asia/Kolkata\"\npostgres.url = \"postgresql://u:one@db/s\"\n";

Config load(const std::string& toml) {
  auto loaded = parse(toml, "f", test::kinds(), test::no_environment());
  for (const auto& problem : loaded.problems) FAIL(problem.to_string());
  return *std::move(loaded.config);
}

Changes changes(const std::string& before, const std::string& after) {
  return compare(load(base + before), load(base + after), test::kinds());
}

using Keys = std::vector<std::string>;

TEST_CASE("a configuration that says the same changes nothing") {
  const auto none = changes("rates.audio = 10\n", "[jobs.report]\nat = \"00:01\"\n");
  CHECK(none.applied.empty());
  CHECK(none.needs_restart.empty());
  CHECK(none.unchanged > 30);
}

TEST_CASE("a changed key is named as in the file") {
  CHECK(changes("", "rates.audio = 11\nhealth.disk_free_failing = 1\n").applied ==
        Keys{"rates.audio", "health.disk_free_failing"});
  CHECK(changes("", "[jobs.sweep]\nevery = \"5m\"\nbatch_size = 7\n").applied ==
        Keys{"jobs.sweep.batch_size"});
  CHECK(changes("", "[jobs.sweep]\nevery = \"6m\"\n").applied == Keys{"jobs.sweep.every"});
  CHECK(changes("", "[jobs.sweep]\nat = \"00:05\"\n").applied == Keys{"jobs.sweep.at"});
  CHECK(changes("", "[jobs.sweep]\nenabled = false\n").applied == Keys{"jobs.sweep.enabled"});
}

TEST_CASE("another zone changes the jobs that go by it") {
  const auto found =
      compare(load(base), load("timezone = \"UTC\"\npostgres.url = \"postgresql://u:one@db/s\"\n"),
              test::kinds());
  CHECK(found.applied == Keys{"timezone", "jobs.report.at"});
}

TEST_CASE("jobs that are new or gone") {
  const std::string more = "[jobs.more]\nkind = \"sweep\"\nevery = \"1h\"\n";
  CHECK(changes("", more).applied == Keys{"jobs.more"});
  CHECK(changes(more, "").applied == Keys{"jobs.more"});
}

TEST_CASE("what needs a restart is told, and stays as it is in force") {
  const auto before = load(base);
  const auto after = load(
      "timezone = \"UTC\"\npostgres.url = \"postgresql://u:two@db/s\"\n"
      "service.drain_timeout = \"1s\"\n");
  CHECK(compare(before, after, test::kinds()).needs_restart ==
        Keys{"postgres.url", "service.drain_timeout"});
  const auto adopted = adopt(before, after);
  CHECK(adopted.postgres.url == before.postgres.url);
  CHECK(adopted.service.drain_timeout == before.service.drain_timeout);
  CHECK(adopted.platform.timezone == "UTC");
}

}  // namespace

}  // namespace saathii::config
