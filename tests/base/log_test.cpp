#include "saathii/log/log.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <regex>
#include <thread>

#include "capture_stderr.hpp"
#include "catch.hpp"
#include "saathii/log/event.hpp"
#include "saathii/log/fold.hpp"

using namespace std::chrono_literals;
namespace log_ = saathii::log;

namespace {

std::string line(std::string_view message, std::vector<log_::Field> fields = {}) {
  return log_::to_line({log_::Level::info, message, std::move(fields)});
}

std::size_t lines_in(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

TEST_CASE("levels are read by name") {
  log_::Level level = log_::Level::error;
  CHECK(log_::parse_level("Debug", level));
  CHECK(level == log_::Level::debug);
  CHECK(log_::parse_level("WARNING", level));
  CHECK(level == log_::Level::warning);
  CHECK_FALSE(log_::parse_level("loud", level));
  CHECK_FALSE(log_::parse_level("", level));
  CHECK(level == log_::Level::warning);
}

TEST_CASE("a line holds the message and its fields") {
  CHECK(line("ready") == "ready");
  CHECK(line("done", {{"JOB", "coin_deduction"}, {"CALL_ID", "7"}}) ==
        "done JOB=coin_deduction CALL_ID=7");
  CHECK(line("done", {{"REASON", "two words"}, {"EMPTY", ""}}) ==
        "done REASON=\"two words\" EMPTY=\"\"");
  CHECK(line("done", {{"REASON", "a\"b\\c"}}) == "done REASON=\"a\\\"b\\\\c\"");
  CHECK(line("done", {{"REASON", "x JOB=forged"}}) == "done REASON=\"x JOB=forged\"");
}

TEST_CASE("no text of others makes a line of its own or commands a terminal") {
  CHECK(line("a\nerror forged") == "a\\nerror forged");
  CHECK(line("a\r\tb") == "a\\r\\tb");
  CHECK(line("\x1b[2J") == "\\x1b[2J");
  CHECK(line(std::string_view("nul\0nul", 7)) == "nul\\x00nul");
  CHECK(line("c1 \xc2\x9b") == "c1 \\xc2\\x9b");
  CHECK(line("\x9b raw") == "\\x9b raw");
  CHECK(line("cut \xe2\x82") == "cut \\xe2\\x82");
  CHECK(line("sep\u2028") == "sep\\xe2\\x80\\xa8");
  CHECK(line("साथी ₹5 é") == "साथी ₹5 é");
  CHECK(line("v", {{"V", "x\ny"}}) == "v V=\"x\\ny\"");
  CHECK(line("v", {{"A\nB", "1"}}) == "v A\\nB=1");
}

TEST_CASE("texts are cut off at their limit") {
  const std::string cut = line(std::string(3 * log_::max_text_bytes, 'x'));
  CHECK(cut == std::string(log_::max_text_bytes, 'x') + "…");
  const auto sent = log_::to_journal({log_::Level::info,
                                      std::string(3 * log_::max_text_bytes, 'x'),
                                      {{"V", std::string(3 * log_::max_text_bytes, 'y')}}});
  CHECK(sent[0] == "MESSAGE=" + std::string(log_::max_text_bytes, 'x') + "…");
  CHECK(sent[3] == "V=" + std::string(log_::max_text_bytes, 'y') + "…");
}

TEST_CASE("the journal gets each field as its own") {
  using Lines = std::vector<std::string>;
  CHECK(log_::to_journal({log_::Level::warning, "a\nb", {{"JOB", "x=y"}}}) ==
        Lines{"MESSAGE=a\nb", "PRIORITY=4", "SYSLOG_IDENTIFIER=saathiid", "JOB=x=y"});
  const log_::Event known{log_::Level::info, "m", {{"JOB", "x"}}, log_::Message::run_failed};
  CHECK(log_::to_journal(known) ==
        Lines{"MESSAGE=m", "PRIORITY=6", "SYSLOG_IDENTIFIER=saathiid",
              "MESSAGE_ID=" + std::string(log_::id_of(log_::Message::run_failed)), "JOB=x"});
  CHECK(log_::to_line(known) == "m JOB=x");
  CHECK(log_::to_journal({log_::Level::error, "m", {}})[1] == "PRIORITY=3");
  CHECK(log_::to_journal({log_::Level::info, "m", {}})[1] == "PRIORITY=6");
  CHECK(log_::to_journal({log_::Level::trace, "m", {}})[1] == "PRIORITY=7");
  for (const char* name : {"", "_HOSTNAME", "lower", "A=B", "1A", "A B", "Ä"}) {
    INFO(name);
    CHECK(log_::to_journal({log_::Level::info, "m", {{name, "v"}}}).size() == 3);
  }
}

TEST_CASE("the journal's stream is known by device and inode") {
  const CaptureStderr capture;
  struct stat status {};
  REQUIRE(::fstat(capture.fd(), &status) == 0);
  const std::string right = std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
  CHECK(log_::is_journal_stream(capture.fd(), right.c_str()));
  CHECK_FALSE(log_::is_journal_stream(capture.fd(), (right + "0").c_str()));
  CHECK_FALSE(log_::is_journal_stream(capture.fd(), (right + " ").c_str()));
  CHECK_FALSE(log_::is_journal_stream(-1, right.c_str()));
  CHECK_FALSE(log_::is_journal_stream(capture.fd(), nullptr));
  for (const char* bad : {"", ":", "1", "1:", ":1", "a:b", "-1:-1"}) {
    CHECK_FALSE(log_::is_journal_stream(capture.fd(), bad));
  }
}

TEST_CASE("events go to stderr, with the fields of the thread's scope") {
  const CaptureStderr capture;
  log_::set_level(log_::Level::info);
  log_::debug("not written");
  {
    const log_::Scope run({{"JOB", "coin_deduction"}, {"RUN_ID", "r1"}});
    {
      const log_::Scope inner({{"RUN_ID", "r2"}});
      log_::info("charged", {{"CALL_ID", "7"}});
      std::thread([] { log_::info("elsewhere"); }).join();
    }
    log_::info("overridden", {{"JOB", "other"}});
  }
  log_::info("outside");
  const std::string time = R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info )";
  const std::regex expected(time + "charged JOB=coin_deduction RUN_ID=r2 CALL_ID=7\n" + time +
                            "elsewhere\n" + time + "overridden RUN_ID=r1 JOB=other\n" + time +
                            "outside\n");
  const std::string text = capture.text();
  INFO(text);
  CHECK(std::regex_match(text, expected));
}

TEST_CASE("a repeated warning is folded, an info and a change of state are not") {
  const CaptureStderr capture;
  log_::set_level(log_::Level::info);
  for (int i = 0; i < 100; ++i) {
    log_::warning("folded warning", {{"RUN_ID", std::to_string(i)}});
  }
  const std::string warnings = capture.text();
  CHECK(lines_in(warnings) == 3);
  CHECK(warnings.find("folded warning RUN_ID=0\n") != std::string::npos);
  CHECK(warnings.find("folded warning (repeated 10 times) RUN_ID=9\n") != std::string::npos);
  CHECK(warnings.find("folded warning (repeated 100 times) RUN_ID=99\n") != std::string::npos);
  for (int i = 0; i < 5; ++i) {
    log_::info("each one");
    log_::write_unfolded(log_::Level::warning, "folded warning");
  }
  log_::warning("folded warning", {{"JOB", "another"}});
  log_::error("folded warning");
  CHECK(lines_in(capture.text()) == 3 + 5 + 5 + 2);
}

TEST_CASE("the fold writes the first, powers of ten, and once an hour") {
  log_::Fold fold;
  log_::Fold::Time now{};
  std::vector<std::uint64_t> written;
  for (int i = 0; i < 2000; ++i) {
    if (const auto times = fold.count("k", now += 1s); times != 0) {
      written.push_back(times);
    }
  }
  CHECK(written == std::vector<std::uint64_t>{1, 10, 100, 1000});
  written.clear();
  for (int i = 0; i < 50; ++i) {
    if (const auto times = fold.count("k", now += 5min); times != 0) {
      written.push_back(times);
    }
  }
  // The thousandth came 1000 s before; then every twelfth, at five minutes each.
  CHECK(written == std::vector<std::uint64_t>{2009, 2021, 2033, 2045});
}

TEST_CASE("a fault that stayed away is a new one") {
  log_::Fold fold;
  log_::Fold::Time now{};
  CHECK(fold.count("k", now) == 1);
  CHECK(fold.count("k", now += log_::Fold::forgotten_after) == 0);
  CHECK(fold.count("k", now += log_::Fold::forgotten_after + 1s) == 1);
}

TEST_CASE("the fold's memory is bounded, the oldest is forgotten") {
  log_::Fold fold;
  log_::Fold::Time now{};
  CHECK(fold.count("kept", now += 1ms) == 1);
  for (int i = 0; i < 5000; ++i) {
    CHECK(fold.count("other " + std::to_string(i), now += 1ms) == 1);
    const auto times = fold.count("kept", now += 1ms);
    CHECK((times == 0 || times == 10 || times == 100 || times == 1000));
  }
  CHECK(fold.size() == log_::Fold::max_keys);
  const std::string head(log_::Fold::max_key_bytes, 'x');
  CHECK(fold.count(head + "a", now) == 1);
  CHECK(fold.count(head + "b", now) == 0);
}

TEST_CASE("threads write whole lines") {
  const CaptureStderr capture;
  log_::set_level(log_::Level::info);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      const log_::Scope scope({{"T", std::to_string(t)}});
      for (int i = 0; i < 100; ++i) {
        log_::info("whole");
        log_::warning("folded by four threads " + std::to_string(t));
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  const std::string text = capture.text();
  CHECK(lines_in(text) == std::size_t{4} * (100 + 3));
  const std::regex whole(
      R"([^ ]+ (info whole|warning folded by four threads \d( \(repeated \d+ times\))?) T=\d)");
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    CHECK(std::regex_match(text.substr(begin, end - begin), whole));
    begin = end + 1;
  }
}
