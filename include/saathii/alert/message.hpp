#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "saathii/base/time.hpp"
#include "saathii/base/time_zone.hpp"
#include "saathii/schedule/planner.hpp"

namespace saathii::alert {

/// What goes wrong. There is at most one open alert for each subject and kind.
enum class Kind {
  failed,        ///< a run, after its retries
  missed,        ///< a tick whose run would have started too late
  long_running,  ///< a run that still goes on
  stuck,         ///< a run that does not come back though it was stopped
  unhealthy,     ///< something that saathiid's health says is failing
};

/// "failed", "long_running", …: as in the configuration.
[[nodiscard]] std::string_view to_string(Kind kind);

[[nodiscard]] std::optional<Kind> parse_kind(std::string_view text);

/// What people are to be told, without its words.
struct Message {
  enum class Event {
    opened,
    repeated,   ///< it is still so
    recovered,  ///< it is over
    held_back,  ///< more alerts than may be sent
    test,
  };

  Event event = Event::opened;
  /// The alerts meant: one, or all those that a recovery ends. An alert keeps its
  /// id from its opening to its recovery.
  std::vector<std::string> alerts;
  std::uint64_t number = 1;                  ///< of this alert's messages, from 1
  std::vector<Kind> kinds;                   ///< of `alerts`
  std::string subject;                       ///< the job, or of unhealthy what was looked at
  std::string reason;                        ///< one sentence: what happened, or how it ended
  Instant at;                                ///< when that was
  Instant since;                             ///< when it opened
  std::uint64_t times = 1;                   ///< how often it happened since then
  std::uint64_t times_new = 0;               ///< repeated: how often since the last message
  std::uint64_t flaps = 0;                   ///< openings since the last message that were not told
  std::optional<schedule::Outcome> outcome;  ///< of the run or tick
  std::string run_id;                        ///< empty: no run
  std::optional<Instant> scheduled_at;
  std::optional<Instant> next_run;  ///< of the job
  Duration limit{0};                ///< long_running: what the run was to take
  std::vector<std::string> held;    ///< held_back: some of them, "SUBJECT KIND"
};

/// "opened", "repeated", ….
[[nodiscard]] std::string_view to_string(Message::Event event);

/// Who speaks: times are shown in `zone`.
struct Sender {
  std::string host;
  TimeZone zone = nullptr;
};

/// A message in words, as all channels take it.
struct Letter {
  Message message;
  std::string host;
  std::string title;  ///< one line: "[saathiid@host] coin_deduction failed: …"
  std::string body;   ///< lines that end in '\n'
};

[[nodiscard]] Letter write_letter(Message message, const Sender& sender);

/// A JSON object: "text" for who shows nothing else, and each fact by its name.
[[nodiscard]] std::string to_json(const Letter& letter);

/// The text as one line of at most `max_bytes`: line breaks and control
/// characters become spaces; what is cut off ends in "…".
[[nodiscard]] std::string one_line(std::string_view text, std::size_t max_bytes);

}  // namespace saathii::alert
