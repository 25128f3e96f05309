#include "ctl/audit.hpp"

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "fakes.hpp"
#include "saathii/base/errors.hpp"

using namespace saathii;
using namespace saathii::ctl;
using audit::Repair;
using audit::Result;
using Catch::Matchers::ContainsSubstring;
using test::at;

namespace {

constexpr const char* sentences[] = {
    "at most one charge for each minute of a call",
    "charged minutes have no gap and reach up to now, or to the end",
    "each wallet is its opening balance and its transactions",
    "coins_spent of each call is the sum of its charges",
    "no balance is below 0",
    "no minute is charged that starts after the call's end",
    "a call is dropped only where a rule allows it",
    "exactly one settlement for each call that saathiid ended",
    "busy is who has an ongoing call",
    "Redis shows what PostgreSQL says"};

audit::Report good() {
  audit::Report report;
  report.as_of = test::now;
  report.since = at("2026-10-18T00:00:00Z");
  report.charged_until = at("2026-11-22T03:32:00Z");
  report.looked_at = {{"calls", 1200}, {"charges", 9000}};
  for (int number = 1; number <= audit::invariants; ++number) {
    report.findings.push_back(
        {.number = number, .name = "name", .sentence = sentences[number - 1]});
  }
  return report;
}

audit::Report bad() {
  audit::Report report = good();
  audit::Finding& late = report.findings[5];
  late.result = Result::violated;
  late.violations = 3;
  late.kinds = {{"after_end", 3}};
  late.offenders = {{"after_end", 4711, 17, "no minute after the end at 2026-11-22 03:00:00+00",
                     "1 charged, from minute 3"},
                    {"after_end", 4712, std::nullopt, "no minute after the end", "2 \x1b[31mred"}};
  report.findings[9].result = Result::not_checked;
  report.findings[9].notes = {"Redis cannot be asked: connection refused"};
  return report;
}

audit::Plan some() {
  audit::Plan plan;
  plan.repairs = {{.what = Repair::What::give_back,
                   .invariant = 6,
                   .call_id = 4711,
                   .user_id = 17,
                   .minute = 3,
                   .coins = 10,
                   .money = {}},
                  {.what = Repair::What::settle,
                   .invariant = 8,
                   .call_id = 4713,
                   .user_id = 18,
                   .minute = 2,
                   .coins = 20,
                   .money = "12.50"}};
  return plan;
}

/// What the fake auditor does.
struct Script {
  audit::Report report = good();
  audit::Plan plan;
  std::exception_ptr fault;
  std::vector<bool> still_needed = {true, true};
  std::vector<audit::Options> asked;
  int applied = 0;
  int baselines = 0;
};

class FakeAuditor final : public Auditor {
 public:
  explicit FakeAuditor(Script& script) : script_(script) {}
  [[nodiscard]] TimeZone zone() const override { return tz::locate_zone("Asia/Kolkata"); }
  audit::Report run(const audit::Options& options, const audit::Progress& progress) override {
    script_.asked.push_back(options);
    progress("calls and their charges", 0.25);
    if (script_.fault) std::rethrow_exception(script_.fault);
    return script_.report;
  }
  audit::Plan plan(const audit::Report& /*report*/) override { return script_.plan; }
  bool apply(const Repair& /*repair*/) override {
    if (script_.fault) std::rethrow_exception(script_.fault);
    return script_.still_needed.at(static_cast<std::size_t>(script_.applied++));
  }
  audit::Baseline take_baseline() override {
    ++script_.baselines;
    return {.wallets = 12'820, .openings = 7};
  }

 private:
  Script& script_;
};

struct Invocation {
  Script script;
  test::FakeConsole console;

  int operator()(std::vector<const char*> words) {
    words.insert(words.begin(), {"saathiictl", "audit"});
    const auto parsed = parse_command_line(static_cast<int>(words.size()), words.data());
    if (parsed.exit_code) return *parsed.exit_code;
    return carry_out_audit(
        parsed.command, [&] { return std::make_unique<FakeAuditor>(script); }, console);
  }
  [[nodiscard]] Json json() const { return Json::parse(console.out); }
};

template <typename Error>
std::exception_ptr thrown(Error error) {
  return std::make_exception_ptr(std::move(error));
}

}  // namespace

TEST_CASE("an audit on 80 columns") {
  CHECK(report_view(bad(), std::chrono::seconds{12}, test::screen()) ==
        R"(× Audit as of Sun 2026-11-22 09:12:00 IST: 1 of 10 violated, 1 not checked
Calls since 2026-10-18 05:30:00 and ongoing ones; minutes that started until
2026-11-22 09:02:00 must be charged.
Looked at 1,200 calls, 9,000 charges in 12 s.

     INVARIANT                                                       RESULT
  1  ● at most one charge for each minute of a call                  holds
  2  ● charged minutes have no gap and reach up to now, or to the    holds
       end
  3  ● each wallet is its opening balance and its transactions       holds
  4  ● coins_spent of each call is the sum of its charges            holds
  5  ● no balance is below 0                                         holds
  6  × no minute is charged that starts after the call's end         3 violated
  7  ● a call is dropped only where a rule allows it                 holds
  8  ● exactly one settlement for each call that saathiid ended      holds
  9  ● busy is who has an ongoing call                               holds
 10  ! Redis shows what PostgreSQL says                              not checked

 6  no minute is charged that starts after the call's end
    KIND       CALL  USER  EXPECTED                                 FOUND
    after_end  4711    17  no minute after the end at 2026-11-22    1 charged,
                           03:00:00+00                              from minute
                                                                    3
    after_end  4712     -  no minute after the end                  2 [31mred
    and 1 more

10  Redis cannot be asked: connection refused
)");
}

TEST_CASE("exit codes tell what an audit found") {
  Invocation holds, violated, quiet;
  CHECK(holds({}) == exit_code::ok);
  CHECK_THAT(holds.console.out, ContainsSubstring("nothing is violated"));
  CHECK(holds.script.asked.at(0).limit == 100);
  violated.script.report = bad();
  CHECK(violated({"-q"}) == exit_code::violated);
  CHECK_THAT(violated.console.out, ContainsSubstring("1 of 10 violated"));
  CHECK(violated.console.out.find('\x1b') == std::string::npos);
  CHECK(quiet({"-q"}) == exit_code::ok);
  CHECK(quiet.console.out.empty());
}

TEST_CASE("what an audit is asked for") {
  Invocation run;
  CHECK(run({"--since", "2026-11-22", "--grace", "90s", "--limit", "7"}) == exit_code::ok);
  const auto& options = run.script.asked.at(0);
  CHECK(options.since == at("2026-11-21T18:30:00Z"));
  CHECK(options.grace == std::chrono::seconds{90});
  CHECK(options.limit == 7);
  CHECK(Invocation{}({"--since", "soon"}) == exit_code::usage);
  CHECK(Invocation{}({"--grace", "soon"}) == exit_code::usage);
  CHECK(Invocation{}({"--limit", "0"}) == exit_code::usage);
  CHECK(Invocation{}({"--repair", "--baseline"}) == exit_code::usage);
}

TEST_CASE("an audit as JSON") {
  Invocation run;
  run.script.report = bad();
  CHECK(run({"--json=short"}) == exit_code::violated);
  const auto json = run.json();
  CHECK(json["result"] == "violated");
  CHECK(json["as_of"] == "2026-11-22T03:42:00Z");
  CHECK(json["baseline"].is_null());
  CHECK(json["looked_at"]["charges"] == 9000);
  CHECK(json["invariants"].size() == 10);
  const auto& late = json["invariants"][5];
  CHECK(late["number"] == 6);
  CHECK(late["violations"] == 3);
  CHECK(late["kinds"]["after_end"] == 3);
  CHECK(late["offenders"][0]["call_id"] == 4711);
  CHECK(late["offenders"][1]["user_id"].is_null());
  CHECK(json["invariants"][9]["result"] == "not_checked");
  CHECK(!json.contains("plan"));
}

TEST_CASE("a repair is shown, and asked for") {
  Invocation run;
  run.script.report = bad();
  run.script.plan = some();
  SECTION("nobody to ask") {
    CHECK(run({"--repair"}) == exit_code::violated);
    CHECK_THAT(run.console.err, ContainsSubstring("--yes"));
    CHECK(run.script.applied == 0);
  }
  SECTION("no") {
    run.console.answer = false;
    CHECK(run({"--repair"}) == exit_code::violated);
    CHECK(run.console.questions.size() == 1);
    CHECK(run.script.applied == 0);
  }
  SECTION("yes") {
    run.console.answer = true;
    CHECK(run({"--repair"}) == exit_code::ok);
    CHECK(run.script.applied == 2);
    CHECK_THAT(run.console.out, ContainsSubstring("2 repairs written."));
  }
  SECTION("no longer needed") {
    run.script.still_needed = {true, false};
    CHECK(run({"--repair", "--yes"}) == exit_code::ok);
    CHECK(run.console.questions.empty());
    CHECK_THAT(run.console.out, ContainsSubstring("1 repair written, 1 no longer needed."));
  }
  SECTION("something is left to people") {
    run.script.plan.left = {{4, "coins_spent", 12, "nobody knows which is right"}};
    CHECK(run({"--repair", "--yes"}) == exit_code::violated);
    CHECK_THAT(run.console.out, ContainsSubstring("nobody knows which is right"));
  }
  SECTION("as JSON it is one document, and there is nobody to ask") {
    run.console.answer = true;
    CHECK(run({"--repair", "--json=short"}) == exit_code::violated);
    CHECK(run.console.questions.empty());
    CHECK(run.json()["plan"]["repairs"][0]["result"] == "planned");
    CHECK(run.script.applied == 0);
  }
  SECTION("more are listed for the plan than are shown") {
    CHECK(run({"--repair", "--yes", "--limit", "1", "--json=short"}) == exit_code::ok);
    CHECK(run.script.asked.at(0).limit == 1000);
    CHECK(run.json()["invariants"][5]["offenders"].size() == 1);
    CHECK(run.json()["plan"]["repairs"][1]["result"] == "done");
    CHECK(run.json()["plan"]["repairs"][1]["money"] == "12.50");
  }
}

TEST_CASE("a plan as it is drawn") {
  auto plan = some();
  plan.left = {{4, "coins_spent", 12, "nobody knows which is right"}};
  CHECK(plan_view(plan, test::screen()) == R"(
To be written (2 repairs; 10 coins given back, 12.50 rupees paid):
    REPAIR     CALL  USER  WHAT
 6  give_back  4711    17  10 coins given back for minute 3
 8  settle     4713    18  12.50 rupees earned by 2 minutes, and the settlement

What needs a person:
    KIND             WHY
 4  coins_spent  12  nobody knows which is right
)");
  CHECK(plan_view({}, test::screen()) == "\nThere is nothing to repair.\n");
}

TEST_CASE("repairs that fail") {
  Invocation run;
  run.script.report = bad();
  run.script.plan = some();
  const std::vector<Repaired> repaired = {{Repaired::Result::failed, "lock timeout"},
                                          {Repaired::Result::done, {}}};
  const auto text = repaired_view(run.script.plan, repaired, test::screen());
  CHECK(text == "1 repair written.\ngive_back of call 4711, user 17 failed: lock timeout\n");
}

TEST_CASE("a baseline replaces what was believed, so it is asked for") {
  Invocation nobody, no, yes, json;
  CHECK(nobody({"--baseline"}) == exit_code::refused);
  no.console.answer = false;
  CHECK(no({"--baseline"}) == exit_code::refused);
  CHECK(no.script.baselines == 0);
  yes.console.answer = true;
  CHECK(yes({"--baseline"}) == exit_code::ok);
  CHECK(yes.script.baselines == 1);
  CHECK_THAT(yes.console.out, ContainsSubstring("of 12,820 wallets 7 had something"));
  CHECK(json({"--baseline", "--yes", "--json=short"}) == exit_code::ok);
  CHECK(json.json() == Json{{"wallets", 12'820}, {"openings", 7}});
}

TEST_CASE("an audit that cannot be done") {
  const auto code_of = [](std::exception_ptr fault, const std::string& told) {
    Invocation run;
    run.script.fault = std::move(fault);
    const int code = run({});
    CHECK(run.console.out.empty());
    CHECK_THAT(run.console.err, ContainsSubstring(told));
    return code;
  };
  CHECK(code_of(thrown(Unavailable("postgres", "connection refused")), "cannot be reached") ==
        exit_code::unreachable);
  CHECK(code_of(thrown(Stopped("interrupted")), "nothing was written") == exit_code::interrupted);
  CHECK(code_of(thrown(std::runtime_error("permission denied\nfor table")),
                "permission denied for table") == exit_code::failed);
  CHECK(code_of(thrown(BadConfiguration("saathiid.toml:2:1: unknown key\n")), "2:1: unknown key") ==
        exit_code::usage);
}

TEST_CASE("progress is a bar where somebody looks on") {
  Invocation run;
  run.console.watched = true;
  CHECK(run({}) == exit_code::ok);
  REQUIRE(run.console.lines.size() == 2);
  CHECK_THAT(run.console.lines[0], ContainsSubstring("25 %"));
  CHECK(run.console.lines[1].empty());
  auto screen = test::screen();
  CHECK(audit_progress_view("who is busy", 0.5, std::chrono::seconds{20}, screen) ==
        "████████████░░░░░░░░░░░░  50 %  who is busy, about 20 s left");
  screen.utf8 = false;
  screen.width = 40;
  CHECK(audit_progress_view("who is busy", 0, {}, screen) ==
        "........................   0 %  who...");
}
