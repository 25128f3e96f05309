#include "saathii/http/health_page.hpp"

#include <nlohmann/json.hpp>

#include "sample.hpp"

namespace saathii::http {

namespace {

using nlohmann::json;

const json& check_named(const json& page, const std::string& name) {
  for (const auto& check : page.at("checks")) {
    if (check.at("check") == name) {
      return check;
    }
  }
  FAIL("no check " << name);
  return page;
}

}  // namespace

TEST_CASE("health page: every check stands there, also when all is well") {
  const Response response = health_page(test::healthy());
  CHECK(response.status == 200);
  CHECK(response.content_type == "application/json");
  const json page = json::parse(response.body);
  CHECK(page.at("level") == "ok");
  CHECK(page.at("version") == "1.2.3");
  CHECK(page.at("started_at") == "2026-11-22T08:00:00Z");
  CHECK(page.at("loop_lag_seconds") == 0.002);
  CHECK(page.at("checks").size() == 7);
  for (const auto& check : page.at("checks")) {
    CHECK(check.at("level") == "ok");
    CHECK(check.at("message") == "");
  }
  const json charge = check_named(page, "job charge");
  CHECK(charge.at("state") == "waiting");
  CHECK(charge.at("next_run") == "2026-11-22T09:01:00Z");
  CHECK(charge.at("last_success") == "2026-11-22T09:00:00.500000Z");
  CHECK(charge.at("last_run") == nullptr);
  CHECK(charge.at("paused_by") == nullptr);
  CHECK(check_named(page, "job sweep").at("success_deadline") == nullptr);
  CHECK(check_named(page, "redis").at("state") == "unknown");
  CHECK(check_named(page, "redis").at("since") == nullptr);
  CHECK(check_named(page, "disk /var/log/saathii").at("free_bytes") == 250);
  CHECK(check_named(page, "disk /gone").at("free_bytes") == nullptr);
  CHECK(check_named(page, "run ledger").at("outcomes_waiting") == 3);
}

TEST_CASE("health page: what is wrong, in words, and 503 where work is not done") {
  const Response response = health_page(test::failing());
  CHECK(response.status == 503);
  const json page = json::parse(response.body);
  CHECK(page.at("level") == "failing");
  CHECK(check_named(page, "postgres").at("level") == "failing");
  CHECK(check_named(page, "postgres").at("message") == "down since 2026-11-22T08:50:00Z: refused");
  CHECK(check_named(page, "job charge").at("level") == "degraded");
  CHECK(check_named(page, "job charge").at("paused_by") == "root");
  CHECK(check_named(page, "disk /gone").at("message") == "cannot be looked at");
  CHECK(check_named(page, "redis").at("level") == "ok");
}

TEST_CASE("health page: degraded is 200, because the work goes on") {
  Sample sample = test::failing();
  sample.health.level = health::Level::degraded;
  CHECK(health_page(sample).status == 200);
}

TEST_CASE("health page: text that is not UTF-8 is JSON all the same") {
  Sample sample = test::failing();
  sample.health.findings[0].message = "broken \xff text";
  CHECK(json::accept(health_page(sample).body));
}

}  // namespace saathii::http
