// What comes over the bus and from a shell: arguments of the D-Bus methods, command
// lines of saathiictl, moments as people write them, and text on its way to a terminal.

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "control/refusal.hpp"
#include "control/wire.hpp"
#include "ctl/command_line.hpp"
#include "ctl/moments.hpp"
#include "ctl/text.hpp"
#include "ctl/words.hpp"
#include "fuzz.hpp"
#include "saathii/base/utf8.hpp"
#include "saathii/config/nearest.hpp"
#include "saathii/log/log.hpp"
#include "saathii/schedule/local_time.hpp"
#include "saathii/schedule/planner.hpp"

namespace {

using saathii::Duration;
using saathii::Instant;
using saathii::fuzz::Input;
using saathii::fuzz::require;

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = saathii::utf8_length(text);
    if (length == 0 || text.front() == '\0') {
      return false;
    }
    text.remove_prefix(length);
  }
  return true;
}

void check_names(std::string_view text) {
  const auto word = text.substr(0, 63);  // longer ones are refused before
  try {
    const auto outcome = saathii::schedule::to_outcome(word);
    require(saathii::schedule::to_string(outcome) == word, "an outcome reads back", word);
  } catch (const std::invalid_argument&) {
  }
  auto level = saathii::log::Level::info;
  if (saathii::log::parse_level(word, level)) {
    auto again = saathii::log::Level::info;
    require(saathii::log::parse_level(saathii::log::to_string(level), again) && again == level,
            "a level reads back", word);
  }
  const std::vector<std::string_view> known = {"billing", "log_rotation", "call_cleanup"};
  const auto near = saathii::config::nearest(word, known);
  require(near.empty() || std::find(known.begin(), known.end(), near) != known.end(),
          "the nearest name is one", word);
  require(!saathii::config::no_such_job(word, known).empty(), "an unknown job is told", word);
}

void check_wire(Input input) {
  using saathii::control::Refusal;
  const std::uint64_t any = Input(input).word();
  try {
    const auto moment = saathii::control::wire::read_moment(any, "at");
    require(saathii::control::wire::moment(moment) == any, "a moment comes back");
    if (moment) {
      const auto text = saathii::to_iso8601(*moment);
      require(saathii::parse_iso8601(text) == moment, "a moment can be told", text);
    }
  } catch (const Refusal& refusal) {
    require(std::string_view(refusal.name()) == "InvalidArgument", "a wrong argument is one");
  }
  const auto text = saathii::control::wire::text(input.rest());
  require(is_utf8(text), "the bus takes it", text);
  require(saathii::control::wire::text(text) == text, "what the bus takes stays as it is", text);
}

void check_command_line(std::string_view text) {
  std::vector<std::string> words = {"saathiictl"};
  while (!text.empty() && words.size() < 16) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto word = text.substr(0, end);
    words.emplace_back(word.substr(0, word.find('\0')));  // as a shell would hand it over
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  std::vector<const char*> argv;
  for (const auto& word : words) {
    argv.push_back(word.c_str());
  }
  const auto parsed = saathii::ctl::parse_command_line(static_cast<int>(argv.size()), argv.data());
  const auto& command = parsed.command;
  if (parsed.exit_code) {
    require(*parsed.exit_code == 0 || *parsed.exit_code == 2 || *parsed.exit_code == 3,
            "an exit code that the manual tells");
    return;
  }
  using saathii::ctl::Command;
  const bool needs_id = command.command == Command::call || command.command == Command::wallet;
  require(!needs_id || command.id > 0, "an id where one is needed");
  require(!command.count || (*command.count >= 1 && *command.count <= 10'000),
          "a count within its limits");
  const bool needs_job = command.command == Command::run || command.command == Command::pause ||
                         command.command == Command::resume;
  require(!needs_job || !command.jobs.empty(), "a job where one is needed");
}

void check_moments(Input input) {
  static const std::array zones = {saathii::tz::locate_zone("Asia/Kolkata"),
                                   saathii::tz::locate_zone("America/Sao_Paulo"),
                                   saathii::tz::locate_zone("Pacific/Apia")};
  const auto* zone = zones[input.byte() % zones.size()];
  // From 1970 to 2100.
  const Instant now{Duration{static_cast<std::int64_t>(input.word() % 4'102'444'800'000'000)}};
  for (const std::string_view text : {input.rest(), std::string_view("today"),
                                      std::string_view("yesterday"), std::string_view("now")}) {
    const auto since = saathii::ctl::parse_since(text, now, zone);
    require(since.has_value() || text == input.rest(), "today is a moment", text);
    if (since) {
      require(text == input.rest() || *since <= now, "today began before now", text);
      require(saathii::ctl::local_time(*since, zone).size() >= 24, "a moment can be told", text);
      require(!saathii::ctl::relative(*since, now).empty(), "how long ago can be told", text);
      require(!saathii::ctl::time_since(*since, now, zone).empty(), "the time can be told", text);
    }
  }
}

void check_text(Input input) {
  const std::size_t columns = input.byte() % 80;
  const auto cleaned = saathii::ctl::clean(input.rest());
  require(saathii::ctl::clean(cleaned) == cleaned, "clean is clean", cleaned);
  require(is_utf8(cleaned), "clean text is UTF-8", cleaned);
  const auto line = saathii::ctl::one_line(input.rest());
  require(line.find_first_of("\n\t\x1b\r") == std::string::npos, "one line is one", line);
  const auto cut = saathii::ctl::fit(line, columns, "…");
  require(saathii::ctl::columns_of(cut) <= columns && is_utf8(cut), "what was cut fits", line);
  for (const auto& each : saathii::ctl::wrap(cleaned, columns)) {
    // A character of two columns is not cut in halves.
    require(saathii::ctl::columns_of(each) <= std::max<std::size_t>(columns, 2), "a line fits",
            cleaned);
    require(is_utf8(each), "no character is broken in two", cleaned);
  }
  const auto ascii = saathii::ctl::to_ascii(cleaned);
  require(std::all_of(ascii.begin(), ascii.end(), [](char c) { return c > 0; }), "ASCII is", ascii);
  const auto number = static_cast<std::int64_t>(input.word());
  auto digits = saathii::ctl::grouped(number);
  std::erase(digits, ',');
  require(digits == std::to_string(number), "a number in groups is the number", digits);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  const auto form = input.byte();
  switch (form % 5) {
    case 0:
      check_names(input.rest());
      break;
    case 1:
      check_wire(input);
      break;
    case 2:
      check_command_line(input.rest());
      break;
    case 3:
      check_moments(input);
      break;
    default:
      check_text(input);
  }
  return 0;
}
