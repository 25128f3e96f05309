#include "ctl/views.hpp"

#include "catch.hpp"
#include "ctl/text.hpp"
#include "sample.hpp"

using namespace saathii;
using namespace saathii::ctl;
using Catch::Matchers::ContainsSubstring;
using test::at;
using test::screen;

TEST_CASE("status, all well, on 80 columns") {
  CHECK(status_view(test::well(), screen()) == R"(● saathiid 0.1.0: ok
      Since: Sun 2026-11-22 09:10:11 IST; 109 s ago
     Config: /etc/saathii/saathiid.toml; log level info
    Servers: ● postgres up for 109 s
             ● redis up for 109 s
     Leader: ● this instance, node-1, for 109 s; term 3

  JOB               LAST RUN   OUTCOME    NEXT RUN  WHAT IT DID
● presence_cleanup  108 s ago  succeeded  in 3 min  313 users online, 0 gone
                                                    offline, 0 no longer busy
● coin_deduction    18 s ago   succeeded  in 41 s   7 calls charged, 170 coins;
                                                    1 ended, balance used up
● call_cleanup      108 s ago  succeeded  in 8 min  1 call ended, 0 coins
                                                    charged, 100 given back
● badge_assignment  9 h ago    succeeded  in 14 h   badges of 2026-11-22: 114
                                                    basic, 24 bronze, 19 silver,
                                                    14 gold
○ log_rotation      -          -          in 15 h
)");
}

TEST_CASE("status, much not well, on 120 columns") {
  CHECK(status_view(test::ill(), screen(120)) == R"(× saathiid 0.1.0: failing
   Findings: × postgres: down for 3 min: connection refused
             ! job call_cleanup: is paused since 09:00
      Since: Sun 2026-11-22 09:10:11 IST; 109 s ago
     Config: /etc/saathii/saathiid.toml; log level info
    Servers: × postgres down for 3 min: connection to server at "db.internal" (10.0.0.4), port 5432 failed: Connection
               refused
             ● redis up for 109 s
     Leader: ○ node-2, for 109 s; term 3; this one, node-1, stands by
   Outcomes: 3 to be recorded once the database takes them
     Paused: ○ call_cleanup by root, since Sun 2026-11-22 09:00:00 IST; 12 min ago

  JOB               LAST RUN   OUTCOME    NEXT RUN       WHAT IT DID
● presence_cleanup  108 s ago  succeeded  in 3 min       313 users online, 0 gone offline, 0 no longer busy
! coin_deduction    18 s ago   succeeded  retrying 60 s  7 calls charged, 170 coins; 1 ended, balance used up
○ call_cleanup      108 s ago  succeeded  paused         1 call ended, 0 coins charged, 100 given back
× badge_assignment  8 h ago    timed out  in 14 h        took longer than 30 min and was stopped; the statement that was
                                                         cancelled waited for another transaction's lock
○ log_rotation      -          -          in 15 h
)");
}

TEST_CASE("status tells a running job, a stuck one, and one that will not run again") {
  auto overview = test::well();
  overview.jobs[0].state = "running";
  overview.jobs[0].run_started_at = test::now - std::chrono::seconds{3};
  overview.jobs[1].state = "stuck";
  overview.jobs[1].run_started_at = test::now - std::chrono::minutes{20};
  overview.jobs[2].next_run.reset();
  overview.jobs[3].last_reason.clear();
  overview.jobs[3].last_counts = {{"gold", 1234}, {"basic", 1}};
  const auto text = status_view(overview, screen(120));
  CHECK_THAT(text, ContainsSubstring("↻ presence_cleanup  108 s ago  succeeded  running 3 s"));
  CHECK_THAT(text, ContainsSubstring("× coin_deduction    18 s ago   succeeded  stuck 20 min"));
  CHECK_THAT(text, ContainsSubstring("succeeded  -             1 call ended"));
  CHECK_THAT(text, ContainsSubstring("gold=1234 basic=1"));
}

TEST_CASE("without UTF-8 everything is ASCII, and as wide") {
  auto ascii = screen(60);
  ascii.utf8 = false;
  for (const auto& text :
       {status_view(test::ill(), ascii), receipt_view(test::receipt(), ascii),
        history_view(test::outcomes(), 50, false, ascii), wallet_view(test::wallet(), ascii)}) {
    INFO(text);
    CHECK(to_ascii(text) == text);
    CHECK_THAT(text, !ContainsSubstring("?"));
  }
  CHECK_THAT(status_view(test::ill(), ascii), ContainsSubstring("x badge_assignment"));
  CHECK_THAT(receipt_view(test::receipt(), ascii), ContainsSubstring("Rs 28.00"));
}

TEST_CASE("every view fits every screen") {
  auto late = test::receipt();
  late.start_time = at("2026-11-22T18:28:00Z");
  late.settlement->settled_at = late.minutes[5].refunded_at = at("2026-11-22T18:46:00Z");
  late.minutes[5].charged_at = at("2026-11-22T18:33:00Z");
  late.minutes[5].balance_before = 1'234'567;
  const Tick tick{at("2026-11-22T03:43:00Z"), "coin_deduction", "Asia/Kolkata", true};
  auto poor = test::wallet();
  poor.entries.clear();
  for (std::size_t width = 20; width <= 140; ++width) {
    const Screen on = screen(width);
    std::vector<std::string> views = {status_view(test::ill(), on),
                                      jobs_view(test::ill().jobs, on),
                                      health_view(test::ill().health, on),
                                      history_view(test::outcomes(), 50, false, on),
                                      history_view(test::outcomes(), 3, true, on),
                                      history_view({}, 50, false, on),
                                      calendar_view({tick}, test::ill().jobs, false, on),
                                      calendar_view({}, {}, false, on),
                                      receipt_view(test::receipt(), on),
                                      receipt_view(late, on),
                                      wallet_view(test::wallet(), on),
                                      wallet_view(poor, on)};
    for (const auto& job : test::ill().jobs) {
      views.push_back(job_view(job, on));
    }
    for (const auto& view : views) {
      INFO(width << "\n" << view);
      CHECK(test::width_of(view) <= width);
    }
  }
}

TEST_CASE("colour changes nothing but the colour") {
  auto colored = screen();
  colored.color = true;
  std::string plain;
  const std::string text = status_view(test::ill(), colored);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      i = text.find('m', i);
    } else {
      plain += text[i];
    }
  }
  CHECK(plain == status_view(test::ill(), screen()));
  CHECK_THAT(text, ContainsSubstring("\x1b[1;31mfailing\x1b[0m"));
}

TEST_CASE("jobs with their schedules, and the zone that all are of is told once") {
  CHECK(jobs_view(test::ill().jobs, screen()) ==
        R"(  JOB               SCHEDULE        LAST RUN   OUTCOME      TOOK  NEXT RUN
● presence_cleanup  every 5m        108 s ago  succeeded   28 ms  in 3 min
! coin_deduction    every 1m        18 s ago   succeeded   35 ms  retrying 60 s
○ call_cleanup      every 10m       108 s ago  succeeded   47 ms  paused
× badge_assignment  daily at 00:01  8 h ago    timed out  31 min  in 14 h
○ log_rotation      daily at 01:00  -          -               -  in 15 h

5 jobs. Times are of Asia/Kolkata.
)");
}

TEST_CASE("a job in full: the run in progress and the last one") {
  CHECK(job_view(test::ill().jobs[1], screen()) == R"(! coin_deduction
       Kind: coin_deduction
   Schedule: every 1m
      State: retrying for 60 s, try 4
             run 7b0f64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d of 2026-11-22 09:11:00
   Next run: -
   Last run: succeeded, Sun 2026-11-22 09:11:41 IST; 18 s ago
             7 calls charged, 170 coins; 1 ended, balance used up
             took 35 ms, 1 try; was due at 2026-11-22 09:11:41
             run 0d1c64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d
     Counts: charged=7 coins=1170 ended=1
    Success: last one Sun 2026-11-22 09:11:41 IST; 18 s ago
 Time limit: 10 min
)");
}

TEST_CASE("a job in full: paused, never run, late") {
  const auto jobs = test::ill().jobs;
  CHECK_THAT(job_view(jobs[2], screen()),
             ContainsSubstring("     Paused: by root, since Sun 2026-11-22 09:00:00 IST; "
                               "12 min ago\n"
                               "             its ticks end as skipped until: saathiictl resume "
                               "call_cleanup\n"));
  CHECK_THAT(job_view(jobs[4], screen()), ContainsSubstring("   Last run: none is known\n"
                                                            "    Success: none is known\n"));
  CHECK_THAT(job_view(jobs[3], screen()),
             ContainsSubstring("took 31 min, 3 tries; was due at 2026-11-22 00:01:00\n"));
  CHECK_THAT(job_view(jobs[3], screen()),
             ContainsSubstring("the next one was due by Sun 2026-11-22 09:01:00 IST; 11 "
                               "min ago\n"));
  auto soon = jobs[3];
  soon.success_deadline = test::now + std::chrono::hours{1};
  CHECK_THAT(job_view(soon, screen()),
             ContainsSubstring("the next one is due by Sun 2026-11-22 10:12:00 IST; in 60 min\n"));
}

TEST_CASE("health in a line, and what is wrong") {
  CHECK(health_view({"ok", {}}, screen()) == "● ok\n");
  CHECK(health_view(test::ill().health, screen()) ==
        "× failing\n"
        "   Findings: × postgres: down for 3 min: connection refused\n"
        "             ! job call_cleanup: is paused since 09:00\n");
}

TEST_CASE("history: what went wrong has room, ranges say how far they reach") {
  CHECK(history_view(test::outcomes(), 50, false, screen()) ==
        R"(  WHEN                 JOB               OUTCOME      TOOK  WHAT HAPPENED
● 2026-11-22 09:11:00  coin_deduction    succeeded   35 ms  7 calls charged, 17…
! 2026-11-22 06:40:00  call_cleanup      missed          -  15 ticks until
                                                            2026-11-22 09:00:00:
                                                            the daemon was not
                                                            running
× 2026-11-22 00:01:00  badge_assignment  timed out  30 min  after 3 tries: took
                                                            longer than 30 min

3 outcomes, newest first. Times are of Asia/Kolkata.
)");
}

TEST_CASE("history of one job, of none, and where there is more") {
  auto runs = test::outcomes();
  runs.resize(1);
  CHECK(history_view(runs, 1, true, screen()) ==
        R"(  WHEN                 OUTCOME     TOOK  WHAT HAPPENED
● 2026-11-22 09:11:00  succeeded  35 ms  7 calls charged, 170 coins; 1 ended, b…

1 outcome, newest first; there may be more (-n). Times are of Asia/Kolkata.
)");
  CHECK(history_view({}, 50, false, screen()) == "No outcome is recorded for that.\n");
  auto bare = screen();
  bare.legend = false;
  CHECK(history_view({}, 50, false, bare).empty());
}

TEST_CASE("the calendar tells each tick in its schedule's zone") {
  const std::vector<Tick> ticks = {
      {at("2026-11-22T03:43:00Z"), "coin_deduction", "Asia/Kolkata", false},
      {at("2026-11-22T19:30:00Z"), "log_rotation", "Europe/Berlin", true},
      {at("2026-11-22T19:44:00Z"), "coin_deduction", "Asia/Kolkata", false}};
  std::vector<Job> jobs = {test::well().jobs[1], test::well().jobs[4]};
  jobs[1].paused = true;
  CHECK(calendar_view(ticks, jobs, false, screen()) ==
        R"(TICK                         IN       JOB             ZONE
Sun 2026-11-22 09:13:00 IST  in 60 s  coin_deduction  Asia/Kolkata
Sun 2026-11-22 20:30:00 CET  in 15 h  log_rotation    Europe/Berlin
Mon 2026-11-23 01:14:00 IST  in 16 h  coin_deduction  Asia/Kolkata

! log_rotation is paused: its ticks will end as skipped.
)");
  CHECK_THAT(
      calendar_view(ticks, jobs, true, screen()),
      ContainsSubstring("Mon 2026-11-23 01:00:00 IST  in 15 h  log_rotation    Asia/Kolkata"));
  CHECK_THAT(calendar_view({{at("2026-11-22T03:43:00Z"), "a", "Nowhere/At_All", false}}, {}, false,
                           screen()),
             ContainsSubstring("09:13:00 IST  in 60 s  a    Asia/Kolkata"));
  CHECK(calendar_view({}, {}, false, screen()) == "No tick is to come.\n");
}

TEST_CASE("a receipt") {
  CHECK(receipt_view(test::receipt(), screen()) == R"(Receipt of call 4711: video, dropped
     Caller: user 17
   Listener: user 88
    Started: Sun 2026-11-22 09:04:57 IST
      Ended: Sun 2026-11-22 09:09:05 IST, after 4 min 8 s

  MIN  STARTED   CHARGED   BY        COINS  BEFORE  AFTER
    1  09:04:57  -         api          60       -      -
    2  09:05:57  09:06:00  saathiid     60   1,240  1,180
    3  09:06:57  09:07:00  saathiid     60   1,180  1,120
    4  09:07:57  09:08:00  waived        0   1,120  1,120  not charged
    5  09:08:57  09:09:00  saathiid     60   1,120  1,060
    6  09:09:57  09:10:00  saathiid     60   1,060  1,000  given back 09:11:12

       Paid: 4 minutes, 240 coins (60 by the API, 180 by saathiid)
 Given back: 1 minute, 60 coins: they began after the call had ended
     Waived: 1 minute, by charge_catch_up_limit
       Cost: 240 coins, as the call's row says
    Settled: Sun 2026-11-22 09:11:12 IST by saathiid, which ended the call:
             neither party was seen any more
     Earned: ₹ 28.00 by user 88, for 4 minutes (240 coins)
)");
}

TEST_CASE("the receipt of a call over midnight, with what was given back the day after") {
  auto receipt = test::receipt();
  receipt.start_time = at("2026-11-22T18:28:57Z");
  for (auto& minute : receipt.minutes) {
    minute.starts_at = *receipt.start_time + std::chrono::minutes{minute.number - 1};
    minute.charged_at = minute.starts_at + std::chrono::seconds{3};
  }
  receipt.minutes[5].refunded_at = at("2026-11-22T18:46:00Z");
  const auto text = receipt_view(receipt, screen());
  CHECK_THAT(text, ContainsSubstring("    2  23:59:57     +1 00:00:00  saathiid"));
  CHECK_THAT(text, ContainsSubstring("  1,000  given back +1\n"));
  CHECK_THAT(text, ContainsSubstring("                00:16:00\n"));
}

TEST_CASE("a receipt that does not add up says so") {
  auto receipt = test::receipt();
  receipt.coins_spent = 300;
  CHECK_THAT(receipt_view(receipt, screen(120)),
             ContainsSubstring("240 coins by its minutes, but 300 by the call's row: they do not "
                               "agree"));
}

TEST_CASE("the receipt of a call that goes on, charged late or not at all") {
  auto receipt = test::receipt();
  receipt.status = "ongoing";
  receipt.end_time.reset();
  receipt.settlement.reset();
  receipt.minutes[1].charged_at = at("2026-11-22T18:30:00Z");
  auto text = receipt_view(receipt, screen());
  CHECK_THAT(text, ContainsSubstring("      Ended: not yet; it goes on for 7 min\n"));
  CHECK_THAT(text, ContainsSubstring("  +1 00:00:00  saathiid"));
  CHECK_THAT(text, ContainsSubstring("    Settled: not yet\n"));
  receipt.minutes.clear();
  receipt.coins_spent = 60;
  text = receipt_view(receipt, screen());
  CHECK_THAT(text, ContainsSubstring("60 coins to the API; saathiid has charged no minute"));
  receipt.status = "completed";
  CHECK_THAT(receipt_view(receipt, screen()), ContainsSubstring("by the platform's API"));
}

TEST_CASE("the receipt of a call of which next to nothing is known") {
  Receipt receipt;
  receipt.call_id = 1;
  CHECK(receipt_view(receipt, screen()) ==
        "Receipt of call 1: ?, ?\n"
        "     Caller: unknown\n"
        "   Listener: unknown\n"
        "    Started: unknown\n"
        "\n"
        "       Paid: 0 coins to the API; saathiid has charged no minute of this call\n"
        "    Settled: by the platform's API, which ended the call\n");
}

TEST_CASE("a wallet") {
  CHECK(wallet_view(test::wallet(), screen()) == R"(Wallet of user 17
    Balance: 1,060 coins
To withdraw: ₹ 28.00
    In call: 4711, 4712

  WHEN                         WHAT   COINS  RUPEES
  Sun 2026-11-22 09:11:12 IST  spend    +60       -
  Sun 2026-11-22 09:11:00 IST  spend    -60       -
  Sat 2026-11-21 15:30:00 IST  earn       -   28.00
  -                            -          -       -
)");
  auto wallet = test::wallet();
  wallet.entries.clear();
  wallet.ongoing_calls.clear();
  wallet.balance_coins = 1;
  CHECK(wallet_view(wallet, screen()) ==
        "Wallet of user 17\n    Balance: 1 coin\nTo withdraw: ₹ 28.00\n\nNo transaction is "
        "recorded.\n");
}

TEST_CASE("a reload tells what took effect and what waits") {
  CHECK(reloaded_view({{"rates.audio", "log.level"}, {"postgres.url"}, 112}, screen()) ==
        R"(The configuration was read and is in force.
   took effect  rates.audio
                log.level
 needs restart  postgres.url
     unchanged  112 keys
! What needs a restart holds after: systemctl restart saathiid
)");
  CHECK(reloaded_view({{}, {}, 1}, screen()) ==
        "The configuration was read: nothing has changed.\n     unchanged  1 key\n");
}

TEST_CASE("how a run ended, in a line") {
  using std::chrono::milliseconds;
  CHECK(ending_view({"coin_deduction", "x", "succeeded", "7 calls charged", {}, milliseconds{34}},
                    screen()) == "● coin_deduction succeeded in 34 ms: 7 calls charged\n");
  CHECK(ending_view({"a", "x", "timed_out", "", {{"done", 7}}, milliseconds{1500}}, screen()) ==
        "× a timed out in 1 s: done=7\n");
  CHECK(ending_view({"a", "", "skipped", "", {}, {}}, screen()) == "! a skipped\n");
}

TEST_CASE("what is told while a run is waited for") {
  auto job = test::ill().jobs[1];
  const auto waited = std::chrono::seconds{5};
  CHECK(progress_view(job, job.run_id, waited, screen()) ==
        "! coin_deduction retrying for 60 s, try 4");
  CHECK(progress_view(job, "mine", waited, screen()) ==
        "↻ coin_deduction waits for the run in progress to end, 5 s");
  job.run_id.clear();
  CHECK(progress_view(job, "mine", waited, screen()) == "↻ coin_deduction is about to run, 5 s");
  CHECK(columns_of(progress_view(job, "mine", waited, screen(30))) <= 29);
}
