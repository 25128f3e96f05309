#include "saathii/alert/message.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "saathii/base/counted.hpp"

namespace saathii::alert {

namespace {

constexpr std::size_t max_title_bytes = 150;
constexpr std::size_t max_reason_bytes = 2000;
constexpr std::size_t max_name_bytes = 100;

using Event = Message::Event;

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f;
}

/// Of the UTF-8 character that the text begins with; 0: it begins with none.
std::size_t character_bytes(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::size_t length = byte(0) < 0x80                      ? 1
                             : byte(0) >= 0xC2 && byte(0) < 0xE0 ? 2
                             : byte(0) >= 0xE0 && byte(0) < 0xF0 ? 3
                             : byte(0) >= 0xF0 && byte(0) < 0xF5 ? 4
                                                                 : 0;
  if (length > text.size()) {
    return 0;
  }
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) {
      return 0;
    }
  }
  return length;
}

bool is(const Message& message, Kind kind) {
  return message.kinds.size() == 1 && message.kinds.front() == kind;
}

std::string local_time(Instant moment, TimeZone zone) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(moment);
  if (zone == nullptr) {
    return to_iso8601(seconds);
  }
  const auto local = zone->to_local(seconds);
  const auto days = std::chrono::floor<std::chrono::days>(local);
  const std::chrono::year_month_day date{std::chrono::sys_days{days.time_since_epoch()}};
  const std::chrono::hh_mm_ss time{local - days};
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} {}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     time.hours().count(), time.minutes().count(), time.seconds().count(),
                     zone->name());
}

std::string times(std::uint64_t count) {
  return count == 1 ? "once" : fmt::format("{} times", count);
}

/// What the title says happened, without the reason.
std::string headline(const Message& message) {
  const std::string name = one_line(message.subject, max_name_bytes);
  const bool again = message.event == Event::repeated;
  switch (message.event) {
    case Event::test:
      return "test of the alerts";
    case Event::held_back:
      return counted(message.times, "alert") + " held back";
    case Event::recovered:
      return name + " recovered";
    case Event::opened:
    case Event::repeated:
      break;
  }
  switch (message.kinds.empty() ? Kind::unhealthy : message.kinds.front()) {
    case Kind::failed:
      if (again) {
        return name + " is still failing";
      }
      return name + (message.outcome == schedule::Outcome::timed_out ? " timed out" : " failed");
    case Kind::missed:
      return fmt::format("{} {}missed {}", name, again ? "still has " : "",
                         counted(message.times, "run"));
    case Kind::long_running:
      return fmt::format("{} is {}running for long", name, again ? "still " : "");
    case Kind::stuck:
      return fmt::format("{} is {}stuck", name, again ? "still " : "");
    case Kind::unhealthy:
      break;
  }
  return fmt::format("{} is {}failing", name, again ? "still " : "");
}

/// What saathiid does about it by itself.
std::string what_now(const Message& message) {
  switch (message.event) {
    case Event::test:
      return "This is what an alert looks like. Nothing is wrong, and nothing is to be done.";
    case Event::held_back:
      return "They are sent as soon as fewer are, unless they are over by then.";
    case Event::recovered:
      return "Nothing is to be done.";
    case Event::opened:
    case Event::repeated:
      break;
  }
  switch (message.kinds.empty() ? Kind::unhealthy : message.kinds.front()) {
    case Kind::failed:
      return "Nothing half-done is left: every batch is one transaction. The next run takes up "
             "what this one left.";
    case Kind::missed:
      return "These runs are not made up for. Later ones run as planned.";
    case Kind::long_running:
      return fmt::format("The run goes on until its time limit. It was to take less than {}.",
                         humanize(message.limit));
    case Kind::stuck:
      return "The job's other runs wait for it. Other jobs go on, but the watchdog is no longer "
             "fed: systemd restarts saathiid if the run does not come back.";
    case Kind::unhealthy:
      break;
  }
  return "saathiid goes on with what it can do, and tries the rest again.";
}

std::vector<std::string> commands(const Message& message) {
  if (message.event == Event::test || message.event == Event::recovered) {
    return {};
  }
  std::vector<std::string> lines;
  if (message.event == Event::held_back || is(message, Kind::unhealthy)) {
    lines.emplace_back("saathiictl health");
  } else {
    lines.push_back("saathiictl show " + one_line(message.subject, max_name_bytes));
  }
  lines.push_back(message.run_id.empty() ? "journalctl -u saathiid -p warning --since -1h"
                                         : "journalctl -u saathiid RUN_ID=" + message.run_id);
  return lines;
}

void add_facts(const Message& message, TimeZone zone, std::string& body) {
  const auto add = [&](std::string_view name, const std::string& value) {
    body += fmt::format("{:<12}{}\n", fmt::format("{}:", name), value);
  };
  if (message.event != Event::test && message.event != Event::held_back) {
    add("Since", local_time(message.since, zone));
  }
  add(message.event == Event::recovered ? "Over" : "At", local_time(message.at, zone));
  if (message.event != Event::held_back && message.event != Event::test &&
      !is(message, Kind::unhealthy)) {
    add("Happened", message.event == Event::repeated
                        ? fmt::format("{}, {} since the last alert", times(message.times),
                                      message.times_new == 0 ? "not" : times(message.times_new))
                        : times(message.times));
  }
  if (message.flaps > 0) {
    add("In between", fmt::format("came and went {}", times(message.flaps)));
  }
  if (message.scheduled_at) {
    add("Tick", local_time(*message.scheduled_at, zone));
  }
  if (!message.run_id.empty()) {
    add("Run", message.run_id);
  }
  if (message.next_run) {
    add("Next run", local_time(*message.next_run, zone));
  }
}

}  // namespace

std::string_view to_string(Event event) {
  switch (event) {
    case Event::opened:
      return "opened";
    case Event::repeated:
      return "repeated";
    case Event::recovered:
      return "recovered";
    case Event::held_back:
      return "held_back";
    case Event::test:
      break;
  }
  return "test";
}

std::string one_line(std::string_view text, std::size_t max_bytes) {
  std::string line;
  line.reserve(std::min(text.size(), max_bytes));
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = character_bytes(text.substr(i));
    if (line.size() + std::max<std::size_t>(length, 1) > max_bytes) {
      return line + "…";
    }
    if (length == 0) {
      line += '?';
    } else if (is_control(text[i])) {
      line += ' ';
    } else {
      line += text.substr(i, length);
    }
    i += std::max<std::size_t>(length, 1);
  }
  return line;
}

Letter write_letter(Message message, const Sender& sender) {
  Letter letter;
  letter.host = sender.host;
  message.reason = one_line(message.reason, max_reason_bytes);
  const std::string head = headline(message);
  const std::string reason = message.reason.empty() ? "" : ": " + message.reason;
  letter.title =
      one_line(fmt::format("[saathiid@{}] {}{}", sender.host, head, reason), max_title_bytes);
  letter.body = fmt::format("{}{}\n\n", head, reason);
  add_facts(message, sender.zone, letter.body);
  for (const std::string& held : message.held) {
    letter.body += "  " + one_line(held, max_name_bytes) + "\n";
  }
  letter.body += "\n" + what_now(message) + "\n";
  if (const auto lines = commands(message); !lines.empty()) {
    letter.body += fmt::format("\nLook with:\n  {}\n", fmt::join(lines, "\n  "));
  }
  letter.message = std::move(message);
  return letter;
}

std::string to_json(const Letter& letter) {
  const Message& message = letter.message;
  const auto moment = [](const std::optional<Instant>& at) {
    return at ? nlohmann::ordered_json(to_iso8601(*at)) : nlohmann::ordered_json(nullptr);
  };
  auto kinds = nlohmann::ordered_json::array();
  for (const Kind kind : message.kinds) {
    kinds.push_back(to_string(kind));
  }
  const bool is_job = !message.subject.empty() && !is(message, Kind::unhealthy);
  const nlohmann::ordered_json json = {
      {"text", letter.title + "\n" + letter.body},
      {"event", to_string(message.event)},
      {"kinds", std::move(kinds)},
      {"subject", message.subject},
      {"job", is_job ? nlohmann::ordered_json(message.subject) : nlohmann::ordered_json(nullptr)},
      {"host", letter.host},
      {"title", letter.title},
      {"reason", message.reason},
      {"alerts", message.alerts},
      {"at", to_iso8601(message.at)},
      {"since", to_iso8601(message.since)},
      {"times", message.times},
      {"run_id", message.run_id},
      {"scheduled_at", moment(message.scheduled_at)},
      {"next_run", moment(message.next_run)}};
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace saathii::alert
