#include "support.hpp"

// What is asked of the daemon over the bus, and what it tells there.

namespace saathii::control::test {

namespace {

using Catch::Matchers::ContainsSubstring;
using Strings = std::vector<std::string>;

std::uint64_t us(Instant moment) {
  return static_cast<std::uint64_t>(moment.time_since_epoch().count());
}

/// A bus, a daemon with two jobs on it, who listens and who calls.
struct Setup {
  Setup() {
    charge = &daemon.add(minutely("charge"));
    daemon.add(minutely("badges"));
  }
  void start() {
    daemon.start_on(ear);
    client = std::make_unique<Client>(bus.address());
  }
  Manager& manager() { return client->manager; }

  PrivateBus bus;
  Ear ear{bus.start().address()};
  Daemon daemon{bus.address()};
  FakeWork* charge = nullptr;
  std::unique_ptr<Client> client;
};

}  // namespace

TEST_CASE("the jobs are listed, and each has an object") {
  Setup setup;
  setup.start();
  const auto rows = setup.manager().ListJobs();
  REQUIRE(rows.size() == 2);
  CHECK(std::get<0>(rows[0]) == "charge");
  CHECK(std::get<1>(rows[0]) == "/com/saathiiapp/Tasks1/job/charge");
  CHECK(std::get<2>(rows[0]) == "waiting");
  CHECK_FALSE(std::get<3>(rows[0]));
  CHECK(std::get<4>(rows[0]).empty());
  CHECK(std::get<5>(rows[0]) == us(noon + 1min));
  CHECK(setup.manager().GetJob("badges") == "/com/saathiiapp/Tasks1/job/badges");
  Job job = setup.client->job("charge");
  CHECK(job.Name() == "charge");
  CHECK(job.Kind() == "charge");
  CHECK(job.Schedule() == "every 1m");
  CHECK(job.TimeZone() == "UTC");
  CHECK(job.NextRun() == us(noon + 1min));
  CHECK(job.RunId().empty());
  CHECK(job.LastOutcome().empty());
}

TEST_CASE("the daemon says what it is") {
  Setup setup;
  setup.start();
  CHECK(setup.manager().Version() == "1.2.3");
  CHECK(setup.manager().ConfigFile() == "/etc/saathii/saathiid.toml");
  CHECK(setup.manager().StartedAt() == us(noon));
  CHECK(setup.manager().TimeZone() == "Asia/Kolkata");
  CHECK(setup.manager().LogLevel() == "info");
  CHECK(setup.manager().OutcomesWaiting() == 0);
  const auto servers = setup.manager().Servers();
  REQUIRE(servers.size() == 1);
  CHECK(std::get<0>(servers[0]) == "postgres");
  CHECK(std::get<1>(servers[0]) == "unknown");
}

TEST_CASE("a run that was asked for is told of from its beginning to its end") {
  Setup setup;
  setup.charge->block();
  setup.start();
  const std::string run_id = setup.manager().Run("charge", 0);
  REQUIRE(setup.ear.wait_for("RunStarted charge " + run_id));
  REQUIRE(setup.charge->wait_for_calls(1));
  CHECK(setup.charge->calls().at(0).run_id == run_id);
  REQUIRE(setup.ear.wait_for("changed charge RunAttempt RunId RunScheduledAt RunStartedAt State"));
  Job job = setup.client->job("charge");
  CHECK(job.State() == "running");
  CHECK(job.RunId() == run_id);
  CHECK(job.RunAttempt() == 1);
  setup.charge->release();
  REQUIRE(setup.ear.wait_for("RunFinished charge " + run_id + " succeeded \"done\" things=1"));
  REQUIRE(setup.ear.wait_until([](const Strings& lines) {
    return std::any_of(lines.begin(), lines.end(), [](const std::string& line) {
      return line.find(" LastRunId ") != std::string::npos;
    });
  }));
  CHECK(job.State() == "waiting");
  CHECK(job.LastRunId() == run_id);
  CHECK(job.LastOutcome() == "succeeded");
  CHECK(job.LastReason() == "done");
  CHECK(job.LastAttempts() == 1);
  CHECK(job.LastCounts() == std::map<std::string, std::int64_t>{{"things", 1}});
  CHECK(job.LastSuccess() == us(noon + 30s));
}

TEST_CASE("a tick is told of, and a job's object takes the run too") {
  Setup setup;
  setup.start();
  REQUIRE(setup.daemon.clock.wait_until_armed(noon + 1min));
  setup.daemon.clock.pass_to(noon + 1min);
  REQUIRE(setup.ear.wait_until([](const Strings& lines) {
    return std::count_if(lines.begin(), lines.end(), [](const std::string& line) {
             return line.starts_with("RunFinished ");
           }) == 2;
  }));
  const std::string run_id = setup.client->job("badges").Run(us(noon));
  REQUIRE(setup.ear.wait_for("RunFinished badges " + run_id + " succeeded \"done\" things=1"));
}

TEST_CASE("pausing is kept before it is answered, and only what changed is told") {
  Setup setup;
  Watched<int> saved;
  setup.daemon.save_pauses = [&] { saved.change([](int& count) { ++count; }); };
  setup.start();
  setup.manager().Pause("charge");
  CHECK(saved.get() == 1);
  Job job = setup.client->job("charge");
  CHECK(job.Paused());
  CHECK(job.PausedSince() == us(noon + 30s));
  CHECK_FALSE(job.PausedBy().empty());
  CHECK(job.NextRun() == 0);
  // The next success is no longer expected while it is paused.
  REQUIRE(setup.ear.wait_until([](const Strings& lines) {
    return std::any_of(lines.begin(), lines.end(),
                       [](const auto& line) { return line.starts_with("changed charge"); });
  }));
  for (const std::string& line : setup.ear.lines()) {
    CHECK_FALSE(line.starts_with("changed badges"));
    if (line.starts_with("changed charge")) {
      CHECK_THAT(line, ContainsSubstring(" NextRun Paused PausedBy PausedSince"));
      CHECK_THAT(line, !ContainsSubstring("State") && !ContainsSubstring("Kind") &&
                           !ContainsSubstring("Last"));
    }
  }
  job.Resume();
  CHECK(saved.get() == 2);
  CHECK_FALSE(job.Paused());
  CHECK(job.NextRun() == us(noon + 1min));
}

TEST_CASE("a pause that cannot be kept for the next start says so") {
  Setup setup;
  setup.daemon.save_pauses = [] { throw std::runtime_error("disk full"); };
  setup.start();
  const BusError error = error_of([&] { setup.manager().Pause("charge"); });
  CHECK(error.name == "Failed");
  CHECK_THAT(error.message, ContainsSubstring("charge is paused, but only until saathiid ends") &&
                                ContainsSubstring("disk full"));
  CHECK(setup.client->job("charge").Paused());
}

TEST_CASE("what is asked wrongly gets an error by name") {
  Setup setup;
  setup.start();
  Manager& manager = setup.manager();
  const std::uint64_t beyond = std::uint64_t{1} << 60U;
  struct Wrong {
    const char* what;
    std::function<void()> call;
    const char* error;
    const char* message;
  };
  const std::vector<Wrong> all = {
      {"an unknown job", [&] { manager.GetJob("chrage"); }, "UnknownJob", "\"charge\""},
      {"a name without end", [&] { manager.GetJob(std::string(1'000'000, 'x')); },
       "InvalidArgument", "name: found 1000000 bytes; allowed: at most 63"},
      {"a level without end", [&] { manager.SetLogLevel(std::string(64, 'x')); }, "InvalidArgument",
       "level"},
      {"an outcome without end", [&] { manager.History("", 0, 0, std::string(64, 'x'), 1); },
       "InvalidArgument", "outcome"},
      {"a run of one", [&] { manager.Run("x", 0); }, "UnknownJob", "there is no job \"x\""},
      {"a pause of one", [&] { manager.Pause("x"); }, "UnknownJob", "badges"},
      {"a resume of one", [&] { manager.Resume("x"); }, "UnknownJob", "badges"},
      {"the ticks of one", [&] { manager.Calendar("x", 1); }, "UnknownJob", "badges"},
      {"the outcomes of one", [&] { manager.History("x", 0, 0, "", 1); }, "UnknownJob", "badges"},
      {"a moment to come", [&] { manager.Run("charge", us(noon + 1h)); }, "InvalidArgument",
       "at 2026-11-22T13:00:00Z"},
      {"no moment at all", [&] { manager.Run("charge", beyond); }, "InvalidArgument", "9999"},
      {"since no moment", [&] { manager.History("", beyond, 0, "", 1); }, "InvalidArgument",
       "since"},
      {"until no moment", [&] { manager.History("", 0, beyond, "", 1); }, "InvalidArgument",
       "until"},
      {"no outcome", [&] { manager.History("", 0, 0, "sucesful", 1); }, "InvalidArgument",
       "there is no outcome \"sucesful\""},
      {"no rows", [&] { manager.History("", 0, 0, "", 0); }, "InvalidArgument", "from 1 to 1000"},
      {"too many rows", [&] { manager.History("", 0, 0, "", 1001); }, "InvalidArgument", "limit"},
      {"too many ticks", [&] { manager.Calendar("charge", 10'001); }, "InvalidArgument", "count"},
      {"a loud level", [&] { manager.SetLogLevel("loud"); }, "InvalidArgument", "trace, debug"},
      {"no call", [&] { manager.CallReceipt(4711); }, "NotFound", "there is no call 4711"},
      {"call 0", [&] { manager.CallReceipt(0); }, "InvalidArgument", "call_id 0"},
      {"no wallet", [&] { manager.Wallet(7, 10); }, "NotFound", "user 7 has no wallet"},
      {"a huge user", [&] { manager.Wallet(beyond, 10); }, "InvalidArgument", "user_id"},
      {"too many entries", [&] { manager.Wallet(7, 1001); }, "InvalidArgument", "limit 1001"},
      {"no such object", [&] { setup.client->job("x").Pause(); },
       "org.freedesktop.DBus.Error.UnknownObject", ""},
      {"other arguments",
       [&] {
         make_proxy(*setup.client->connection, daemon_name, "/com/saathiiapp/Tasks1")
             ->callMethod("Run")
             .onInterface("com.saathiiapp.Tasks1.Manager")
             .withArguments(std::int32_t{1});
       },
       "org.freedesktop.DBus.Error.InvalidArgs", ""},
  };
  for (const Wrong& wrong : all) {
    INFO(wrong.what);
    const BusError error = error_of(wrong.call);
    CHECK(error.name == wrong.error);
    CHECK_THAT(error.message, ContainsSubstring(wrong.message));
  }
  CHECK(setup.charge->calls().empty());
}

TEST_CASE("a second run that was asked for too early, and one at the end, are refused") {
  Setup setup;
  setup.charge->block();
  setup.start();
  setup.manager().Run("charge", 0);
  REQUIRE(setup.charge->wait_for_calls(1));
  setup.manager().Run("charge", 0);
  CHECK(error_of([&] { setup.manager().Run("charge", 0); }).name == "AlreadyWaiting");
  setup.daemon.runner->stop();
  REQUIRE(setup.daemon.diary.wait_for("stopping charge"));
  CHECK(error_of([&] { setup.manager().Run("badges", 0); }).name == "ShuttingDown");
}

TEST_CASE("a reload is answered when it is in force, or with all that is wrong") {
  Setup setup;
  setup.daemon.reload = [] {
    return config::Reloaded{{}, {{"rates.audio"}, {"postgres.url"}, 40}};
  };
  setup.start();
  const auto [applied, needs_restart, unchanged] = setup.manager().Reload();
  CHECK(applied == Strings{"rates.audio"});
  CHECK(needs_restart == Strings{"postgres.url"});
  CHECK(unchanged == 40);
  setup.daemon.on_loop([&] {
    setup.daemon.reload = [] {
      return config::Reloaded{{{"f.toml", 3, 1, "unknown key"}, {"f.toml", 4, 2, "no number"}}, {}};
    };
  });
  const BusError refused = error_of([&] { setup.manager().Reload(); });
  CHECK(refused.name == "ConfigurationInvalid");
  CHECK(refused.message == "f.toml:3:1: unknown key\nf.toml:4:2: no number");
  setup.daemon.on_loop([&] {
    setup.daemon.reload = []() -> config::Reloaded { throw runner::Overloaded("another reload"); };
  });
  CHECK(error_of([&] { setup.manager().Reload(); }).name == "Overloaded");
}

TEST_CASE("jobs that a reload adds or takes away come and go on the bus") {
  Setup setup;
  setup.start();
  FakeWork work;
  setup.daemon.on_loop([&] {
    std::vector<runner::JobSpec> specs = {setup.daemon.specs.at(0), {minutely("new"), work.work()}};
    setup.daemon.runner->replace_jobs(std::move(specs), {"charge"});
  });
  REQUIRE(setup.ear.wait_for("added new"));
  REQUIRE(setup.ear.wait_for("removed badges"));
  CHECK(setup.client->job("new").State() == "waiting");
  CHECK(error_of([&] { setup.client->job("badges").State(); }).name ==
        "org.freedesktop.DBus.Error.UnknownObject");
  std::map<sdbus::ObjectPath, std::map<std::string, std::map<std::string, sdbus::Variant>>> objects;
  make_proxy(*setup.client->connection, daemon_name, "/com/saathiiapp/Tasks1")
      ->callMethod("GetManagedObjects")
      .onInterface("org.freedesktop.DBus.ObjectManager")
      .storeResultsTo(objects);
  CHECK(objects.size() == 2);
  CHECK(objects.at(sdbus::ObjectPath{"/com/saathiiapp/Tasks1/job/new"})
            .at("com.saathiiapp.Tasks1.Job")
            .at("Name")
            .get<std::string>() == "new");
}

TEST_CASE("the log's level can be changed, and is told") {
  Setup setup;
  setup.start();
  setup.manager().SetLogLevel("debug");
  CHECK(setup.manager().LogLevel() == "debug");
  CHECK(setup.ear.wait_for("changed Tasks1 LogLevel"));
}

TEST_CASE("a server that goes down is told, and what it means") {
  Setup setup;
  setup.start();
  setup.daemon.postgres.report_down("connection refused");
  REQUIRE(setup.ear.wait_until([](const Strings& lines) {
    return std::any_of(lines.begin(), lines.end(), [](const std::string& line) {
      return line.find("HealthLevel") != std::string::npos;
    });
  }));
  // Which level depends on the clock on the wall, by which it has been down.
  const auto [level, findings] = setup.manager().Health();
  CHECK(level != "ok");
  CHECK(setup.ear.wait_for("HealthChanged " + level));
  REQUIRE(findings.size() == 1);
  CHECK(std::get<0>(findings[0]) == level);
  CHECK(std::get<1>(findings[0]) == "postgres");
  CHECK(setup.manager().HealthLevel() == level);
  const auto servers = setup.manager().Servers();
  CHECK(std::get<1>(servers.at(0)) == "down");
  CHECK(std::get<3>(servers.at(0)) == "connection refused");
}

TEST_CASE("outcomes of the past are asked of the ledger, whatever their text is made of") {
  Setup setup;
  Watched<std::vector<postgres::HistoryQuery>> asked;
  setup.daemon.inquiries.history = [&](const postgres::HistoryQuery& query, const auto&) {
    asked.change([&](auto& queries) { queries.push_back(query); });
    runner::Record record;
    record.job = "charge";
    record.run_id = "r1";
    record.scheduled_at = noon;
    record.last_scheduled_at = noon + 2min;
    record.ticks = 3;
    record.outcome = schedule::Outcome::failed;
    record.reason = "file \xFF\xED\xA0\x80 is \"bad\" \xE2\x82\xB9";
    record.started_at = noon + 1s;
    record.attempts = 2;
    record.counts = {{"charged", -5}};
    return std::vector{record};
  };
  setup.start();
  const auto runs = setup.manager().History("charge", us(noon - 1h), us(noon + 1h), "failed", 7);
  const auto query = asked.get().at(0);
  CHECK(query.job == "charge");
  CHECK(query.since == noon - 1h);
  CHECK(query.until == noon + 1h);
  CHECK(query.outcome == "failed");
  CHECK(query.limit == 7);
  REQUIRE(runs.size() == 1);
  const auto& [job, run_id, scheduled, last, ticks, outcome, reason, started, finished, attempts,
               counts] =
      static_cast<
          const std::tuple<std::string, std::string, std::uint64_t, std::uint64_t, std::int64_t,
                           std::string, std::string, std::uint64_t, std::uint64_t, std::uint32_t,
                           std::map<std::string, std::int64_t>>&>(runs[0]);
  CHECK(job == "charge");
  CHECK(run_id == "r1");
  CHECK(scheduled == us(noon));
  CHECK(last == us(noon + 2min));
  CHECK(ticks == 3);
  CHECK(outcome == "failed");
  CHECK(reason == "file \uFFFD\uFFFD\uFFFD\uFFFD is \"bad\" ₹");
  CHECK(started == us(noon + 1s));
  CHECK(finished == 0);
  CHECK(attempts == 2);
  CHECK(counts == std::map<std::string, std::int64_t>{{"charged", -5}});
}

TEST_CASE("what the ledgers know of a call and of a wallet is told") {
  Setup setup;
  setup.daemon.inquiries.receipt = [](std::int64_t call_id, const auto&) {
    postgres::Receipt receipt;
    receipt.call_id = call_id;
    receipt.user_id = 1;
    receipt.listener_id = 2;
    receipt.call_type = "audio";
    receipt.status = "dropped";
    receipt.start_time = noon;
    receipt.coins_spent = 20;
    receipt.minutes = {{1, noon, 10, "api", noon, {}, {}, {}},
                       {2, noon + 1min, 10, "saathiid", noon + 61s, 30, 20, noon + 5min}};
    receipt.settlement = postgres::Settlement{"balance", noon + 2min, 2, 20, "2.50", noon + 3min};
    return std::optional{receipt};
  };
  setup.daemon.inquiries.wallet = [](std::int64_t user_id, std::size_t entries, const auto&) {
    return std::optional{postgres::Wallet{user_id,
                                          static_cast<std::int64_t>(entries),
                                          "12.50",
                                          {4711},
                                          {{noon, "spend", -10, "0.00"}}}};
  };
  setup.start();
  const auto [call, minutes] = setup.manager().CallReceipt(4711);
  CHECK(call.at("call_id").get<std::int64_t>() == 4711);
  CHECK(call.at("start_time").get<std::uint64_t>() == us(noon));
  CHECK(call.at("end_time").get<std::uint64_t>() == 0);
  CHECK(call.at("settlement_minutes").get<std::int32_t>() == 2);
  CHECK(call.at("settlement_earned").get<std::string>() == "2.50");
  REQUIRE(minutes.size() == 2);
  CHECK(std::get<5>(minutes[0]) == false);
  CHECK(std::get<3>(minutes[1]) == "saathiid");
  CHECK(std::get<5>(minutes[1]) == true);
  CHECK(std::get<6>(minutes[1]) == 30);
  CHECK(std::get<7>(minutes[1]) == 20);
  CHECK(std::get<8>(minutes[1]) == us(noon + 5min));
  const auto [coins, money, calls, entries] = setup.manager().Wallet(7, 50);
  CHECK(coins == 50);
  CHECK(money == "12.50");
  CHECK(calls == std::vector<std::int64_t>{4711});
  REQUIRE(entries.size() == 1);
  CHECK(std::get<2>(entries[0]) == -10);
}

TEST_CASE("a database that is away is an error by name") {
  Setup setup;
  setup.daemon.inquiries.history = [](const auto&, const auto&) -> std::vector<runner::Record> {
    throw Unavailable("postgres", "connection refused");
  };
  setup.start();
  const BusError error = error_of([&] { setup.manager().History("", 0, 0, "", 1); });
  CHECK(error.name == "Unavailable");
  CHECK(error.message == "connection refused");
}

TEST_CASE("the next ticks are told in their zone, and not without end") {
  Setup setup;
  config::Job leap = minutely("leap");
  std::string error;
  leap.trigger = {schedule::parse_cron("0 0 29 2 *", error).value(),
                  tz::locate_zone("Asia/Kolkata")};
  setup.daemon.add(leap);
  setup.start();
  const auto [ticks, zone] = setup.manager().Calendar("charge", 3);
  CHECK(zone == "UTC");
  CHECK(ticks == std::vector<std::uint64_t>{us(noon + 1min), us(noon + 2min), us(noon + 3min)});
  const auto [rare, of] = setup.manager().Calendar("leap", 10'000);
  CHECK(of == "Asia/Kolkata");
  CHECK(rare.size() == 5);  // 2028 to 2044
}

}  // namespace saathii::control::test
