#include <nlohmann/json.hpp>
#include <string>

#include "catch.hpp"
#include "saathii/alert/message.hpp"

using namespace saathii;
using namespace saathii::alert;

namespace {

const Sender sender{"db1", tz::locate_zone("Asia/Kolkata")};

Message failure() {
  Message message;
  message.alerts = {"coin_deduction.failed.1"};
  message.kinds = {Kind::failed};
  message.subject = "coin_deduction";
  message.reason = "deadlock detected";
  message.since = *parse_iso8601("2026-11-22T03:31:05Z");
  message.at = message.since;
  message.outcome = schedule::Outcome::failed;
  message.run_id = "6a5f";
  message.scheduled_at = *parse_iso8601("2026-11-22T03:31:00Z");
  message.next_run = *parse_iso8601("2026-11-22T03:32:00Z");
  return message;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a failure in words: what, since when, what happens now, what to do") {
  const Letter letter = write_letter(failure(), sender);
  CHECK(letter.title == "[saathiid@db1] coin_deduction failed: deadlock detected");
  CHECK(letter.body ==
        "coin_deduction failed: deadlock detected\n"
        "\n"
        "Since:      2026-11-22 09:01:05 Asia/Kolkata\n"
        "At:         2026-11-22 09:01:05 Asia/Kolkata\n"
        "Happened:   once\n"
        "Tick:       2026-11-22 09:01:00 Asia/Kolkata\n"
        "Run:        6a5f\n"
        "Next run:   2026-11-22 09:02:00 Asia/Kolkata\n"
        "\n"
        "Nothing half-done is left: every batch is one transaction. The next run takes up what "
        "this one left.\n"
        "\n"
        "Look with:\n"
        "  saathiictl show coin_deduction\n"
        "  journalctl -u saathiid RUN_ID=6a5f\n");
}

TEST_CASE("each kind and event has its words") {
  const auto title = [](Kind kind, Message::Event event = Message::Event::opened) {
    Message message = failure();
    message.kinds = {kind};
    message.event = event;
    message.reason.clear();
    message.times = 3;
    message.limit = std::chrono::minutes{8};
    const std::string whole = write_letter(message, sender).title;
    return whole.substr(whole.find(' ') + 1);
  };
  using Event = Message::Event;
  CHECK(title(Kind::failed) == "coin_deduction failed");
  CHECK(title(Kind::failed, Event::repeated) == "coin_deduction is still failing");
  CHECK(title(Kind::failed, Event::recovered) == "coin_deduction recovered");
  CHECK(title(Kind::missed) == "coin_deduction missed 3 runs");
  CHECK(title(Kind::missed, Event::repeated) == "coin_deduction still has missed 3 runs");
  CHECK(title(Kind::long_running) == "coin_deduction is running for long");
  CHECK(title(Kind::stuck) == "coin_deduction is stuck");
  CHECK(title(Kind::unhealthy) == "coin_deduction is failing");
  CHECK(title(Kind::unhealthy, Event::repeated) == "coin_deduction is still failing");
  CHECK(title(Kind::failed, Event::held_back) == "3 alerts held back");
  CHECK(title(Kind::failed, Event::test) == "test of the alerts");
  Message timed_out = failure();
  timed_out.outcome = schedule::Outcome::timed_out;
  CHECK(has(write_letter(timed_out, sender).title, "coin_deduction timed out"));
}

TEST_CASE("how often, and what came and went in between") {
  Message message = failure();
  message.event = Message::Event::repeated;
  message.times = 241;
  message.times_new = 240;
  message.flaps = 2;
  const Letter letter = write_letter(message, sender);
  CHECK(has(letter.body, "Happened:   241 times, 240 times since the last alert\n"));
  CHECK(has(letter.body, "In between: came and went 2 times\n"));
}

TEST_CASE("what is held back is listed") {
  Message message;
  message.event = Message::Event::held_back;
  message.times = 2;
  message.held = {"a failed", "b stuck"};
  const Letter letter = write_letter(message, sender);
  CHECK(has(letter.body, "  a failed\n  b stuck\n"));
}

TEST_CASE("JSON has every fact, and survives any bytes") {
  Message message = failure();
  message.reason = "line\nbreak \xFF \"quote\" \xE2\x82\xB9 5";
  const Letter letter = write_letter(message, sender);
  const auto json = nlohmann::json::parse(to_json(letter));
  CHECK(json["event"] == "opened");
  CHECK(json["kinds"] == nlohmann::json{"failed"});
  CHECK(json["job"] == "coin_deduction");
  CHECK(json["host"] == "db1");
  CHECK(json["reason"] == "line break ? \"quote\" \xE2\x82\xB9 5");
  CHECK(json["since"] == "2026-11-22T03:31:05Z");
  CHECK(json["next_run"] == "2026-11-22T03:32:00Z");
  CHECK(json["text"] == letter.title + "\n" + letter.body);
  message.kinds = {Kind::unhealthy};
  message.next_run.reset();
  const auto health = nlohmann::json::parse(to_json(write_letter(message, sender)));
  CHECK(health["job"].is_null());
  CHECK(health["next_run"].is_null());
}

TEST_CASE("one line of bounded length, whole characters only") {
  CHECK(one_line("a\r\nb\tc", 10) == "a  b c");
  CHECK(one_line("abcdef", 6) == "abcdef");
  CHECK(one_line("abcdefg", 6) == "abcdef…");
  CHECK(one_line("ab\xE2\x82\xB9", 4) == "ab…");
  CHECK(one_line("\xE2\x82", 9) == "??");
  CHECK(one_line("\xC0\x80\xF5", 9) == "???");
  Message message = failure();
  message.reason = std::string(5000, 'x');
  const Letter letter = write_letter(message, sender);
  CHECK(letter.title.size() <= 153);
  CHECK(letter.body.size() < 3000);
}
