#include "ctl/commands.hpp"

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "ctl/bus.hpp"
#include "ctl/explain.hpp"
#include "fakes.hpp"

using namespace saathii;
using namespace saathii::ctl;
using Catch::Matchers::ContainsSubstring;
using Json = nlohmann::json;
using Kind = Refusal::Kind;

namespace {

using Asked = std::vector<std::string>;

/// One command as it is written, against the fake daemon.
struct Invocation {
  test::FakeConsole console;
  Asked asked;
  std::function<void(test::FakeDaemon&)> prepare = [](auto&) {};

  int operator()(const std::vector<const char*>& words) {
    std::vector<const char*> argv = {"saathiictl"};
    argv.insert(argv.end(), words.begin(), words.end());
    const auto parsed = parse_command_line(static_cast<int>(argv.size()), argv.data());
    if (parsed.exit_code) return *parsed.exit_code;
    return carry_out(
        parsed.command,
        [&] {
          auto daemon = std::make_unique<test::FakeDaemon>(asked);
          prepare(*daemon);
          return daemon;
        },
        console);
  }
  [[nodiscard]] Json json() const { return Json::parse(console.out); }
};

Event finished(const std::string& run_id, const std::string& outcome) {
  return {Event::What::finished,
          {"coin_deduction",
           run_id,
           outcome,
           "7 calls charged",
           {{"charged", 7}},
           std::chrono::milliseconds{34}}};
}

std::function<void(test::FakeDaemon&)> refuse(std::string call, Kind kind,
                                              const std::string& text = "the bus said so") {
  return [call = std::move(call), refusal = Refusal(kind, text)](test::FakeDaemon& daemon) {
    daemon.refuses = call;
    daemon.refusal = refusal;
  };
}

}  // namespace

TEST_CASE("without a command it is status") {
  Invocation plain, named;
  CHECK(plain({}) == exit_code::ok);
  CHECK(named({"status"}) == exit_code::ok);
  CHECK(plain.console.out == named.console.out);
  CHECK_THAT(plain.console.out, ContainsSubstring("saathiid 0.1.0: failing"));
  CHECK(plain.console.err.empty());
}

TEST_CASE("jobs, and their names alone for completions") {
  Invocation run, names;
  CHECK(run({"jobs"}) == exit_code::ok);
  CHECK_THAT(run.console.out, ContainsSubstring("every 10m"));
  CHECK(names({"jobs", "--names"}) == exit_code::ok);
  CHECK(names.console.out ==
        "presence_cleanup\ncoin_deduction\ncall_cleanup\nbadge_assignment\nlog_rotation\n");
}

TEST_CASE("a completion that finds nobody is quiet") {
  Invocation run;
  run.prepare = refuse("job_names", Kind::gone);
  CHECK(run({"jobs", "--names"}) == exit_code::unreachable);
  CHECK(run.console.err.empty());
}

TEST_CASE("show, and a job that there is not") {
  Invocation run, wrong, none;
  CHECK(run({"show", "coin_deduction"}) == exit_code::ok);
  CHECK_THAT(run.console.out, ContainsSubstring("retrying for 60 s"));
  CHECK(wrong({"show", "coin_deducton"}) == exit_code::refused);
  CHECK(wrong.console.err == "saathiictl: there is no job \"coin_deducton\"\n");
  CHECK(none({"show"}) == exit_code::usage);
}

TEST_CASE("history passes on what is asked for") {
  Invocation plain, full, wrong;
  CHECK(plain({"history"}) == exit_code::ok);
  CHECK(plain.asked.back() == "history |||50");
  CHECK(full({"history", "call_cleanup", "--since", "2h", "--outcome=timed_out", "-n", "7"}) ==
        exit_code::ok);
  CHECK(full.asked.back() == "history call_cleanup|2026-11-22T01:42:00Z|timed_out|7");
  CHECK_THAT(full.console.out, !ContainsSubstring("JOB"));
  CHECK(wrong({"history", "--since", "soon"}) == exit_code::usage);
  CHECK_THAT(wrong.console.err, ContainsSubstring("--since 'soon' is not a time"));
}

TEST_CASE("a long history is asked for in pages, and told without a seam") {
  // Two jobs a minute: the first page ends between two of one moment.
  std::vector<Run> all(2'501);
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i].job = (i + 1) % 2 == 0 ? "a" : "b";
    all[i].scheduled_at = test::now - std::chrono::minutes{(i + 1) / 2};
  }
  const auto told = [&](const char* count, std::size_t pages) {
    Invocation run;
    run.prepare = [&](test::FakeDaemon& daemon) { daemon.runs = all; };
    CHECK(run({"history", "-n", count, "--json=short"}) == exit_code::ok);
    CHECK(std::count(run.asked.begin(), run.asked.end(), "history |||1000") ==
          static_cast<std::ptrdiff_t>(pages));
    const Json json = run.json();
    for (std::size_t i = 0; i < json.size(); ++i) {
      REQUIRE(json[i]["job"] == all[i].job);
      REQUIRE(json[i]["scheduled_at"] == to_iso8601(all[i].scheduled_at));
    }
    return json.size();
  };
  CHECK(told("1000", 1) == 1000);
  CHECK(told("1001", 2) == 1001);
  CHECK(told("10000", 3) == 2'501);
}

TEST_CASE("times are told and read in UTC if that is wanted") {
  Invocation run;
  CHECK(run({"history", "--utc", "--since", "2026-11-22"}) == exit_code::ok);
  CHECK(run.asked.back() == "history |2026-11-22T00:00:00Z||50");
  CHECK_THAT(run.console.out, ContainsSubstring("2026-11-22 03:41:00"));
  CHECK_THAT(run.console.out, ContainsSubstring("Times are of"));
}

TEST_CASE("the calendar of one job, and of all") {
  Invocation one, all;
  CHECK(one({"calendar", "call_cleanup", "-n", "3"}) == exit_code::ok);
  CHECK(one.asked == Asked{"job call_cleanup", "calendar call_cleanup 3", "manager"});
  CHECK_THAT(one.console.out, ContainsSubstring("call_cleanup is paused"));
  CHECK(all({"calendar"}) == exit_code::ok);
  CHECK(std::count_if(all.asked.begin(), all.asked.end(),
                      [](const auto& asked) { return asked.starts_with("calendar "); }) == 5);
}

TEST_CASE("a run that is not waited for") {
  Invocation run;
  CHECK(run({"run", "coin_deduction", "--at", "2026-11-21"}) == exit_code::ok);
  CHECK(run.asked == Asked{"manager", "run coin_deduction 2026-11-20T18:30:00Z"});
  CHECK(run.console.out ==
        "coin_deduction was told to run, as 7b0f64c8.\n"
        "What comes of it: saathiictl history coin_deduction -n 1\n");
  Invocation quiet, wrong;
  CHECK(quiet({"-q", "run", "coin_deduction"}) == exit_code::ok);
  CHECK(quiet.console.out.empty());
  CHECK(wrong({"run", "coin_deduction", "--at", "2h"}) == exit_code::usage);
  CHECK(wrong({"run", "coin_deduction", "--at", "1969-01-01"}) == exit_code::usage);
}

TEST_CASE("a run that is waited for exits by its outcome") {
  const auto outcome = [](const char* word) {
    Invocation run;
    run.prepare = [&](auto& daemon) {
      daemon.events = {{}, finished("another", "succeeded"), finished("7b0f64c8", word)};
    };
    const int code = run({"run", "coin_deduction", "--wait"});
    // Before the run is asked for, so that its end cannot be missed.
    CHECK(run.asked[0] == "watch");
    CHECK(run.asked[1] == "run coin_deduction");
    return code;
  };
  CHECK(outcome("succeeded") == 0);
  CHECK(outcome("failed") == 4);
  CHECK(outcome("timed_out") == 5);
  CHECK(outcome("skipped") == 6);
  CHECK(outcome("coalesced") == 6);
  CHECK(outcome("missed") == 6);
}

TEST_CASE("the end of a run is told, and quietly only if it is good") {
  for (const auto& [word, quiet, text] :
       {std::tuple{"succeeded", false, "● coin_deduction succeeded in 34 ms: 7 calls charged\n"},
        std::tuple{"succeeded", true, ""},
        std::tuple{"failed", true, "× coin_deduction failed in 34 ms: 7 calls charged\n"}}) {
    Invocation run;
    run.prepare = [&, word = word](auto& daemon) { daemon.events = {finished("7b0f64c8", word)}; };
    run(quiet ? std::vector{"run", "coin_deduction", "-w", "-q"}
              : std::vector{"run", "coin_deduction", "-w"});
    CHECK(run.console.out == text);
  }
}

TEST_CASE("waiting ends with the daemon, and with Ctrl-C") {
  Invocation gone, interrupted;
  gone.prepare = [](auto& daemon) { daemon.events = {{Event::What::gone, {}}}; };
  CHECK(gone({"run", "coin_deduction", "-w"}) == exit_code::unreachable);
  CHECK_THAT(gone.console.err, ContainsSubstring("left the bus before coin_deduction had ended"));
  CHECK_THAT(gone.console.err, ContainsSubstring("next: systemctl status saathiid"));
  interrupted.prepare = [](auto& daemon) { daemon.events = {{Event::What::interrupted, {}}}; };
  CHECK(interrupted({"run", "coin_deduction", "-w"}) == exit_code::interrupted);
  CHECK_THAT(interrupted.console.err, ContainsSubstring("the run goes on"));
}

TEST_CASE("progress is shown where somebody looks on, and taken away at the end") {
  Invocation run;
  run.console.watched = true;
  run.prepare = [](auto& daemon) { daemon.events = {{}, finished("7b0f64c8", "succeeded")}; };
  CHECK(run({"run", "coin_deduction", "-w"}) == exit_code::ok);
  REQUIRE(run.console.lines.size() == 2);
  CHECK_THAT(run.console.lines[0], ContainsSubstring("coin_deduction waits for the run"));
  CHECK(run.console.lines[1].empty());
  // It has a width of its own.
  CHECK(test::width_of(run.console.lines[0]) < 40);
}

TEST_CASE("progress that cannot be had ends no waiting") {
  Invocation run;
  run.console.watched = true;
  run.prepare = [](auto& daemon) {
    daemon.refuses = "job";
    daemon.events = {{}, finished("7b0f64c8", "succeeded")};
  };
  CHECK(run({"run", "coin_deduction", "-w"}) == exit_code::ok);
}

TEST_CASE("several jobs are paused one after another") {
  Invocation run, half, resumed;
  CHECK(run({"pause", "a", "b"}) == exit_code::ok);
  CHECK(run.asked == Asked{"pause a", "pause b"});
  CHECK_THAT(run.console.out, ContainsSubstring("a is paused: its ticks end as skipped"));
  half.prepare = refuse("pause b", Kind::unknown_job, "there is no job \"b\"");
  CHECK(half({"pause", "a", "b"}) == exit_code::refused);
  CHECK_THAT(half.console.out, ContainsSubstring("a is paused"));
  CHECK(half.console.err == "saathiictl: there is no job \"b\"\n");
  CHECK(half.asked == Asked{"pause a", "pause b"});
  CHECK(resumed({"resume", "a"}) == exit_code::ok);
  CHECK(resumed.console.out == "a runs again by its schedule.\n");
}

TEST_CASE("a reload that is refused tells each problem") {
  Invocation run, refused;
  CHECK(run({"reload"}) == exit_code::ok);
  CHECK_THAT(run.console.out, ContainsSubstring("took effect  rates.audio"));
  refused.prepare = refuse("reload", Kind::configuration_invalid,
                           "/etc/saathii/saathiid.toml:3:1: unknown key\n"
                           "/etc/saathii/saathiid.toml:9:8: found 0; allowed: 1 to 100");
  CHECK(refused({"reload"}) == exit_code::refused);
  CHECK(refused.console.out.empty());
  CHECK(refused.console.err ==
        "/etc/saathii/saathiid.toml:3:1: unknown key\n"
        "/etc/saathii/saathiid.toml:9:8: found 0; allowed: 1 to 100\n"
        "saathiictl: the reload was refused: the configuration in force is the old one\n"
        "  next: mend the file, check it with 'saathiid --check-config', reload again\n");
}

TEST_CASE("health is an exit code") {
  const auto health = [](const char* level, std::vector<const char*> words = {"health"}) {
    Invocation run;
    run.prepare = [&](auto& daemon) { daemon.overview.health = {level, {}}; };
    const int code = run(words);
    CHECK(run.console.out.empty() == (words.size() > 1));
    return code;
  };
  CHECK(health("ok") == 0);
  CHECK(health("degraded") == 1);
  CHECK(health("failing") == 2);
  CHECK(health("of another version") == 3);
  CHECK(health("degraded", {"health", "-q"}) == 1);
  Invocation gone, usage;
  gone.prepare = refuse("health", Kind::unavailable);
  CHECK(gone({"health"}) == 3);
  CHECK(usage({"health", "--frobnicate"}) == 3);
}

TEST_CASE("the log level is told and set") {
  Invocation told, set;
  CHECK(told({"log-level"}) == exit_code::ok);
  CHECK(told.console.out == "info\n");
  CHECK(set({"log-level", "debug"}) == exit_code::ok);
  CHECK(set.asked == Asked{"set_log_level debug"});
  CHECK_THAT(set.console.out, ContainsSubstring("debug until the next reload or start"));
}

TEST_CASE("calls and wallets") {
  Invocation call, wallet, wrong;
  CHECK(call({"call", "4711"}) == exit_code::ok);
  CHECK(call.asked == Asked{"receipt 4711", "manager"});
  CHECK_THAT(call.console.out, ContainsSubstring("Receipt of call 4711"));
  CHECK(wallet({"wallet", "17", "-n", "5"}) == exit_code::ok);
  CHECK(wallet.asked.front() == "wallet 17 5");
  CHECK(wrong({"call", "-1"}) == exit_code::usage);
  CHECK(wrong({"call", "x"}) == exit_code::usage);
}

TEST_CASE("JSON: names, moments in UTC, null for what there is not") {
  Invocation run;
  CHECK(run({"status", "--json=pretty"}) == exit_code::ok);
  const Json status = run.json();
  CHECK(status["version"] == "0.1.0");
  CHECK(status["health"]["findings"][0]["check"] == "postgres");
  CHECK(status["servers"][0]["state"] == "down");
  CHECK(status["servers"][1]["last_error"].is_null());
  CHECK(status["outcomes_waiting"] == 3);
  const Json& coins = status["jobs"][1];
  CHECK(coins["next_run"].is_null());
  CHECK(coins["run"]["started_at"] == "2026-11-22T03:41:00Z");
  CHECK(coins["run"]["attempt"] == 4);
  CHECK(coins["last_run"]["counts"]["coins"] == 1170);
  CHECK(coins["last_run"]["finished_at"] == "2026-11-22T03:41:41.035000Z");
  CHECK(status["jobs"][2]["paused_by"] == "root");
  CHECK(status["jobs"][4]["run"].is_null());
  CHECK(status["jobs"][4]["last_run"].is_null());
}

TEST_CASE("JSON of every command is one document, in one line if short") {
  const std::vector<std::vector<const char*>> commands = {
      {"status"},       {"jobs"},     {"jobs", "--names"}, {"show", "call_cleanup"},
      {"history"},      {"calendar"}, {"health"},          {"call", "4711"},
      {"wallet", "17"}, {"run", "a"}, {"run", "a", "-w"},  {"pause", "a", "b"},
      {"resume", "a"},  {"reload"},   {"log-level"},       {"log-level", "debug"}};
  for (auto words : commands) {
    INFO(words[0]);
    words.push_back("--json=short");
    words.push_back("--quiet");
    Invocation run;
    run.prepare = [](auto& daemon) { daemon.events = {finished("7b0f64c8", "succeeded")}; };
    run(words);
    CHECK(std::count(run.console.out.begin(), run.console.out.end(), '\n') == 1);
    CHECK_NOTHROW(run.json());
  }
}

TEST_CASE("JSON of what the ledgers hold") {
  Invocation history, call, calendar, wallet, ending;
  history({"history", "--json=short"});
  CHECK(history.json()[1]["run_id"].is_null());
  CHECK(history.json()[1]["ticks"] == 15);
  CHECK(history.json()[0]["counts"]["charged"] == 7);
  call({"call", "4711", "--json=short"});
  CHECK(call.json()["minutes"][0]["balance_before"].is_null());
  CHECK(call.json()["minutes"][5]["refunded_at"] == "2026-11-22T03:41:12Z");
  CHECK(call.json()["settlement"]["earned_rupees"] == "28.00");
  // Of all jobs the earliest ticks, in order; where they are alike in the jobs' order.
  calendar({"calendar", "-n", "7", "--json=short"});
  std::string jobs;
  for (const Json& tick : calendar.json()) jobs += tick["job"].get<std::string>()[0];
  CHECK(jobs == "cpcblcp");
  CHECK(calendar.json()[0]["job"] == "call_cleanup");
  CHECK(calendar.json()[0]["scheduled_at"] == "2026-11-22T03:43:00Z");
  CHECK(calendar.json()[0]["paused"] == true);
  CHECK(calendar.json()[0]["time_zone"] == "Asia/Kolkata");
  wallet({"wallet", "17", "--json=short"});
  CHECK(wallet.json()["entries"][1]["coins"] == -60);
  ending.prepare = [](auto& daemon) { daemon.events = {finished("7b0f64c8", "failed")}; };
  CHECK(ending({"run", "a", "-w", "--json=short"}) == 4);
  CHECK(ending.json()["busy_us"] == 34'000);
}

TEST_CASE("every refusal says what to do next, or needs no word") {
  CommandLine line;
  line.command = Command::run;
  const auto told = [&](Kind kind, bool is_root = false) {
    return explain(Refusal(kind, "the bus said so"), line, is_root);
  };
  CHECK(told(Kind::no_bus).next == "systemctl status dbus");
  CHECK(told(Kind::not_running).what == "saathiid is not running, or not on the system bus");
  CHECK(told(Kind::not_running).next == "systemctl status saathiid");
  for (const Kind kind : {Kind::no_bus, Kind::not_running, Kind::no_answer, Kind::gone}) {
    CHECK(told(kind).exit_code == exit_code::unreachable);
  }
  CHECK_THAT(told(Kind::denied).what, ContainsSubstring("you may not run a job: the bus said so"));
  CHECK_THAT(told(Kind::denied).next, ContainsSubstring("sudo"));
  CHECK_THAT(told(Kind::denied, true).next, !ContainsSubstring("sudo"));
  CHECK_THAT(told(Kind::another_version).next, ContainsSubstring("restart"));
  CHECK_THAT(told(Kind::already_waiting).next, ContainsSubstring("status"));
  for (const Kind kind : {Kind::denied, Kind::overloaded, Kind::unavailable, Kind::standby,
                          Kind::shutting_down, Kind::failed, Kind::invalid_argument}) {
    CHECK(told(kind).exit_code == exit_code::refused);
    CHECK_FALSE(told(kind).what.empty());
  }
  line.bus = "unix:path=/x";
  CHECK(told(Kind::not_running).what == "saathiid is not running, or not on the bus unix:path=/x");
  // The daemon's own words say it already.
  CHECK(told(Kind::not_found).what == "the bus said so");
  CHECK(told(Kind::unknown_job).what == "the bus said so");
}

TEST_CASE("errors of the bus are known by name") {
  CHECK(kind_of_error("com.saathiiapp.Tasks1.Error.UnknownJob") == Kind::unknown_job);
  CHECK(kind_of_error("com.saathiiapp.Tasks1.Error.NotAuthorized") == Kind::denied);
  CHECK(kind_of_error("org.freedesktop.DBus.Error.AccessDenied") == Kind::denied);
  CHECK(kind_of_error("org.freedesktop.DBus.Error.NameHasNoOwner") == Kind::not_running);
  CHECK(kind_of_error("org.freedesktop.DBus.Error.NoReply") == Kind::no_answer);
  CHECK(kind_of_error("org.freedesktop.DBus.Error.UnknownMethod") == Kind::another_version);
  CHECK(kind_of_error("com.example.Else") == Kind::failed);
}

TEST_CASE("bad usage is 2, and names what was probably meant") {
  const auto usage = [](std::vector<const char*> words) { return Invocation{}(words); };
  CHECK(usage({"statsu"}) == exit_code::usage);
  CHECK(usage({"status", "jobs"}) == exit_code::usage);
  CHECK(usage({"history", "--outcome=bad"}) == exit_code::usage);
  CHECK(usage({"history", "-n", "0"}) == exit_code::usage);
  CHECK(usage({"calendar", "-n", "10001"}) == exit_code::usage);
  CHECK(usage({"log-level", "loud"}) == exit_code::usage);
  CHECK(usage({"--json=long"}) == exit_code::usage);
  CHECK(usage({"pause"}) == exit_code::usage);
  CHECK(usage({"--help"}) == exit_code::ok);
  CHECK(usage({"run", "--help"}) == exit_code::ok);
  CHECK(usage({"--version"}) == exit_code::ok);
}
